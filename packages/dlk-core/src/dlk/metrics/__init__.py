"""Streaming accumulators behind the metrics that postprocessors report.

Each takes numpy arrays batch by batch and keeps counts or moments, so memory does not grow with
the validation set. `state()` is plain numbers and lists; `merge(state)` joins two parts of one
data set: any split and any order of merging gives what one pass over the whole gives. The one
that needs the values, `RankCorrelation`, has them in a temporary file, up to a cap.

numpy is imported when a name is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.metrics.classification import ClassCounts, ClassScores, LabelSetCounts
    from dlk.metrics.mean import WeightedMean
    from dlk.metrics.ranks import RankCorrelation
    from dlk.metrics.regression import RegressionMoments
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
        "dlk.metrics.ranks": ("RankCorrelation",),
        "dlk.metrics.regression": ("RegressionMoments",),
        "dlk.metrics.thresholds": ("ThresholdSearch",),
    },
)
