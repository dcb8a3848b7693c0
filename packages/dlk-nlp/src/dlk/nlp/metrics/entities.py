"""Precision, recall and F1 of labelled things found in texts: entities, spans, relations.

A thing found counts once for one thing that is true, so that copies of one right answer are one hit
and further misses. The scores are those of conlleval (Tjong Kim Sang and De Meulder 2003,
"Introduction to the CoNLL-2003 Shared Task", §2.4) and of seqeval, in 0..1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from dlk.errors import DataError
from dlk.nlp.entities import stands_nowhere
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row

Thing = tuple[str, Hashable]
"""A type, and whatever tells two things of one type apart: a place, or a text."""


class ThingCounts:
    """Hits, predictions and truths per type; memory grows with the types only."""

    def __init__(self) -> None:
        self.rows = 0
        self._counts: dict[str, list[int]] = {}  # type: [hits, predicted, true]

    def update(self, truth: Iterable[Thing], predicted: Iterable[Thing]) -> None:
        """Count one row: what is true of it, and what was found."""
        self.rows += 1
        true, found = Counter(truth), Counter(predicted)
        for place, things in enumerate((true & found, found, true)):
            for (kind, _), times in things.items():
                self._counts.setdefault(kind, [0, 0, 0])[place] += times

    def compute(self) -> dict[str, float]:
        """Return precision, recall and f1 over all things, and their plain means over types.

        A score without a denominator is 0. The means (``…_macro``) are over the types that are true
        or were predicted. {} where no row was counted.
        """
        if not self.rows:
            return {}
        sums = [sum(counts[place] for counts in self._counts.values()) for place in range(3)]
        names = ("precision", "recall", "f1")
        scores = dict(zip(names, _scores(*sums), strict=True))
        each = [_scores(*counts) for _, counts in sorted(self._counts.items())]
        for name, values in zip(names, zip(*each, strict=True) if each else ((),) * 3, strict=True):
            scores[f"{name}_macro"] = sum(values) / len(values) if values else 0.0
        return scores

    def table(self) -> list[dict[str, object]]:
        """Return a row per type, sorted: precision, recall, f1, how many are true and found."""
        rows: list[dict[str, object]] = []
        for kind, (hits, predicted, true) in sorted(self._counts.items()):
            precision, recall, f1 = _scores(hits, predicted, true)
            rows.append(
                {
                    "label": kind,
                    "precision": precision,
                    "recall": recall,
                    "f1": f1,
                    "support": true,
                    "predicted": predicted,
                }
            )
        return rows

    def state(self) -> dict[str, Any]:  # Any: plain numbers, texts and lists of them
        """Return what was counted as plain JSON."""
        return {"rows": self.rows, "counts": {k: list(v) for k, v in self._counts.items()}}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add what another part of the data counted."""
        self.rows += state["rows"]
        for kind, counts in state["counts"].items():
            mine = self._counts.setdefault(kind, [0, 0, 0])
            for place, count in enumerate(counts):
                mine[place] += count


def _scores(hits: int, predicted: int, true: int) -> tuple[float, float, float]:
    precision = hits / predicted if predicted else 0.0
    recall = hits / true if true else 0.0
    return precision, recall, 2 * hits / (predicted + true) if predicted + true else 0.0


class EntityMetrics(Metrics):
    """Compares the entities of predictions with those of a raw column, both as in `entities_info`.

    The truth is what the data says, not what preprocessing made of it: an entity that no tag could
    say, or that was cut off, counts as missed. A row whose column is absent or null has no known
    truth and is not counted; one with an empty list is. An entity with several labels is as many
    entities; one whose start and end are null (a question without an answer) stands nowhere and is
    none.

    Args:
        truth: raw column of the true entities.
        sentence: raw column of the text; read with `ignore_char` or `ignore_position`.
        key: the key of a prediction that holds its entities; null there is no entity.
        ignore_labels: types that do not count.
        ignore_position: compare types and texts; where an entity stands does not matter.
        ignore_char: characters that do not count at both ends of an entity.
    """

    def __init__(
        self,
        *,
        truth: str,
        sentence: str,
        key: str = "entities_info",
        ignore_labels: Iterable[str] = (),
        ignore_position: bool = False,
        ignore_char: Iterable[str] = (),
    ) -> None:
        self.truth = truth
        self.sentence = sentence
        self.key = key
        self.ignore_labels = frozenset(ignore_labels)
        self.ignore_position = ignore_position
        self.ignore_char = "".join(ignore_char)
        self.counts = ThingCounts()

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        for position, prediction in zip(Parts(rows).first, decoded, strict=True):
            row = rows[position]
            truth = row.get(self.truth)
            if truth is not None:
                self.counts.update(
                    self._things(truth, row), self._things(prediction[self.key] or (), row)
                )

    def _things(self, entities: Any, row: Row) -> list[Thing]:  # Any: what a column may hold
        found: list[Thing] = []
        for entity in entities:
            if stands_nowhere(entity):
                continue
            try:
                start, end, labels = int(entity["start"]), int(entity["end"]), entity["labels"]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f'row {row["_row"]}, column "{self.truth}": expected {{"start": 0, "end": 5, '
                    f'"labels": ["x"]}} for each entity, got {entity!r}'
                ) from error
            place = self._place(start, end, row)
            found += [(label, place) for label in labels if label not in self.ignore_labels]
        return found

    def _place(self, start: int, end: int, row: Row) -> Hashable:
        if not self.ignore_position and not self.ignore_char:
            return (start, end)
        sentence = row.get(self.sentence)
        if not isinstance(sentence, str):
            raise DataError(
                f"row {row['_row']}: ignore_position and ignore_char compare texts, but the column "
                f'"{self.sentence}" holds none'
            )
        text = sentence[start:end]
        if self.ignore_char:
            start += len(text) - len(text.lstrip(self.ignore_char))
            text = text.strip(self.ignore_char)
        return text if self.ignore_position else (start, start + len(text))

    def compute(self) -> dict[str, float]:
        return self.counts.compute()

    def table(self) -> list[dict[str, object]]:
        return self.counts.table()

    def state(self) -> dict[str, Any]:  # Any: plain numbers, texts and lists of them
        return self.counts.state()

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        self.counts.merge(state)
