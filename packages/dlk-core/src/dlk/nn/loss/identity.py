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

    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Take the model's loss; see `Loss.compute`.

        Args:
            out: holds the loss, () float or one number per row (B,), whose mean is taken.
            ctx: where the run is.

        Returns:
            The loss, in float32 at least; its weight is the number of rows.

        Raises:
            DlkError: the model wrote no such loss.
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
        loss = written.mean()
        terms = {self.log_name: loss.detach()}
        return LossOut(loss * self.factor(ctx), terms, _rows(out, written))


def _rows(out: Batch, written: Tensor) -> float:
    """Return the number of rows of a batch."""
    if written.ndim == 1:
        return float(len(written))
    if "_index" in out:
        return float(len(out["_index"]))
    return float(next((len(tensor) for tensor in out.values() if tensor.ndim > 0), 1))
