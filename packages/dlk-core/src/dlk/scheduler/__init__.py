"""Schedulers: how the learning rate moves over a run."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.scheduler.base import Scheduler
    from dlk.scheduler.constant import ConstantScheduler
    from dlk.scheduler.constant_warmup import ConstantWarmupScheduler
    from dlk.scheduler.cosine_warmup import CosineWarmupScheduler
    from dlk.scheduler.linear_warmup import LinearWarmupScheduler

_HOME = {
    "ConstantScheduler": "dlk.scheduler.constant",
    "ConstantWarmupScheduler": "dlk.scheduler.constant_warmup",
    "CosineWarmupScheduler": "dlk.scheduler.cosine_warmup",
    "LinearWarmupScheduler": "dlk.scheduler.linear_warmup",
    "Scheduler": "dlk.scheduler.base",
}

__all__ = [
    "ConstantScheduler",
    "ConstantWarmupScheduler",
    "CosineWarmupScheduler",
    "LinearWarmupScheduler",
    "Scheduler",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
