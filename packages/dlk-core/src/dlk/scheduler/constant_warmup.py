"""Linear rise, then the same learning rate."""

from __future__ import annotations

from dlk.registry import register
from dlk.scheduler.base import WarmupScheduler


@register("scheduler", "constant_warmup")
class ConstantWarmupScheduler(WarmupScheduler):
    """Factor (s + 1) / W in the W steps of the rise, then 1."""

    @property
    def needs_total(self) -> bool:
        """Only a rise that is a share of the run depends on its length."""
        return isinstance(self.warmup, float)

    def after(self, progress: float) -> float:  # the same all along
        """Return 1."""
        return 1.0
