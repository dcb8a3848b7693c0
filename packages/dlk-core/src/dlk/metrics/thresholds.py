"""The thresholds that would have given the best F1, found while the probabilities stream.

Each label's scores are counted in equal bins, once for the rows where it is true and once for all,
so memory does not grow with the rows. What is searched are the bins' edges: at these F1 is exact,
counted as ``score >= edge`` in float32, as predictions are made. A threshold between two edges
could be better by what lies within one bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Best", "ThresholdSearch"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = NDArray[np.float32]
Bools = NDArray[np.bool_]

MOST_BINS = 1000
# One million cells of each of two tables take 16 MB: above 1000 labels bins become fewer.
MOST_CELLS = 1_000_000
FEWEST_BINS = 20


class Best(NamedTuple):
    """A threshold and the score it gives."""

    threshold: float
    score: float


class ThresholdSearch:
    """Counts of scores per label, and the thresholds that follow from them.

    Args:
        num_classes: number of labels.
        bins: how finely thresholds are searched; None: 1000, fewer above 1000 labels so that
            memory stays within 16 MB (but never below 20).
        low: the smallest threshold.
        high: the largest threshold.
    """

    def __init__(
        self, num_classes: int, bins: int | None = None, *, low: float = 0.0, high: float = 1.0
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"thresholds need at least one class, got {num_classes}")
        fitting = max(FEWEST_BINS, min(MOST_BINS, MOST_CELLS // num_classes))
        self.bins = fitting if bins is None else bins
        if self.bins < 1:
            raise ValueError(f"thresholds need at least one bin, got {bins}")
        self.num_classes = num_classes
        self.low, self.high = low, high
        self.support: Ints = np.zeros(num_classes, dtype=np.int64)
        # The first column holds what no threshold gives a label, the last what reaches the highest.
        self._all: Ints = np.zeros((num_classes, self.bins + 2), dtype=np.int64)
        self._true: Ints = np.zeros((num_classes, self.bins + 2), dtype=np.int64)

    @property
    def edges(self) -> Floats:
        """The thresholds that are searched, (bins + 1,), from low to high."""
        return self.low + (self.high - self.low) * (np.arange(self.bins + 1) / self.bins)

    def update(self, scores: Scores, target: Bools) -> None:
        """Count one batch.

        Args:
            scores: (N, C) float32, such as probabilities; a row with one that is not finite is a
                row without an answer, which no threshold gives a label.
            target: (N, C) bool, the true labels.

        Raises:
            ValueError: a shape is another one.
        """
        scores = np.asarray(scores, dtype=np.float32)
        target = np.asarray(target, dtype=np.bool_)
        if scores.shape != target.shape or target.shape[1:] != (self.num_classes,):
            raise ValueError(
                f"scores and target must both be (N, {self.num_classes}), "
                f"got {scores.shape} and {target.shape}"
            )
        self.support += target.sum(axis=0)
        place = np.searchsorted(self.edges.astype(np.float32), scores, side="right")  # (N, C)
        place[~np.isfinite(scores).all(axis=1)] = 0
        cells = place + np.arange(self.num_classes) * (self.bins + 2)
        _count(self._all, cells.reshape(-1))
        _count(self._true, cells[target])

    def micro(self) -> Best:
        """Return the one threshold with the best micro F1."""
        hits, given = self._hits().sum(axis=0), self._given().sum(axis=0)  # (bins + 1,)
        return self._best(_f1(hits, given, self.support.sum()))

    def macro(self) -> Best:
        """Return the one threshold with the best mean of the labels' F1.

        As in `LabelSetCounts` the mean is over labels that are true or given at that threshold.
        """
        given = self._given()  # (C, bins + 1)
        scores = _f1(self._hits(), given, self.support[:, None])
        seen = (given + self.support[:, None] > 0).sum(axis=0)
        return self._best(scores.sum(axis=0) / np.maximum(seen, 1))

    def each(self) -> list[Best]:
        """Return each label's own best threshold; the middle for a label that is never true."""
        scores = _f1(self._hits(), self._given(), self.support[:, None])
        return [
            self._best(row) if count else Best((self.low + self.high) / 2, 0.0)
            for row, count in zip(scores, self.support.tolist(), strict=True)
        ]

    def areas(self) -> dict[str, float]:
        """Return how well the scores of all labels order them, whatever the threshold.

        `auc`: the share of (true, not true) pairs in the right order; of two in one bin, half.
        `average_precision`: the mean of precision over the steps of recall, as scikit-learn's, each
        bin being one score. 0 where nothing is true, `auc` also where all is.
        """
        true = self._true.sum(axis=0)  # (bins + 2,)
        false = self._all.sum(axis=0) - true
        positives, negatives = int(true.sum()), int(false.sum())
        below = false.cumsum() - false
        pairs = positives * negatives
        hits, given = (_from_above(table[None])[0] for table in (true, true + false))
        precision = np.divide(hits, given, out=np.zeros(len(hits)), where=given > 0)
        return {
            "average_precision": float((precision * true).sum() / positives) if positives else 0.0,
            "auc": float((true * (below + false / 2)).sum() / pairs) if pairs else 0.0,
        }

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        """Return the counts as plain JSON; of the tables only the cells that hold any."""
        flat = self._all.reshape(-1)
        cells = np.flatnonzero(flat)
        return {
            "bins": self.bins,
            "support": self.support.tolist(),
            "cells": cells.tolist(),
            "all": flat[cells].tolist(),
            "true": self._true.reshape(-1)[cells].tolist(),
        }

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add the counts of another part of the data."""
        if state["bins"] != self.bins or len(state["support"]) != self.num_classes:
            raise ValueError(
                f"counts of {len(state['support'])} classes in {state['bins']} bins do not join "
                f"counts of {self.num_classes} in {self.bins}"
            )
        self.support += np.asarray(state["support"], dtype=np.int64)
        cells = np.asarray(state["cells"], dtype=np.int64)
        self._all.reshape(-1)[cells] += np.asarray(state["all"], dtype=np.int64)
        self._true.reshape(-1)[cells] += np.asarray(state["true"], dtype=np.int64)

    def _hits(self) -> Ints:
        return _from_above(self._true)[:, 1:]

    def _given(self) -> Ints:
        return _from_above(self._all)[:, 1:]

    def _best(self, scores: Floats) -> Best:
        """Return the best edge; of equal ones that nearest to the middle, of these the lower."""
        edges = self.edges
        best = np.flatnonzero(scores == scores.max())
        chosen = best[np.abs(edges[best] - (self.low + self.high) / 2).argmin()]
        return Best(float(edges[chosen]), float(scores[chosen]))


def _count(table: Ints, cells: NDArray[np.intp]) -> None:
    places, counts = np.unique(cells, return_counts=True)
    table.reshape(-1)[places] += counts


def _from_above(table: Ints) -> Ints:
    """Return how many lie at or above each edge."""
    summed: Ints = table[:, ::-1].cumsum(axis=1)[:, ::-1]
    return summed


def _f1(hits: Ints, given: Ints, support: Ints | np.int64) -> Floats:
    both = given + support
    scores: Floats = np.divide(2.0 * hits, both, out=np.zeros(both.shape), where=both > 0)
    return scores
