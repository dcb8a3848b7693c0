"""Transformer blocks over the kept positions of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.encoder.base import Encoder
from dlk.nn.module.transformer import Transformer
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.layer.encoder.configs import TransformerEncoderConfig


@register("encoder", "transformer")
class TransformerEncoder(Encoder):
    """A linear map where the widths differ, then `module.transformer.Transformer`."""

    def __init__(self, config: TransformerEncoderConfig) -> None:
        super().__init__(config)
        self.input_size = config.input_size
        same = config.input_size == config.output_size
        self.project = None if same else nn.Linear(config.input_size, config.output_size)
        self.transformer = Transformer(
            config.output_size,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            inner_size=config.inner_size or 4 * config.output_size,
            norm=config.norm,
            active=config.active,
            dropout=config.dropout,
            position=config.position,
        )

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Run over the kept positions.

        Args:
            x: holds `embedding` (B, T, input_size) float and `embedding_mask` (B, T) bool; padding
                may stand anywhere, a row may keep nothing.

        Returns:
            `embedding` (B, T, output_size), zero where not kept.
        """
        vectors = self.read(x, "embedding", width=self.input_size)
        if self.project is not None:
            vectors = self.project(vectors)
        mask = self.read(x, "embedding_mask").bool()
        return self.write(embedding=self.transformer(vectors, mask))
