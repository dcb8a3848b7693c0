"""What `random` and `static` share: a looked-up table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding

if TYPE_CHECKING:
    from dlk.nn.layer.embedding.configs import TableConfig


class TableEmbedding(Embedding):
    """Vectors looked up by id, then dropout."""

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.padding_idx: int | None = config.padding_idx
        self.embedding = nn.Embedding(
            config.vocab_size, config.embedding_dim, padding_idx=self.padding_idx
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Look vectors up.

        Args:
            x: holds `input_ids` (B, T) int64 in [0, vocab_size), and `attention_mask` (B, T) bool
                unless the input map switches it off.

        Returns:
            `embedding` (B, T, D) and `embedding_mask` (B, T) bool.
        """
        ids = self.read(x, "input_ids")
        vectors: Tensor = self.dropout(self.embedding(ids))  # (B, T, D)
        return self.write(embedding=vectors, embedding_mask=self._mask(x, ids))

    def _mask(self, x: Batch, ids: Tensor) -> Tensor:
        if self.input_map["attention_mask"]:
            return self.read(x, "attention_mask").bool()
        if self.padding_idx is None:
            return torch.ones_like(ids, dtype=torch.bool)
        return ids != self.padding_idx
