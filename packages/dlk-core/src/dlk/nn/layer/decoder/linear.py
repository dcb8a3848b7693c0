"""Scores by a linear map: of each vector, or of one pooled from each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.nn.module.pooling import POOLS
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.layer.decoder.configs import LinearDecoderConfig


@register("decoder", "linear")
class LinearDecoder(Decoder):
    """Pool, drop, project: only what is scored is projected."""

    def __init__(self, config: LinearDecoderConfig) -> None:
        super().__init__(config)
        self.pool = POOLS[config.pool] if config.pool else None
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.input_size, config.output_size, bias=config.bias)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Score.

        Args:
            x: holds `embedding` (B, T, input_size) float and, for a pool, `embedding_mask` (B, T)
                bool. Without a pool `embedding` may have any shape that ends in input_size.

        Returns:
            `logits` (B, output_size) with a pool, (B, T, output_size) without.
        """
        vectors = self.read(x, "embedding", width=self.linear.in_features)
        if self.pool is not None:
            vectors = self.pool(vectors, self.read(x, "embedding_mask").bool())  # (B, D)
        return self.write(logits=self.linear(self.dropout(vectors)))
