"""Weights from a normal distribution around zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dlk.nn.initmethod.base import InitMethod
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.initmethod.configs import RangeNormInitConfig


@register("initmethod", "range_norm")
class RangeNormInit(InitMethod):
    """Every weight from N(0, std²)."""

    def __init__(self, config: RangeNormInitConfig) -> None:
        super().__init__(config)
        self.std = config.std

    def linear(self, weight: Tensor) -> None:
        weight.normal_(0.0, self.std)

    embedding = convolution = recurrent = linear
