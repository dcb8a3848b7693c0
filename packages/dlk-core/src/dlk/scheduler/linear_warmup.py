"""Linear rise, then linear fall to zero."""

from __future__ import annotations

from dlk.registry import register
from dlk.scheduler.base import WarmupScheduler


@register("scheduler", "linear_warmup")
class LinearWarmupScheduler(WarmupScheduler):
    """Factor (s + 1) / W in the W steps of the rise, then (N - s) / (N - W) of N steps in all.

    The last planned step still has a rate above zero; after it the factor stays 0.
    """

    def after(self, progress: float) -> float:
        """Fall evenly."""
        return 1.0 - progress
