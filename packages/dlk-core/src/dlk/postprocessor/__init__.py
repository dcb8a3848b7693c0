"""From a model's outputs to predictions in the user's terms, and to metrics.

Importing this package loads nothing heavy: its names come from their modules when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.postprocessor._plain import plain
    from dlk.postprocessor.base import Metrics, NoMetrics, Parts, PostProcessor, pick

__all__ = ["Metrics", "NoMetrics", "Parts", "PostProcessor", "pick", "plain"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.postprocessor._plain": ("plain",),
        "dlk.postprocessor.base": ("Metrics", "NoMetrics", "Parts", "PostProcessor", "pick"),
    },
)
