"""The states of any encoder of transformers.

Sources: Devlin et al. 2019, arXiv:1810.04805 (BERT), and its many kin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from dlk import hf
from dlk.errors import ConfigError, DlkError
from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.embedding.configs import BertLikeEmbeddingConfig


@register("embedding", "bert_like")
class BertLikeEmbedding(Embedding):
    """Last-layer states by position, or of the positions that `gather_index` names.

    With `freeze` the encoder has no trainable parameter and stays in evaluation mode.
    """

    keeps_own_init = True

    def __init__(self, config: BertLikeEmbeddingConfig, setup: Setup) -> None:
        super().__init__(config)
        self.bert = hf.load_encoder(
            config.pretrained_model_path, pretrained=setup.pretrained and config.from_pretrain
        )
        width = hf.hidden_size(self.bert)
        if config.embedding_dim not in (0, width):
            raise ConfigError(
                f'bert_like.embedding_dim: the model in "{config.pretrained_model_path}" writes '
                f"states of width {width}, got {config.embedding_dim}."
            )
        self.dropout = nn.Dropout(config.dropout)
        self.freeze = config.freeze
        if self.freeze:
            self.bert.requires_grad_(False)
            self.bert.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            self.bert.eval()
        return self

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Run the encoder.

        Args:
            x: holds `input_ids` (B, T) int64, `attention_mask` (B, T) bool, `type_ids` (B, T)
                int64 unless mapped to "", and, if it is mapped, `gather_index` (B, W) int64:
                positions in [0, T), or -1 for padding.

        Returns:
            `embedding` (B, T, D) and `embedding_mask` (B, T) bool; with `gather_index` (B, W, D)
            and (B, W). States that are not kept are zero.
        """
        ids = self.read(x, "input_ids")
        mask = self.read(x, "attention_mask").bool()
        types = self._types(x)
        states = hf.encode(self.bert, ids, mask, types)  # (B, T, D)
        if self.input_map["gather_index"]:
            states, mask = gather(states, mask, self.read(x, "gather_index"))  # (B, W, D)
        states = torch.where(mask.unsqueeze(-1), states, 0.0)
        return self.write(embedding=self.dropout(states), embedding_mask=mask)

    def _types(self, x: Batch) -> Tensor | None:
        name = self.input_map["type_ids"]
        if name and name not in x:
            raise DlkError(
                f'bert_like reads "{name}", which is not in the batch. For pairs of texts list it '
                'in key_type_pairs of the dataset; for single texts say "input_map": '
                '{"type_ids": ""}.'
            )
        return x[name] if name else None


def gather(states: Tensor, mask: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Pick states by position.

    Args:
        states: (B, T, D) float.
        mask: (B, T) bool, true where kept.
        index: (B, W) int64 in [0, T), or negative for padding.

    Returns:
        (B, W, D) and its mask (B, W) bool: true where a kept position was picked.
    """
    place = index.clamp(min=0)
    picked = states.gather(1, place.unsqueeze(-1).expand(-1, -1, states.shape[-1]))  # (B, W, D)
    return picked, (index >= 0) & mask.gather(1, place)
