"""Binary cross entropy of scores, before the sigmoid, and targets in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dlk.errors import DlkError
from dlk.nn.loss import _classes
from dlk.nn.loss._shapes import matched
from dlk.nn.loss.base import PairLoss
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.loss.configs import BCELossConfig


@register("loss", "bce")
class BCELoss(PairLoss):
    """Mean of ``-t·log σ(x) - (1 - t)·log(1 - σ(x))`` over all kept targets."""

    pos_weight: Tensor | None

    def __init__(self, config: BCELossConfig) -> None:
        super().__init__(config)
        self.ignore_index = config.ignore_index
        given = config.pos_weight
        weight = None if given is None else torch.tensor(given, dtype=torch.float)
        self.register_buffer("pos_weight", weight, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over kept targets, () float in nats; 0 where none is kept.

        Args:
            logits: (..., C) float, before the sigmoid.
            target: the same shape (a trailing 1 may be missing), float or integer: each in [0, 1],
                or, adding neither loss nor gradient, `ignore_index` or NaN.

        Raises:
            ValueError: the shapes disagree, or (seen on the CPU) a target lies elsewhere.
            DlkError: `pos_weight` has neither one number nor one for each of C labels.
        """
        hint = (
            ": lists of label ids become 0/1 of all labels where the collate's key_multi_hot names "
            "their column"
        )
        logits, target = matched("bce", logits, target, hint=hint if target.ndim == 2 else "")
        if self.pos_weight is not None and len(self.pos_weight) not in (1, logits.shape[-1]):
            raise DlkError(
                f"pos_weight: expected one number, or one for each of {logits.shape[-1]} labels, "
                f"got {len(self.pos_weight)}."
            )
        kept = self._kept(target)
        # Read on the CPU only: on a GPU the answer would make every step wait for it.
        if target.device.type == "cpu" and (kept & ((target < 0) | (target > 1))).any():
            raise ValueError(
                f"bce needs targets in 0..1, got {target[kept].min():g} to {target[kept].max():g}"
            )
        each = binary_cross_entropy_with_logits(
            logits,
            target.where(kept, 0.0).to(logits.dtype),
            pos_weight=None if self.pos_weight is None else self.pos_weight.to(logits.dtype),
            reduction="none",
        )
        return _classes.mean(each.where(kept, 0.0).sum(), kept.sum())

    def items(self, logits: Tensor, target: Tensor) -> Tensor:  # targets alone decide
        """Return the number of kept targets."""
        return self._kept(target).sum()

    def _kept(self, target: Tensor) -> Tensor:
        """Return where the target is known: in a column of numbers, NaN says that it is not."""
        return (target != self.ignore_index) & ~target.isnan()
