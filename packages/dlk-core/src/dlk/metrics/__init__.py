"""Streaming accumulators behind the metrics that postprocessors report.

Each takes numpy arrays batch by batch and keeps counts or moments, so memory does not grow with
the validation set. `state()` is plain numbers and lists; `merge(state)` joins two parts of one
data set: any split and any order of merging gives what one pass over the whole gives. The one
exception in memory is `RankCorrelation`: ranks need the values, which it keeps up to a cap.

numpy is imported when a name is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.metrics.classification import ClassCounts, ClassScores, LabelSetCounts
    from dlk.metrics.mean import WeightedMean
    from dlk.metrics.regression import RankCorrelation, RegressionMoments
    from dlk.metrics.thresholds import ThresholdSearch

__all__ = [
    "ClassCounts",
    "ClassScores",
    "LabelSetCounts",
    "RankCorrelation",
    "RegressionMoments",
    "ThresholdSearch",
    "WeightedMean",
]

__getattr__ = lazy(
    __name__,
    {
        "dlk.metrics.classification": ("ClassCounts", "ClassScores", "LabelSetCounts"),
        "dlk.metrics.mean": ("WeightedMean",),
        "dlk.metrics.regression": ("RankCorrelation", "RegressionMoments"),
        "dlk.metrics.thresholds": ("ThresholdSearch",),
    },
)
