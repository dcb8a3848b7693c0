"""Entities of a prediction, made fit for drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dlk.display.html import number, words
from dlk.nlp.display._graphemes import cluster_starts

__all__ = ["Drawn", "Span", "best", "labels_of", "left_out", "listed", "spans_of"]


@dataclass(frozen=True, slots=True)
class Span:
    """An entity with at least one character of the text.

    Attributes:
        start: its first character, where a cluster starts.
        end: behind its last character, where a cluster starts or the text ends.
        label: its labels, joined.
        score: how sure the model is; None where that is not known.
        number: its place in `entities_info`.
        entity_id: the name that relations use; its number where it has none.
    """

    start: int
    end: int
    label: str
    score: float | None
    number: int
    entity_id: str | int


@dataclass(frozen=True, slots=True)
class Drawn:
    """The entities to draw, and what is said about the others.

    Attributes:
        spans: by start, the longer first.
        notes: sentences on what is not drawn.
    """

    spans: list[Span]
    notes: list[str]


def listed(value: object) -> Sequence[object]:
    """Return a list as it is, and nothing for what is no list."""
    return value if isinstance(value, list | tuple) else ()


def labels_of(item: Mapping[str, object], ignored: Sequence[str]) -> list[object] | None:
    """Return an item's labels without those ignored; None where all of them are."""
    given = item.get("labels", item.get("label"))
    labels = list(given) if isinstance(given, list | tuple) else [given]
    kept = [label for label in labels if label not in ignored]
    return kept if kept or not labels else None


def spans_of(text: str, entities: object, *, ignored: Sequence[str], most: int) -> Drawn:
    """Return the entities of `entities_info` that lie in the text.

    Offsets are clipped to the text, and widened where they would tear a cluster apart.
    """
    starts = cluster_starts(text)
    found: list[Span] = []
    outside = 0
    for place, item in enumerate(listed(entities)):
        if not isinstance(item, Mapping):
            outside += 1
            continue
        labels = labels_of(item, ignored)
        if labels is None:
            continue
        start, end = _offset(item.get("start"), len(text)), _offset(item.get("end"), len(text))
        if start is None or end is None or start >= end:
            outside += 1
            continue
        start = starts[start]
        while end < len(text) and starts[end] != end:
            end += 1
        name = item.get("entity_id")
        known = name if isinstance(name, str | int) else place
        score = number(item.get("score"))
        found.append(Span(start, end, words(labels), score, place, known))
    kept = best(found, most)
    notes = []
    if not isinstance(entities, list | tuple):
        notes.append("The model gave no answer.")
    if outside:
        what = "entity" if outside == 1 else "entities"
        notes.append(f"Not drawn: {outside} {what} without a place in the text.")
    if len(kept) < len(found):
        notes.append(f"Drawn are {len(kept)} of {len(found)} entities, those with the best scores.")
    return Drawn(sorted(kept, key=lambda span: (span.start, -span.end, span.number)), notes)


def left_out(value: object) -> list[str]:
    """Return the sentence on what the prediction itself leaves out; none where it is nothing."""
    count = number(value)
    return [f"The prediction leaves {count:.0f} more out."] if count else []


def best(spans: list[Span], most: int) -> list[Span]:
    """Return the spans with the best scores; of equal ones, and of those without, the first."""
    if len(spans) <= most:
        return spans
    return sorted(spans, key=lambda s: (s.score is None, -(s.score or 0.0), s.number))[:most]


def _offset(value: object, length: int) -> int | None:
    """Return an offset clipped to the text; None for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return min(max(value, 0), length)


@dataclass(frozen=True, slots=True)
class Open:
    """A box begins; `continued`: a piece of it lies before."""

    span: Span
    continued: bool


@dataclass(frozen=True, slots=True)
class Close:
    """The innermost box ends; `whole`: so does its entity."""

    span: Span
    whole: bool


def nested(text: str, spans: Sequence[Span]) -> Iterator[str | Open | Close]:
    """Yield the text cut up by boxes inside of boxes.

    An entity that crosses the end of another is cut in two there, since boxes cannot cross.
    """
    stack: list[Span] = []
    place = 0

    def until(stop: int) -> Iterator[str | Open | Close]:
        nonlocal place
        while stack:
            end = min(span.end for span in stack)
            if end > stop:
                break
            if place < end:
                yield text[place:end]
            place = end
            again = []
            while any(span.end == end for span in stack):
                span = stack.pop()
                yield Close(span, whole=span.end == end)
                if span.end != end:
                    again.append(span)
            for span in reversed(again):
                stack.append(span)
                yield Open(span, continued=True)
        if place < stop:
            yield text[place:stop]
            place = stop

    for span in spans:
        yield from until(span.start)
        stack.append(span)
        yield Open(span, continued=False)
    yield from until(len(text))
