"""The loss that the model itself wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlk.errors import DlkError, did_you_mean
from dlk.nn.loss.base import Loss, LossOut
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Context
    from dlk.nn.base import Batch
    from dlk.nn.loss.configs import IdentityLossConfig


@register("loss", "identity")
class IdentityLoss(Loss):
    """Uses a tensor that a part of the model wrote, as a CRF does."""

    def __init__(self, config: IdentityLossConfig) -> None:
        super().__init__(config)
        self.name = config.loss
        self.weight = config.weight

    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Take the model's loss; see `Loss.compute`.

        Args:
            out: holds the loss, () float or one number per row (B,), whose mean is taken: their
                sum over the items that `weight` counts, over the rows where it is not named.
            ctx: where the run is.

        Returns:
            The loss, in float32 at least; its weight is the number of items, of rows where
            `weight` is not named.

        Raises:
            DlkError: the model wrote no such loss, or no such weight.
            ValueError: it is neither () nor (B,).
        """
        if self.name not in out:
            raise DlkError(
                f'the model wrote no loss called "{self.name}" (field loss). '
                f"{did_you_mean(self.name, out)}"
            )
        written = out[self.name]
        if written.ndim > 1:
            raise ValueError(
                f'the loss "{self.name}" must be () or (B,), got {tuple(written.shape)}'
            )
        if written.dtype in (torch.float16, torch.bfloat16):
            written = written.float()
        loss, weight = written.mean(), self._weight(out, written)
        if self.weight and written.ndim == 1:
            loss = written.sum() / torch.as_tensor(weight).clamp(min=1.0)
        terms = {self.log_name: loss.detach()}
        return LossOut(loss * self.factor(ctx), terms, weight)

    def _weight(self, out: Batch, written: Tensor) -> Tensor | float:
        if not self.weight:
            return _rows(out, written)
        if self.weight not in out:
            raise DlkError(
                f'the model wrote nothing called "{self.weight}" (field weight). '
                f"{did_you_mean(self.weight, out)}"
            )
        return out[self.weight].detach().sum().float()


def _rows(out: Batch, written: Tensor) -> float:
    """Return the number of rows of a batch."""
    if written.ndim == 1:
        return float(len(written))
    if "_index" in out:
        return float(len(out["_index"]))
    return float(next((len(tensor) for tensor in out.values() if tensor.ndim > 0), 1))
