"""Optimizers, with groups of parameters that go their own way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.optimizer.adamw import AdamWOptimizer
    from dlk.optimizer.base import Optimizer
    from dlk.optimizer.sgd import SGDOptimizer

__all__ = ["AdamWOptimizer", "Optimizer", "SGDOptimizer"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.optimizer.adamw": ("AdamWOptimizer",),
        "dlk.optimizer.base": ("Optimizer",),
        "dlk.optimizer.sgd": ("SGDOptimizer",),
    },
)
