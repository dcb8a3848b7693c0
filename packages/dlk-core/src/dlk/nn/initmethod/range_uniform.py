"""Weights from a uniform distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dlk.nn.initmethod.base import InitMethod
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.initmethod.configs import RangeUniformInitConfig


@register("initmethod", "range_uniform")
class RangeUniformInit(InitMethod):
    """Every weight from [range_from, range_to)."""

    def __init__(self, config: RangeUniformInitConfig) -> None:
        super().__init__(config)
        self.range_from = config.range_from
        self.range_to = config.range_to

    def linear(self, weight: Tensor) -> None:
        weight.uniform_(self.range_from, self.range_to)

    embedding = convolution = recurrent = linear
