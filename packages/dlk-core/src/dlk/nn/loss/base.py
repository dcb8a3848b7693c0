"""Losses: what a model is trained to make small."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from dlk.errors import DlkError, did_you_mean

if TYPE_CHECKING:
    from dlk.context import Context
    from dlk.nn.base import Batch
    from dlk.nn.loss.configs import LossConfig, PairLossConfig


class LossOut(NamedTuple):
    """What a loss says of one batch.

    Attributes:
        total: () float, what is trained on: scaled as the schedule says in training, plain
            otherwise.
        terms: what is logged: detached scalars by name, never scaled.
        weight: number of items that `total` is the mean of (a scalar): a mean of batches weighted
            so is the mean of all items.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weight: Tensor | float


class Loss(nn.Module):
    """Base of losses: `compute` is called with all that is known of a batch."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.schedule = tuple(config.schedule)
        self.scale = tuple(config.scale)
        self.log_name = config.log_map["loss"]

    @abstractmethod
    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Return the loss of a batch.

        Args:
            out: the batch merged with what the model wrote.
            ctx: where the run is.

        Raises:
            DlkError: something that the loss reads is not there.
        """

    def factor(self, ctx: Context) -> float:
        """Return the factor of the present stage: 1 outside training; the last stage has no end."""
        if not ctx.training:
            return 1.0
        return self.scale[min(bisect_right(self.schedule, ctx.progress), len(self.scale) - 1)]


class PairLoss(Loss):
    """Base of losses that compare one output with one target.

    A subclass writes the maths, `forward(logits, target)`, and `items` where some targets do not
    count.
    """

    def __init__(self, config: PairLossConfig) -> None:
        super().__init__(config)
        ((self.pred, self.truth),) = config.pred_truth_pair.items()

    def compute(self, out: Batch, ctx: Context) -> LossOut:
        """Compare the pair that `pred_truth_pair` names; see `Loss.compute`."""
        for name in (self.pred, self.truth):
            if name not in out:
                raise DlkError(
                    f'{type(self).__name__} compares "{self.pred}" with "{self.truth}" '
                    f'(pred_truth_pair), but there is no "{name}". {did_you_mean(name, out)}'
                )
        logits, target = out[self.pred], out[self.truth]
        loss: Tensor = self(logits, target)
        terms = {self.log_name: loss.detach()}
        factor = self.factor(ctx)
        total = loss if factor == 1.0 else loss * factor
        return LossOut(total, terms, self.items(logits, target))

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss, () float."""

    def items(self, logits: Tensor, target: Tensor) -> Tensor | float:  # for those below
        """Return what `forward` divided by: how many items its mean is of."""
        return float(target.numel())
