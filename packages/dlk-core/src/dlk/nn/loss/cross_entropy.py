"""Cross entropy of scores and class ids.

Label smoothing: Szegedy et al. 2016, arXiv:1512.00567, §7.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from dlk.nn.loss import _classes
from dlk.nn.loss._chunks import summed
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.loss.configs import CrossEntropyLossConfig


@register("loss", "cross_entropy")
class CrossEntropyLoss(_classes.ClassLoss):
    """Mean of ``-log p``, where p is the probability of the true class.

    With class weights the mean is a weighted one, as in torch; targets that are ignored count
    nowhere.
    """

    def __init__(self, config: CrossEntropyLossConfig) -> None:
        super().__init__(config)
        self.label_smoothing = config.label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over kept targets, () float in nats; 0 where none is kept.

        Args:
            logits: (..., C) float, before softmax.
            target: (...) int64, each in [0, C) or `ignore_index`.

        Raises:
            ValueError: the shapes disagree.
            DlkError: there is not one weight for each class.
        """
        logits, target = _classes.flat("cross entropy", logits, target)  # (N, C), (N,)
        _classes.check_weight(self.weight, logits.shape[-1])
        rows_loss = partial(
            functional.cross_entropy,
            weight=self.weight_as(logits),
            ignore_index=self.ignore_index,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return _classes.mean(summed(rows_loss, logits, target), self.items(logits, target))
