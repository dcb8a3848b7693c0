"""Mean squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from dlk.nn.loss import _classes
from dlk.nn.loss._shapes import matched
from dlk.nn.loss.base import PairLoss
from dlk.registry import register


@register("loss", "mse")
class MSELoss(PairLoss):
    """Mean of ``(pred - target)²`` over the entries whose target is known: a NaN says it is not."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean, () float; 0 where nothing is known.

        Args:
            logits: any shape, float: the predictions.
            target: the same shape, up to one trailing 1 on either side; float or integer; NaN
                adds neither loss nor gradient.

        Raises:
            ValueError: the shapes disagree.
        """
        logits, target = matched("mse", logits, target)
        known = ~target.isnan()
        each = mse_loss(logits, target.where(known, 0).to(logits.dtype), reduction="none")
        return _classes.mean(each.where(known, 0.0).sum(), known.sum())

    def items(self, logits: Tensor, target: Tensor) -> Tensor:  # targets alone decide
        """Return the number of known targets."""
        return (~target.isnan()).sum()
