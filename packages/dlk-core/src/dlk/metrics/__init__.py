"""Streaming accumulators behind the metrics that postprocessors report.

Each takes numpy arrays batch by batch and keeps counts or moments, so memory does not grow with
the validation set. `state()` is plain numbers and lists; `merge(state)` joins two parts of one
data set: any split and any order of merging gives what one pass over the whole gives. The one
exception in memory is `RankCorrelation`: ranks need the values, which it keeps up to a cap.

numpy is imported when a name is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.metrics.classification import ClassCounts, ClassScores, LabelSetCounts
    from dlk.metrics.mean import WeightedMean
    from dlk.metrics.regression import RankCorrelation, RegressionMoments

_WHERE = {
    "ClassCounts": "dlk.metrics.classification",
    "ClassScores": "dlk.metrics.classification",
    "LabelSetCounts": "dlk.metrics.classification",
    "RankCorrelation": "dlk.metrics.regression",
    "RegressionMoments": "dlk.metrics.regression",
    "WeightedMean": "dlk.metrics.mean",
}

__all__ = [
    "ClassCounts",
    "ClassScores",
    "LabelSetCounts",
    "RankCorrelation",
    "RegressionMoments",
    "WeightedMean",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
