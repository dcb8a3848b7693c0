"""A linear map of each vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.encoder.base import Encoder
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.layer.encoder.configs import LinearEncoderConfig


@register("encoder", "linear")
class LinearEncoder(Encoder):
    """Dropout, then a linear map, position by position."""

    def __init__(self, config: LinearEncoderConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.input_size, config.output_size, bias=config.bias)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Map `embedding` (..., input_size) to `embedding` (..., output_size)."""
        vectors = self.read(x, "embedding", width=self.linear.in_features)
        return self.write(embedding=self.linear(self.dropout(vectors)))
