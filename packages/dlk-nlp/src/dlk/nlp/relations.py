"""Relations of rows: which entities `from` and `to` name. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Relation", "entity_places", "relations_of"]


class Relation(NamedTuple):
    """One label of one relation; `source` and `target` are places in `entities_info`, or None.

    None says that there is no such entity.
    """

    source: int | None
    target: int | None
    label: str


def entity_places(entities: Sequence[Mapping[str, Any]]) -> dict[Hashable, int]:
    """Return the place of each entity in its list by what relations call it.

    That is its `entity_id`, or its place itself where it has none (absent or null).

    Raises:
        ValueError: an id is neither a text nor a whole number, or two entities have one name.
    """
    found: dict[Hashable, int] = {}
    for place, entity in enumerate(entities):
        name = entity.get("entity_id")
        if name is None:
            name = place
        elif not isinstance(name, str | int) or isinstance(name, bool):
            raise ValueError(f"an entity_id is a text or a whole number, got {name!r}")
        if name in found:
            raise ValueError(
                f"entities {found[name]} and {place} are both called {name!r} (entity_id, or the "
                "place in the list where there is none): relations to it could mean either"
            )
        found[name] = place
    return found


def relations_of(
    entities: Sequence[Mapping[str, Any]], relations: Sequence[Mapping[str, Any]]
) -> Iterator[Relation]:
    """Yield the relations among entities: one with several labels is as many relations.

    Raises:
        ValueError: a relation is not ``{"from": id, "to": id, "labels": ["x"]}``, or an id of an
            entity is none.
    """
    places = entity_places(entities)
    for relation in relations:
        try:
            source, target = relation["from"], relation["to"]
            labels = relation["labels"]
        except (TypeError, KeyError) as error:
            raise ValueError(_expected(relation)) from error
        if not isinstance(labels, list | tuple) or not labels:
            raise ValueError(_expected(relation))
        if not all(isinstance(label, str) and label for label in labels):
            raise ValueError(_expected(relation))
        for name in (source, target):
            if not isinstance(name, str | int) or isinstance(name, bool):
                raise ValueError(_expected(relation))
        for label in labels:
            yield Relation(places.get(source), places.get(target), label)


def _expected(relation: object) -> str:
    return (
        'expected {"from": id of an entity, "to": id of an entity, "labels": ["x"]}, at least one '
        f"label, for each relation, got {relation!r}"
    )
