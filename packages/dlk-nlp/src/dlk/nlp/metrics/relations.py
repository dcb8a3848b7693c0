"""Precision, recall and F1 of relations between entities, strict and by boundaries alone.

Source of the two settings: Taillé et al. 2020, "Let's Stop Incorrect Comparisons in End-to-end
Relation Extraction!", arXiv:2009.10684, §3: *strict* wants the type of the relation and the
boundaries and types of both entities right, *boundaries* leaves the entities' types out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from dlk.errors import DataError
from dlk.nlp.entities import stands_nowhere
from dlk.nlp.metrics.entities import EntityMetrics, Thing, ThingCounts
from dlk.nlp.relations import relations_of
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row

__all__ = ["EndMetrics", "RelationMetrics"]

GivenRelations = Callable[[Outputs, Sequence[Row]], list[list[Prediction]]]
"""From outputs and rows to each row's relations (as in `relations_info`) of its true entities."""


class EndMetrics(EntityMetrics):
    """Metrics of entities which also say how the ends of a relation are compared."""

    def end_of(self, entity: Any, row: Row, *, typed: bool) -> Hashable:  # Any: as a column holds
        """Return what tells an entity from others, with or without its types.

        None where it has no type that counts.
        """
        things = self._things([entity], row)
        if not things:
            return None
        place = things[0][1]
        return (place, *sorted(label for label, _ in things)) if typed else place


class RelationMetrics(Metrics):
    """Entities and relations of predictions against those of two raw columns.

    - ``ent_…``: entities, as `EntityMetrics` counts them;
    - ``rel_…``: relations found end to end, strict;
    - ``rel_boundary_…``: the same without the types of the entities;
    - ``rel_given_…``: relations found where the true entities are given, by boundaries: those of
      entities that stand at one place (one with two types, given as two) are one relation.

    The truth is what the data says: a relation of an entity that was lost in preparation, that
    there is not or that stands nowhere (null as start and end), or of a type never seen in
    training, counts as missed. Rows whose entities or relations are absent or null are not counted.
    A relation with several labels is as many relations.

    Args:
        entities: metrics of the entities; also says where these stand and what is ignored.
        truth: raw column of the true relations.
        given: gives the relations among the true entities.
        sym: the direction of a relation does not matter.
        ignore_relations: types that do not count.
    """

    def __init__(
        self,
        entities: EndMetrics,
        *,
        truth: str,
        given: GivenRelations,
        sym: bool = False,
        ignore_relations: Iterable[str] = (),
    ) -> None:
        self.entities = entities
        self.truth = truth
        self.given = given
        self.sym = sym
        self.ignore_relations = frozenset(ignore_relations)
        self.counts = {"rel": ThingCounts(), "rel_boundary": ThingCounts()}
        self.counts["rel_given"] = ThingCounts()

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        firsts = Parts(rows).first
        known = [
            place
            for place, position in enumerate(firsts)
            if rows[position].get(self.entities.truth) is not None
            and rows[position].get(self.truth) is not None
        ]
        if not known:
            return
        self.entities.update(out, [rows[firsts[n]] for n in known], [decoded[n] for n in known])
        given = self.given(out, rows)
        # texts compared wherever they stand do not tell two places apart, so copies are kept
        once: Callable[[list[Thing]], Iterable[Thing]]
        once = list if self.entities.ignore_position else set
        for place in known:
            position = firsts[place]
            row, found = rows[position], decoded[place]
            entities, relations = row[self.entities.truth], row[self.truth]
            mine = found[self.entities.key] or (), found["relations_info"] or ()
            for name, typed in (("rel", True), ("rel_boundary", False)):
                self.counts[name].update(
                    self._things(entities, relations, row, typed=typed),
                    self._things(*mine, row, typed=typed),
                )
            self.counts["rel_given"].update(
                once(self._things(entities, relations, row, typed=False)),
                once(self._things(entities, given[place], row, typed=False)),
            )

    def _things(
        self,
        entities: Any,  # Any: what a column may hold
        relations: Any,
        row: Row,
        *,
        typed: bool,
    ) -> list[Thing]:
        """Return the relations as things to compare: label, and both ends."""
        ends = [self.entities.end_of(entity, row, typed=typed) for entity in entities]
        nowhere = [stands_nowhere(entity) for entity in entities]
        found: list[Thing] = []
        try:
            for number, relation in enumerate(relations_of(entities, relations)):
                if relation.label in self.ignore_relations:
                    continue
                both: list[Hashable] = [
                    # an entity that there is not, or nowhere: like none that is found
                    ("missing", number, side) if place is None or nowhere[place] else ends[place]
                    for side, place in enumerate((relation.source, relation.target))
                ]
                if None in both:  # the entity's type does not count, so its relations do not
                    continue
                if self.sym:
                    both.sort(key=repr)
                found.append((relation.label, tuple(both)))
        except ValueError as error:
            raise DataError(f'row {row["_row"]}, column "{self.truth}": {error}') from error
        return found

    def compute(self) -> dict[str, float]:
        scores = {f"ent_{name}": value for name, value in self.entities.compute().items()}
        for name, counts in self.counts.items():
            scores.update({f"{name}_{key}": value for key, value in counts.compute().items()})
        return scores

    def table(self) -> list[dict[str, object]]:
        """One row per type of relation (strict, end to end), after one per type of entity."""
        entities = [{"kind": "entity", **row} for row in self.entities.table()]
        return [*entities, *({"kind": "relation", **row} for row in self.counts["rel"].table())]

    def state(self) -> dict[str, Any]:  # Any: plain numbers, texts and lists of them
        counts = {name: counts.state() for name, counts in self.counts.items()}
        return {"ent": self.entities.state(), **counts}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        self.entities.merge(state["ent"])
        for name, counts in self.counts.items():
            counts.merge(state[name])
