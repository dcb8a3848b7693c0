"""Schedulers: how the learning rate moves over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.scheduler.base import Scheduler
    from dlk.scheduler.constant import ConstantScheduler
    from dlk.scheduler.constant_warmup import ConstantWarmupScheduler
    from dlk.scheduler.cosine_warmup import CosineWarmupScheduler
    from dlk.scheduler.linear_warmup import LinearWarmupScheduler

__all__ = [
    "ConstantScheduler",
    "ConstantWarmupScheduler",
    "CosineWarmupScheduler",
    "LinearWarmupScheduler",
    "Scheduler",
]

__getattr__ = lazy(
    __name__,
    {
        "dlk.scheduler.base": ("Scheduler",),
        "dlk.scheduler.constant": ("ConstantScheduler",),
        "dlk.scheduler.constant_warmup": ("ConstantWarmupScheduler",),
        "dlk.scheduler.cosine_warmup": ("CosineWarmupScheduler",),
        "dlk.scheduler.linear_warmup": ("LinearWarmupScheduler",),
    },
)
