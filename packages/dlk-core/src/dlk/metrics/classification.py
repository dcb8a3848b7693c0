"""Counts of hits and misses per class, and the scores that follow from them.

Precision, recall and F1 of a class without a denominator are 0, and averages are taken over the
classes that occur in the truth or in a prediction (scikit-learn's defaults for one label per row).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_ANSWER = -1
# 1000 classes: the table of pairs takes 8 MB; beyond that only counts per class are kept.
TABLE_LIMIT = 1000


class ClassScores(NamedTuple):
    """Scores per class, each (C,) in 0..1, and how often a class is true, (C,) int64."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints


class _Tally:
    """Hits, predictions and truths per class: what the scores of both kinds of task need."""

    def __init__(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"scores need at least one class, got {num_classes}")
        self.num_classes = num_classes
        self.hits: Ints = np.zeros(num_classes, dtype=np.int64)
        self.predicted: Ints = np.zeros(num_classes, dtype=np.int64)
        self.support: Ints = np.zeros(num_classes, dtype=np.int64)
        self.rows = 0

    def per_class(self) -> ClassScores:
        precision = _ratio(self.hits, self.predicted)
        recall = _ratio(self.hits, self.support)
        f1 = _ratio(2 * self.hits, self.predicted + self.support)
        return ClassScores(precision, recall, f1, self.support.copy())

    def _averages(self) -> dict[str, float]:
        f1 = self.per_class().f1
        seen = (self.predicted + self.support) > 0
        both = int(self.predicted.sum() + self.support.sum())
        support = int(self.support.sum())
        return {
            "f1_macro": float(f1[seen].mean()) if seen.any() else 0.0,
            "f1_micro": 2.0 * int(self.hits.sum()) / both if both else 0.0,
            "f1_weighted": float((f1 * self.support).sum() / support) if support else 0.0,
        }

    def _state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        return {
            "rows": self.rows,
            "hits": self.hits.tolist(),
            "predicted": self.predicted.tolist(),
            "support": self.support.tolist(),
        }

    def _merge(self, state: Mapping[str, Any]) -> None:  # Any: as `_state`
        if len(state["hits"]) != self.num_classes:
            raise ValueError(
                f"counts of {len(state['hits'])} classes do not join counts of {self.num_classes}"
            )
        self.rows += state["rows"]
        self.hits += np.asarray(state["hits"], dtype=np.int64)
        self.predicted += np.asarray(state["predicted"], dtype=np.int64)
        self.support += np.asarray(state["support"], dtype=np.int64)


class ClassCounts(_Tally):
    """One true class per row: accuracy, F1 and the confusion table."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self._table: Ints | None = None
        if num_classes <= TABLE_LIMIT:
            self._table = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, predicted: Ints, target: Ints) -> None:
        """Count one batch.

        Args:
            predicted: (N,) ints in [0, C), or -1 where the model gave no answer (a miss).
            target: (N,) ints in [0, C).

        Raises:
            ValueError: the lengths differ, or a class is out of range.
        """
        predicted = np.asarray(predicted, dtype=np.int64)
        target = np.asarray(target, dtype=np.int64)
        if predicted.ndim != 1 or predicted.shape != target.shape:
            raise ValueError(
                f"predicted and target must both be (N,), got {predicted.shape} and {target.shape}"
            )
        if not target.size:
            return
        size = self.num_classes
        _check_range("target", target, low=0, size=size)
        _check_range("predicted", predicted, low=NO_ANSWER, size=size)
        answered = predicted != NO_ANSWER
        self.rows += target.size
        self.support += np.bincount(target, minlength=size)
        self.predicted += np.bincount(predicted[answered], minlength=size)
        self.hits += np.bincount(target[predicted == target], minlength=size)
        if self._table is not None:
            # (C, C + 1): the last column counts the rows without an answer.
            cell = target * (size + 1) + np.where(answered, predicted, size)
            counts = np.bincount(cell, minlength=size * (size + 1))
            self._table += counts.reshape(size, size + 1)

    def compute(self) -> dict[str, float]:
        """`acc`, `f1_macro`, `f1_micro`, `f1_weighted`, each 0..1; {} before the first row."""
        if not self.rows:
            return {}
        return {"acc": int(self.hits.sum()) / self.rows, **self._averages()}

    def confusion(self) -> Ints | None:
        """(C, C + 1) counts, truth down and prediction across, last column: no answer.

        None with more than 1000 classes.
        """
        return None if self._table is None else self._table.copy()

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        table = None if self._table is None else self._table.tolist()
        return {**self._state(), "table": table}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add the counts of another part of the data."""
        self._merge(state)
        if self._table is not None:
            self._table += np.asarray(state["table"], dtype=np.int64)


class LabelSetCounts(_Tally):
    """Any number of true labels per row: exact match and F1."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.exact = 0

    def update(self, predicted: Bools, target: Bools, answered: Bools | None = None) -> None:
        """Count one batch.

        Args:
            predicted: (N, C) bool, the labels that the model gave.
            target: (N, C) bool, the true labels; a row may have none.
            answered: (N,) bool, false where the model gave no answer: a miss even where no label
                is true. None: all answered.

        Raises:
            ValueError: a shape is another one.
        """
        predicted = np.asarray(predicted, dtype=np.bool_)
        target = np.asarray(target, dtype=np.bool_)
        if predicted.shape != target.shape or predicted.shape[1:] != (self.num_classes,):
            raise ValueError(
                f"predicted and target must both be (N, {self.num_classes}), "
                f"got {predicted.shape} and {target.shape}"
            )
        right = (predicted == target).all(axis=1)
        if answered is not None:
            predicted = predicted & answered[:, None]
            right = right & answered
        self.rows += len(target)
        self.exact += int(right.sum())
        self.hits += (predicted & target).sum(axis=0)
        self.predicted += predicted.sum(axis=0)
        self.support += target.sum(axis=0)

    def compute(self) -> dict[str, float]:
        """`acc` (all labels of a row right) and the F1 averages, 0..1; {} before the first row."""
        if not self.rows:
            return {}
        return {"acc": self.exact / self.rows, **self._averages()}

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        return {**self._state(), "exact": self.exact}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add the counts of another part of the data."""
        self._merge(state)
        self.exact += state["exact"]


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(part), dtype=np.float64), where=whole > 0)


def _check_range(what: str, values: Ints, *, low: int, size: int) -> None:
    if values.min() < low or values.max() >= size:
        raise ValueError(
            f"{what} must lie in [{low}, {size}), got {int(values.min())}..{int(values.max())}"
        )
