"""Mean squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from dlk.nn.loss._shapes import matched
from dlk.nn.loss.base import PairLoss
from dlk.registry import register


@register("loss", "mse")
class MSELoss(PairLoss):
    """Mean of ``(pred - target)²`` over all entries."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean, () float; 0 where there is nothing.

        Args:
            logits: any shape, float: the predictions.
            target: the same shape, up to one trailing 1 on either side; float or integer.

        Raises:
            ValueError: the shapes disagree.
        """
        logits, target = matched("mse", logits, target)
        total = mse_loss(logits, target.to(logits.dtype), reduction="sum")
        return total / max(target.numel(), 1)
