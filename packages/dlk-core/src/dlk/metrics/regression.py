"""Errors and correlations of predicted numbers.

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

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

DEFAULT_CAP = 1_000_000  # 16 MB of keys and values


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
        prediction, target = _pair(prediction, target)
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


class RankCorrelation:
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank.

    Ranks need all values, so each row's key and its two numbers are kept (16 bytes a row, as
    float32). Beyond `cap` rows the correlation is that of a sample: the rows whose hashed keys are
    smallest, a choice that depends neither on order nor on how the data was split.
    """

    def __init__(self, cap: int = DEFAULT_CAP) -> None:
        """`cap`: the most rows kept, 0 for all."""
        if cap < 0:
            raise ValueError(f"cap must be >= 0, got {cap}")
        self.cap = cap
        self.missing = 0
        self._parts: list[tuple[Keys, NDArray[np.float32], NDArray[np.float32]]] = []
        self._held = 0

    def update(self, prediction: Floats, target: Floats, keys: Keys) -> None:
        """Count one batch.

        Args:
            prediction: (N,) numbers; one that is not finite counts as missing.
            target: (N,) finite numbers.
            keys: (N,) ints >= 0, different for each row of the data: its row number.

        Raises:
            ValueError: the shapes differ, or a target is not finite.
        """
        prediction, target = _pair(prediction, target)
        numbers = np.asarray(keys).astype(np.uint64)
        if numbers.shape != target.shape:
            raise ValueError(f"keys must be {target.shape}, got {numbers.shape}")
        known = np.isfinite(prediction)
        self.missing += int((~known).sum())
        self._add(
            numbers[known],
            prediction[known].astype(np.float32),
            target[known].astype(np.float32),
        )

    def compute(self) -> dict[str, float]:
        """`spearman` in -1..1; {} before the first row."""
        if self.missing:
            return {"spearman": math.nan}
        if not self._held:
            return {}
        self._compact()
        _, prediction, target = self._parts[0]
        moments = RegressionMoments()
        moments.update(_ranks(prediction), _ranks(target))
        return {"spearman": moments.compute()["pearson"]}

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        self._compact()
        kept = self._parts[0] if self._parts else ((), (), ())
        keys, prediction, target = (np.asarray(column).tolist() for column in kept)
        return {"keys": keys, "prediction": prediction, "target": target, "missing": self.missing}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add the rows of another part of the data."""
        self.missing += state["missing"]
        self._add(
            np.asarray(state["keys"], dtype=np.uint64),
            np.asarray(state["prediction"], dtype=np.float32),
            np.asarray(state["target"], dtype=np.float32),
        )

    def _add(
        self, keys: Keys, prediction: NDArray[np.float32], target: NDArray[np.float32]
    ) -> None:
        if not keys.size:
            return
        self._parts.append((keys, prediction, target))
        self._held += keys.size
        if self.cap and self._held > 2 * self.cap:
            self._compact()

    def _compact(self) -> None:
        if not self._parts:
            return
        keys = np.concatenate([part[0] for part in self._parts])
        prediction = np.concatenate([part[1] for part in self._parts])
        target = np.concatenate([part[2] for part in self._parts])
        if self.cap and keys.size > self.cap:
            kept = np.lexsort((target, prediction, keys, _hash(keys)))[: self.cap]
            keys, prediction, target = keys[kept], prediction[kept], target[kept]
        self._parts = [(keys, prediction, target)]
        self._held = keys.size


def _pair(prediction: Floats, target: Floats) -> tuple[Floats, Floats]:
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


def _ranks(values: NDArray[np.float32]) -> Floats:
    """(N,) ranks from 1, ties sharing the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    mean_rank: Floats = last - (counts - 1) / 2.0
    return mean_rank[where]


def _hash(keys: Keys) -> Keys:
    """SplitMix64's finaliser: neighbouring keys land far apart.

    Source: Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators", fig. 16.
    """
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
