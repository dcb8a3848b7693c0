"""Adam with weight decay apart from the gradient.

Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101, alg. 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.optim import AdamW

from dlk.optimizer.base import Optimizer, fusable
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.optimizer.configs import AdamWOptimizerConfig


@register("optimizer", "adamw")
class AdamWOptimizer(Optimizer):
    """torch's AdamW, fused where it can be."""

    def __init__(self, config: AdamWOptimizerConfig) -> None:
        super().__init__(config)
        self.config = config

    def settings(self) -> dict[str, Any]:
        c = self.config
        return {
            "lr": c.lr,
            "betas": tuple(c.betas),
            "eps": c.eps,
            "weight_decay": c.weight_decay,
        }

    def make(self, groups: list[dict[str, Any]]) -> AdamW:
        # None leaves the choice between plain and foreach to torch.
        fuses = self.config.fused and self.may_fuse and fusable(groups)
        return AdamW(groups, fused=True if fuses else None)
