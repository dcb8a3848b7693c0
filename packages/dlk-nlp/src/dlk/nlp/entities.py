"""Entities as rows give them, checked; and which of two that overlap is dropped.

A row's `entities_info` is a list of ``{"start": 0, "end": 5, "labels": ["person"]}``, offsets in
characters (code points) of its text, end exclusive, perhaps with an ``"entity_id"``; other keys are
allowed and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from dlk.data.texts import flaw_of

__all__ = [
    "Entity",
    "EntityError",
    "first_labels",
    "labels_of_null",
    "read_entities",
    "stands_nowhere",
    "without_overlaps",
]

T = TypeVar("T")


class EntityError(ValueError):
    """A row's entities are not what they should be; the text is the reason."""


class Entity(NamedTuple):
    """An entity of a text.

    Attributes:
        start: first character.
        end: after the last one.
        labels: its types, at least one.
        id: its `entity_id`, or else its place in the row's list.
        place: its place in the row's list.
    """

    start: int
    end: int
    labels: tuple[str, ...]
    id: str | int
    place: int

    @property
    def label(self) -> str:
        """The first of its types."""
        return self.labels[0]


def read_entities(value: object, size: int, *, with_nulls: bool = False) -> list[Entity]:
    """Return the entities of a row, in its order.

    Args:
        value: what the row holds.
        size: number of characters of the text.
        with_nulls: entities that stand nowhere are left out, and no error.

    Raises:
        EntityError: it is no list of such entities.
    """
    if type(value) is not list and hasattr(value, "tolist"):  # an array, as pandas reads lists
        value = value.tolist()
    if not isinstance(value, list | tuple):
        shown = "nothing" if value is None else type(value).__name__
        raise EntityError(f"expected a list of entities (empty where there are none), got {shown}")
    return [
        _entity(item, place, size)
        for place, item in enumerate(value)
        if not (with_nulls and stands_nowhere(item))
    ]


def first_labels(value: Sequence[Mapping[str, Sequence[str]]]) -> list[str]:
    """Return the first label of each entity of a row that `read_entities` takes."""
    return [str(item["labels"][0]) for item in value]


def stands_nowhere(item: object) -> bool:
    """Return whether an entity has null as start and end: the answer of a question without one."""
    return (
        isinstance(item, Mapping)
        and item.get("start") is None
        and item.get("end") is None
        and isinstance(item.get("labels"), list | tuple)
    )


def _entity(item: Any, place: int, size: int) -> Entity:  # Any: a value of a row
    where = f"entity {place}"
    if type(item) is not dict and not isinstance(item, Mapping):
        raise EntityError(f'{where}: expected {{"start", "end", "labels"}}, got {item!r}')
    start, end, labels = item.get("start"), item.get("end"), item.get("labels")
    if start is None or end is None or labels is None:
        missing = [name for name in ("start", "end", "labels") if item.get(name) is None]
        raise EntityError(f"{where} has no {', '.join(missing)}")
    if type(start) is not int or type(end) is not int:
        start, end = _place(start, where, "start"), _place(end, where, "end")
    if not 0 <= start < end <= size:
        raise EntityError(
            f"{where}: expected 0 <= start < end <= {size} (characters of the text), "
            f"got {start} and {end}"
        )
    types = _labels(labels, where)
    name = item.get("entity_id")
    if name is None:
        name = place
    elif isinstance(name, bool) or not isinstance(name, str | int):
        raise EntityError(f"{where}: entity_id is a text or a number, got {name!r}")
    return Entity(start, end, types, name, place)


def labels_of_null(item: Mapping[str, Any], place: int) -> tuple[str, ...]:
    """Return the types of an entity that `stands_nowhere`, the row's `place`-th.

    Raises:
        EntityError: it has none, or one is no text.
    """
    return _labels(item.get("labels"), f"entity {place}")


def _labels(labels: Any, where: str) -> tuple[str, ...]:
    """Return the types of an entity, checked."""
    if type(labels) is not list and hasattr(labels, "tolist"):
        labels = labels.tolist()
    if not isinstance(labels, list | tuple) or not labels:
        raise EntityError(f"{where}: expected a list of at least one label, got {labels!r}")
    for label in labels:
        if isinstance(label, str) and label:
            if flaw := flaw_of(label):
                raise EntityError(f"{where}, its label {label!r}: {flaw}")
            continue
        raise EntityError(f"{where}: labels are texts that are not empty, got {labels!r}")
    return tuple(labels)


def _place(value: object, where: str, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise EntityError(f"{where}: expected a whole number as {name}, got {value!r}")
    return int(value.__index__())


def without_overlaps(
    found: Iterable[T],
    *,
    span: Callable[[T], tuple[int, int]],
    size: Callable[[T], int],
    label: Callable[[T], str],
    drop: str,
    priority: Sequence[str] = (),
    trigger: int = 1,
) -> tuple[list[T], list[T]]:
    """Return those that stay and those that are dropped, so that no two of the first overlap.

    They are gone through by position. Where one overlaps the last that stayed, one of the two goes:
    where their sizes differ by no more than `trigger` and their labels rank differently in
    `priority`, the one whose label stands later there (labels that are not in it come after all);
    else the shorter or the longer, as `drop` says; of two of one size the later.

    Args:
        found: what may overlap.
        span: its start and end (exclusive), where overlapping is decided.
        size: how long it is, where that is decided.
        label: its label.
        drop: ``shorter`` or ``longer``.
        priority: labels, the strongest first.
        trigger: largest difference of sizes at which `priority` decides.
    """
    ranks = {name: rank for rank, name in reversed(list(enumerate(priority)))}
    stay: list[T] = []
    dropped: list[T] = []
    for each in sorted(found, key=lambda one: (*span(one), label(one))):
        if not stay or span(stay[-1])[1] <= span(each)[0]:
            stay.append(each)
            continue
        last = stay[-1]
        difference = size(each) - size(last)
        ranked = ranks.get(label(each), len(ranks)) - ranks.get(label(last), len(ranks))
        if ranked and abs(difference) <= trigger:
            wins = ranked < 0
        else:
            wins = difference > 0 if drop == "shorter" else difference < 0
        if wins:
            stay[-1] = each
        dropped.append(last if wins else each)
    return stay, dropped
