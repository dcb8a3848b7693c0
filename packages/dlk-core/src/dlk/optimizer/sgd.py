"""Stochastic gradient descent, with momentum.

Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim import SGD

from dlk.optimizer.base import Optimizer, fusable
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.optimizer.configs import SGDOptimizerConfig


@register("optimizer", "sgd")
class SGDOptimizer(Optimizer):
    """torch's SGD, fused where it can be."""

    def __init__(self, config: SGDOptimizerConfig) -> None:
        super().__init__(config)
        self.config = config

    def settings(self) -> dict[str, Any]:
        c = self.config
        return {
            "lr": c.lr,
            "momentum": c.momentum,
            "dampening": c.dampening,
            "nesterov": c.nesterov,
            "weight_decay": c.weight_decay,
        }

    def make(self, groups: list[dict[str, Any]]) -> SGD:
        # None leaves the choice between plain and foreach to torch.
        fuses = self.config.fused and self.may_fuse and fusable(groups)
        return SGD(groups, fused=True if fuses else None)
