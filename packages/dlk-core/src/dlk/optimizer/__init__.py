"""Optimizers, with groups of parameters that go their own way."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.optimizer.adamw import AdamWOptimizer
    from dlk.optimizer.base import Optimizer
    from dlk.optimizer.sgd import SGDOptimizer

_HOME = {
    "AdamWOptimizer": "dlk.optimizer.adamw",
    "Optimizer": "dlk.optimizer.base",
    "SGDOptimizer": "dlk.optimizer.sgd",
}

__all__ = ["AdamWOptimizer", "Optimizer", "SGDOptimizer"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
