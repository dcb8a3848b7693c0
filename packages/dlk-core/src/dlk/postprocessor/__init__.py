"""From a model's outputs to predictions in the user's terms, and to metrics.

Importing this package loads nothing heavy: its names come from their modules when asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.postprocessor._plain import plain
    from dlk.postprocessor.base import Metrics, NoMetrics, Parts, PostProcessor, pick

_WHERE = {
    "Metrics": "dlk.postprocessor.base",
    "NoMetrics": "dlk.postprocessor.base",
    "Parts": "dlk.postprocessor.base",
    "PostProcessor": "dlk.postprocessor.base",
    "pick": "dlk.postprocessor.base",
    "plain": "dlk.postprocessor._plain",
}

__all__ = ["Metrics", "NoMetrics", "Parts", "PostProcessor", "pick", "plain"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
