"""Labels with their probabilities, read from a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dlk.display.html import Bar, number, words
from dlk.nlp.display._spans import listed

__all__ = ["bars_of"]


def bars_of(
    predicts: object, *, given: Sequence[object], score: object, top_k: int
) -> tuple[list[Bar], list[str]]:
    """Return the bars of a prediction, and sentences on what has none.

    Args:
        predicts: the list of labels with scores.
        given: the labels that are the answer.
        score: score of the first of them, drawn where the list does not hold it.
        top_k: how many bars there are at most, the most probable first; 0: all.
    """
    chosen = {words([label]) for label in given if label is not None}
    rows: list[Bar] = []
    for item in listed(predicts):
        if isinstance(item, Mapping):
            label = words([item.get("label")])
            rows.append(Bar(label, number(item.get("score")), label in chosen))
    if not rows and chosen:
        rows = [Bar(label, number(score), True) for label in sorted(chosen)]
    rows.sort(key=lambda row: (row.share is None, -(row.share or 0.0)))
    notes = []
    if not rows:
        notes.append("The model gave no probabilities.")
    elif not any(row.chosen for row in rows):
        notes.append("No label was given.")
    kept = rows[: top_k or len(rows)]
    if len(kept) < len(rows):
        notes.append(f"The {len(kept)} most probable of {len(rows)} labels.")
    return kept, notes
