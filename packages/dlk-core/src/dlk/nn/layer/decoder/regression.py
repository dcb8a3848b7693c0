"""A number of each row, in the label's own unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.nn.module.pooling import POOLS
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.layer.decoder.configs import RegressionDecoderConfig


@register("decoder", "regression")
class RegressionDecoder(Decoder):
    """Pool, drop, project to one number, and map it to the label's scale.

    The link stands here and nowhere else, so the loss compares, the metrics measure and a user
    reads one and the same number: train with `mse` on the labels as they are.
    """

    def __init__(self, config: RegressionDecoderConfig) -> None:
        super().__init__(config)
        self.pool = POOLS[config.pool]
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.input_size, 1)
        self.link = config.link
        low, width = config.low, config.high - config.low
        # The number is centre + spread · curve(z), the curves going over 0..1 and -1..1.
        self.centre, self.spread = {
            "identity": (config.mean, config.std),
            "sigmoid": (low, width),
            "tanh": (low + width / 2, width / 2),
        }[config.link]

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Predict.

        Args:
            x: holds `embedding` (B, T, input_size) float and `embedding_mask` (B, T) bool.

        Returns:
            `logits` (B,) float32 at least, in the label's unit: ``mean + std · z`` (identity),
            ``low + (high - low) · sigmoid(z)``, or with tanh from low to high, z being the
            projected number.
        """
        vectors = self.read(x, "embedding", width=self.linear.in_features)
        vectors = self.pool(vectors, self.read(x, "embedding_mask").bool())  # (B, D)
        raw = self.linear(self.dropout(vectors)).squeeze(-1)  # (B,)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float))
        if self.link == "sigmoid":
            raw = raw.sigmoid()
        elif self.link == "tanh":
            raw = raw.tanh()
        return self.write(logits=self.centre + self.spread * raw)
