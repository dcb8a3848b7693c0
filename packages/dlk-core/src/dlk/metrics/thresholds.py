"""The thresholds that would have given the best F1, found while the probabilities stream.

Each label's probabilities are counted in equal bins, once for the rows where it is true and once
for all, so memory does not grow with the rows. What is searched are the bins' edges, ``k / bins``:
at these F1 is exact, counted as ``probability >= edge`` in float32, as predictions are made. A
threshold between two edges could be better by what lies within one bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Best", "ThresholdSearch"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Probabilities = NDArray[np.float32]
Bools = NDArray[np.bool_]

MOST_BINS = 1000
# One million cells of each of two tables take 16 MB: above 1000 labels bins become fewer.
MOST_CELLS = 1_000_000
FEWEST_BINS = 20
DEFAULT = 0.5


class Best(NamedTuple):
    """A threshold and the score it gives."""

    threshold: float
    score: float


class ThresholdSearch:
    """Counts of probabilities per label, and the thresholds that follow from them.

    Args:
        num_classes: number of labels.
        bins: how finely thresholds are searched; None: 1000, fewer above 1000 labels so that
            memory stays within 16 MB (but never below 20).
    """

    def __init__(self, num_classes: int, bins: int | None = None) -> None:
        if num_classes < 1:
            raise ValueError(f"thresholds need at least one class, got {num_classes}")
        fitting = max(FEWEST_BINS, min(MOST_BINS, MOST_CELLS // num_classes))
        self.bins = fitting if bins is None else bins
        if self.bins < 1:
            raise ValueError(f"thresholds need at least one bin, got {bins}")
        self.num_classes = num_classes
        self.support: Ints = np.zeros(num_classes, dtype=np.int64)
        # The last bin holds what equals 1.
        self._all: Ints = np.zeros((num_classes, self.bins + 1), dtype=np.int64)
        self._true: Ints = np.zeros((num_classes, self.bins + 1), dtype=np.int64)

    @property
    def edges(self) -> Floats:
        """The thresholds that are searched, (bins + 1,), from 0 to 1."""
        return np.arange(self.bins + 1) / self.bins

    def update(self, probabilities: Probabilities, target: Bools) -> None:
        """Count one batch.

        Args:
            probabilities: (N, C) float32 in 0..1; a row with one that is not finite is a row
                without an answer, which no threshold gives a label.
            target: (N, C) bool, the true labels.

        Raises:
            ValueError: a shape is another one.
        """
        probabilities = np.asarray(probabilities, dtype=np.float32)
        target = np.asarray(target, dtype=np.bool_)
        if probabilities.shape != target.shape or target.shape[1:] != (self.num_classes,):
            raise ValueError(
                f"probabilities and target must both be (N, {self.num_classes}), "
                f"got {probabilities.shape} and {target.shape}"
            )
        self.support += target.sum(axis=0)
        answered = np.isfinite(probabilities).all(axis=1)
        probabilities, target = probabilities[answered], target[answered]
        edges = self.edges.astype(np.float32)
        place = np.searchsorted(edges, probabilities, side="right") - 1  # (N, C)
        cells = place.clip(0, self.bins) + np.arange(self.num_classes) * (self.bins + 1)
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
        """Return each label's own best threshold; 0.5 for a label that is never true."""
        scores = _f1(self._hits(), self._given(), self.support[:, None])
        return [
            self._best(row) if count else Best(DEFAULT, 0.0)
            for row, count in zip(scores, self.support.tolist(), strict=True)
        ]

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
        return _from_above(self._true)

    def _given(self) -> Ints:
        return _from_above(self._all)

    def _best(self, scores: Floats) -> Best:
        """Return the best edge; of equal ones that nearest to 0.5, of these the lower."""
        edges = self.edges
        best = np.flatnonzero(scores == scores.max())
        chosen = best[np.abs(edges[best] - DEFAULT).argmin()]
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
