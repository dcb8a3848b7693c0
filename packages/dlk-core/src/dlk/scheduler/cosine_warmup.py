"""Linear rise, then along a cosine.

Source: Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, eq. 5, without restarts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dlk.registry import register
from dlk.scheduler.base import WarmupScheduler

if TYPE_CHECKING:
    from dlk.scheduler.configs import CosineWarmupSchedulerConfig


@register("scheduler", "cosine_warmup")
class CosineWarmupScheduler(WarmupScheduler):
    """Factor (s + 1) / W in the W steps of the rise, then (1 + cos(2π·c·progress)) / 2.

    c is `num_cycles`; progress runs from 0 to 1 over the steps after the rise. Past the end the
    factor stays.
    """

    def __init__(self, config: CosineWarmupSchedulerConfig) -> None:
        super().__init__(config)
        self.num_cycles = config.num_cycles

    def after(self, progress: float) -> float:
        """Follow the cosine."""
        return max(0.0, 0.5 * (1.0 + math.cos(2.0 * math.pi * self.num_cycles * progress)))
