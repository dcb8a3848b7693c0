"""Schedulers: how the learning rate moves over a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dlk.errors import DlkError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from dlk.scheduler.configs import SchedulerConfig, WarmupConfig


class Scheduler(ABC):
    """Base of schedulers: a subclass says the factor of the rate at each step.

    Steps are optimizer steps, or epochs where `interval` is "epoch".
    """

    def __init__(self, config: SchedulerConfig) -> None:
        self.interval: Literal["step", "epoch"] = config.interval  # type: ignore[assignment]  # checked

    @property
    def needs_total(self) -> bool:
        """Whether the factor depends on how long the run is."""
        return True

    @abstractmethod
    def factor(self, step: int, total: int) -> float:
        """Return what the learning rate is multiplied by.

        Args:
            step: steps done before this one: 0 for the first. It may pass `total`.
            total: steps planned, at least 1 (0 where unknown, if not `needs_total`).
        """

    def build(self, optimizer: Optimizer, *, total_steps: int, steps_per_epoch: int) -> LRScheduler:
        """Build torch's scheduler; the caller steps it after each optimizer step, or each epoch.

        Args:
            optimizer: its groups keep their proportions.
            total_steps: optimizer steps planned; 0 or less where unknown.
            steps_per_epoch: optimizer steps of one epoch, at least 1.

        Raises:
            DlkError: the length of the run is unknown, and the schedule depends on it.
        """
        total = max(total_steps, 0)
        if self.interval == "epoch":
            total = math.ceil(total / max(steps_per_epoch, 1))
        if self.needs_total and total == 0:
            raise DlkError(
                "this schedule depends on the number of steps, which is unknown here: set the "
                "trainer's max_epochs or max_steps, or take the scheduler constant"
            )
        return _Scaled(optimizer, lambda step: self.factor(step, total))


class _Scaled(LambdaLR):
    """LambdaLR with one factor for all groups: it is computed once a step, not once a group.

    Rates, and what is kept of it in a checkpoint, are those of LambdaLR.
    """

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step's rates."""
        if epoch is not None or self._step_count < 2:  # torch looks at the order of first calls
            super().step(epoch)
            return
        self._step_count += 1
        self.last_epoch += 1
        factor = self.lr_lambdas[0](self.last_epoch)
        self._last_lr = [base * factor for base in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


class WarmupScheduler(Scheduler):
    """Base of schedulers that start slowly: the factor rises to 1 in even steps.

    With W steps of warm-up, step 0 has the factor 1/W and step W - 1 has 1. Transformers' schedules
    rise one step later: they start at 0, so that their first step changes nothing.
    """

    def __init__(self, config: WarmupConfig) -> None:
        super().__init__(config)
        self.warmup: int | float = config.num_warmup_steps

    def factor(self, step: int, total: int) -> float:
        """Return the factor at a step; past the planned end it stays what it was there."""
        warmup = self.warmup_steps(total)
        if step < warmup:
            return (step + 1) / warmup
        return self.after(min(1.0, (step - warmup) / max(1, total - warmup)))

    @abstractmethod
    def after(self, progress: float) -> float:
        """Return the factor after the rise.

        Args:
            progress: how far the rest of the run is, in [0, 1]: 0 for the first step after the
                rise, 1 once all planned steps are done.
        """

    def warmup_steps(self, total: int) -> int:
        """Return for how many steps the rate rises: a share is rounded up."""
        if not isinstance(self.warmup, float):
            return self.warmup
        return math.ceil(self.warmup * total - 1e-9)  # 0.1 * 70 is 7.000000000000001
