"""Focal loss: cross entropy that fades the examples the model already gets right.

Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", arXiv:1708.02002, eq. 4 and 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dlk.nn.loss import _classes
from dlk.nn.loss._chunks import summed
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.loss.configs import FocalLossConfig


@register("loss", "focal")
class FocalLoss(_classes.ClassLoss):
    """Mean of ``-(1 - p)**gamma * log(p)``, where p is the true class's probability.

    With class weights each example counts as its class does and the mean is a weighted one.
    """

    def __init__(self, config: FocalLossConfig) -> None:
        super().__init__(config)
        self.gamma = config.gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over kept targets, () float in nats; 0 where none is kept.

        Args:
            logits: (..., C) float, before softmax.
            target: (...) int64, each in [0, C) or `ignore_index`.

        Raises:
            ValueError: the shapes disagree.
            DlkError: there is not one weight for each class.
        """
        logits, target = _classes.flat("focal loss", logits, target)  # (N, C), (N,)
        _classes.check_weight(self.weight, logits.shape[-1])
        return _classes.mean(summed(self._sum, logits, target), self.items(logits, target))

    def _sum(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum over rows (N, C)."""
        nll = cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        # expm1 keeps 1 - p exact near p = 1; the clamp keeps the power's gradient finite at p = 1.
        miss = (-torch.expm1(-nll)).clamp(min=torch.finfo(nll.dtype).tiny)  # (N,)
        loss = miss**self.gamma * nll
        if self.weight is not None:
            kept = target != self.ignore_index
            loss = loss * self.weight[target.where(kept, 0)]
        return loss.sum()
