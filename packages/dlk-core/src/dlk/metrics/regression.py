"""Errors and Pearson's correlation of predicted numbers.

A correlation is 0 where one side is constant (there it is undefined: nothing varies together), so
that a metric a callback monitors is always there. A prediction that is not finite makes all scores
NaN: a model that has diverged has no error to report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["RegressionMoments", "paired"]

Floats = NDArray[np.float64]


class _Moments(NamedTuple):
    """Moments of (prediction, target) pairs: means, sums of squared deviations, co-deviation."""

    rows: int = 0
    mean_p: float = 0.0
    mean_t: float = 0.0
    square_p: float = 0.0
    square_t: float = 0.0
    product: float = 0.0
    squared_error: float = 0.0
    absolute_error: float = 0.0
    low_p: float = math.inf
    high_p: float = -math.inf
    low_t: float = math.inf
    high_t: float = -math.inf


class RegressionMoments:
    """Mean squared and absolute error and Pearson's correlation, from moments.

    Source: Chan, Golub, LeVeque 1983, "Algorithms for Computing the Sample Variance", eq. 1.5:
    moments about the mean of two parts join without the cancellation of raw sums of squares.
    """

    def __init__(self) -> None:
        self._moments = _Moments()
        self.missing = 0

    def update(self, prediction: Floats, target: Floats) -> None:
        """Count one batch.

        Args:
            prediction: (N,) numbers; one that is not finite counts as missing.
            target: (N,) finite numbers.

        Raises:
            ValueError: the shapes differ, or a target is not finite.
        """
        prediction, target = paired(prediction, target)
        known = np.isfinite(prediction)
        self.missing += int((~known).sum())
        prediction, target = prediction[known], target[known]
        if not target.size:
            return
        mean_p, mean_t = float(prediction.mean()), float(target.mean())
        off_p, off_t, error = prediction - mean_p, target - mean_t, prediction - target
        batch = _Moments(
            rows=target.size,
            mean_p=mean_p,
            mean_t=mean_t,
            square_p=float(off_p @ off_p),
            square_t=float(off_t @ off_t),
            product=float(off_p @ off_t),
            squared_error=float(error @ error),
            absolute_error=float(np.abs(error).sum()),
            low_p=float(prediction.min()),
            high_p=float(prediction.max()),
            low_t=float(target.min()),
            high_t=float(target.max()),
        )
        self._moments = _join(self._moments, batch)

    def compute(self) -> dict[str, float]:
        """`mse`, `mae`, `rmse` (in the target's unit) and `pearson`; {} before the first row."""
        m = self._moments
        if self.missing:
            return dict.fromkeys(("mse", "mae", "rmse", "pearson"), math.nan)
        if not m.rows:
            return {}
        mse = m.squared_error / m.rows
        spread = math.sqrt(m.square_p) * math.sqrt(m.square_t)
        varies = m.low_p < m.high_p and m.low_t < m.high_t and spread > 0
        return {
            "mse": mse,
            "mae": m.absolute_error / m.rows,
            "rmse": math.sqrt(mse),
            "pearson": max(-1.0, min(1.0, m.product / spread)) if varies else 0.0,
        }

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        # No rows: no bounds, and infinity is not a plain number of JSON.
        return {
            "moments": list(self._moments) if self._moments.rows else [],
            "missing": self.missing,
        }

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Join the moments of another part of the data."""
        self.missing += state["missing"]
        if state["moments"]:
            rows, *rest = state["moments"]
            self._moments = _join(self._moments, _Moments(int(rows), *rest))


def paired(prediction: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return both as float64.

    Raises:
        ValueError: they are not both (N,), or a target is not finite.
    """
    prediction = np.asarray(prediction, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if prediction.ndim != 1 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must both be (N,), got {prediction.shape} and {target.shape}"
        )
    if not np.isfinite(target).all():
        raise ValueError("a target is not a finite number")
    return prediction, target


def _join(a: _Moments, b: _Moments) -> _Moments:
    """Moments of the union of two disjoint parts."""
    if not a.rows:
        return b
    rows = a.rows + b.rows
    gap_p, gap_t = b.mean_p - a.mean_p, b.mean_t - a.mean_t
    share = a.rows * b.rows / rows
    return _Moments(
        rows=rows,
        mean_p=a.mean_p + gap_p * b.rows / rows,
        mean_t=a.mean_t + gap_t * b.rows / rows,
        square_p=a.square_p + b.square_p + gap_p * gap_p * share,
        square_t=a.square_t + b.square_t + gap_t * gap_t * share,
        product=a.product + b.product + gap_p * gap_t * share,
        squared_error=a.squared_error + b.squared_error,
        absolute_error=a.absolute_error + b.absolute_error,
        low_p=min(a.low_p, b.low_p),
        high_p=max(a.high_p, b.high_p),
        low_t=min(a.low_t, b.low_t),
        high_t=max(a.high_t, b.high_t),
    )
