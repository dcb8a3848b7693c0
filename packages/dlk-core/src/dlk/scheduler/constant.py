"""The same learning rate all along."""

from __future__ import annotations

from dlk.registry import register
from dlk.scheduler.base import Scheduler


@register("scheduler", "constant")
class ConstantScheduler(Scheduler):
    """Factor 1."""

    @property
    def needs_total(self) -> bool:
        """The factor is the same in a run of any length."""
        return False

    def factor(self, step: int, total: int) -> float:  # the same at each
        """Return 1."""
        return 1.0
