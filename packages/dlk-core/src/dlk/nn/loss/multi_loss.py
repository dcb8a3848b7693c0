"""Several losses at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dlk.nn.loss.base import Loss, LossOut
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Context, Setup
    from dlk.nn.base import Batch
    from dlk.nn.loss.configs import MultiLossConfig


COLLECTORS: dict[str, Callable[[Tensor], Tensor]] = {"sum": torch.sum}
"""How the children's losses (N,) become one, by the names that configs use."""


@register("loss", "multi_loss")
class MultiLoss(Loss):
    """The sum of its children, each with its own schedule, all of them scaled by its own.

    A child's terms are logged as ``alias/term``; an alias holds no slash and is there only once,
    so no two terms meet.
    """

    def __init__(self, config: MultiLossConfig, setup: Setup) -> None:
        super().__init__(config)
        self.collect = COLLECTORS[config.loss_collect]
        self.losses = nn.ModuleDict(register.build_children(config, "loss", setup))

    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Add the children up; see `Loss.compute`.

        Returns:
            The sum. Where the children count different numbers of items, its weight is the largest,
            so that a mean over batches of different make-up is near, not exact.
        """
        found = {alias: cast(Loss, loss).compute(out, ctx) for alias, loss in self.losses.items()}
        terms = {f"{alias}/{k}": v for alias, part in found.items() for k, v in part.terms.items()}
        own = [f"{alias}/{cast(Loss, loss).log_name}" for alias, loss in self.losses.items()]
        terms[self.log_name] = self.collect(torch.stack([terms[name] for name in own]))
        total = self.collect(torch.stack([part.total for part in found.values()]))
        weights = [torch.as_tensor(part.weight, device=total.device) for part in found.values()]
        weight = torch.stack([w.to(total.dtype) for w in weights]).amax()
        return LossOut(total * self.factor(ctx), terms, weight)
