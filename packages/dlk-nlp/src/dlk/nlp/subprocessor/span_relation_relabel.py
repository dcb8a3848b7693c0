"""Relations between entities to cells over units: heads with heads, tails with tails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.nlp.relations import Relation, relations_of
from dlk.nlp.subprocessor.span_cls_relabel import label_vocabulary
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.vocabulary import Vocabulary
    from dlk.nlp.subprocessor.configs import SpanRelationRelabelConfig

__all__ = ["SpanRelationRelabel"]

Cell = tuple[int, int, int]
"""Matrix, and the units of its row and column."""


@register("subprocessor", "span_relation_relabel")
class SpanRelationRelabel(Subprocessor):
    """Writes two cells ``[m, i, j, id]`` per relation: in the matrix of heads and in that of tails.

    Matrix 0 pairs the first unit of the entity the relation is from (i) with that of the one it is
    to (j), matrix 1 their last units; `id` is the type. With `label_seperate` each type has a pair
    of matrices of its own, 2 (id - 1) and the next, and the cells' id is 1. With `sym` a relation
    has no direction: i is the smaller of the two.

    What cannot be said so is counted, and dropped from the cells only: a relation of an entity that
    was lost or is not there, one between entities that no window holds together, one on a cell
    where another type stands already (not with `label_seperate`), one given twice (of other
    entities on the same units, too), and one of a type that the vocabulary lacks, whose cells the
    loss ignores (`mask_fill`). "relations" less these is what cells say.
    """

    def __init__(self, config: SpanRelationRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.vocab: str = config.vocab
        self.sym: bool = config.sym
        self.separate: bool = config.label_seperate
        self.fill: int = config.mask_fill
        self.truth = self.input_map["relations_info"]
        self.target = self.output_map["relation_cells"]

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the cells of each record where the truth is among the columns."""
        if self.truth not in columns:
            return {}
        vocabulary = label_vocabulary(self.setup, self.vocab)
        entities, relations = columns[self.input_map["entities_info"]], columns[self.truth]
        units = columns[self.input_map["entity_units"]]
        cells: list[list[list[int]]] = []
        for _, group in groupby(enumerate(columns["_row"]), key=lambda item: item[1]):
            positions = [position for position, _ in group]
            first = positions[0]
            try:
                found = _checked(entities[first], relations[first])
            except (TypeError, ValueError) as error:
                ctx.bad_row(first, self.truth, relations[first], str(error))
                found = []
            mine = [units[position] for position in positions]
            cells += self._cells(found, mine, vocabulary, ctx)
        return {self.target: cells}

    def _cells(
        self,
        relations: Sequence[Relation],
        units: Sequence[Sequence[Sequence[int]]],
        vocabulary: Vocabulary,
        ctx: TransformContext,
    ) -> list[list[list[int]]]:
        """Return the cells of one row's records, and count what they cannot say."""
        found: list[dict[Cell, int]] = [{} for _ in units]
        ignored: list[set[Cell]] = [set() for _ in units]
        given: set[tuple[int | Cell, ...]] = set()  # record, type, cells
        ctx.count("relations", len(relations))
        holders = _holders(units) if relations else []
        for relation in relations:
            held = self._held(relation, units, holders, ctx)
            if not held:
                continue
            number = vocabulary.id(relation.label) if relation.label in vocabulary else 0
            if number == 0:
                ctx.count("relations of unknown type")
                if not self.separate:
                    for record, source, target in held:
                        ignored[record].update(self._pair(source, target, 1))
                continue
            value = 1 if self.separate else number
            is_new = is_refused = False
            for record, source, target in held:
                pair = self._pair(source, target, number)
                if all(found[record].get(cell, value) == value for cell in pair):
                    found[record].update(dict.fromkeys(pair, value))
                    is_new |= (record, number, *pair) not in given
                    given.add((record, number, *pair))
                else:
                    is_refused = True
            if is_refused:
                ctx.count("relations on cells of another type")
            elif not is_new:
                ctx.count("relations given twice")
        return [
            [
                [*cell, value]
                for cell, value in sorted((dict.fromkeys(skip, self.fill) | known).items())
            ]
            for known, skip in zip(found, ignored, strict=True)
        ]

    def _held(
        self,
        relation: Relation,
        units: Sequence[Sequence[Sequence[int]]],
        holders: Sequence[Sequence[int]],
        ctx: TransformContext,
    ) -> list[tuple[int, Sequence[int], Sequence[int]]]:
        """Return (record, units of one entity, of the other) where a record holds both."""
        if relation.source is None or relation.target is None:
            ctx.count("relations of entities that are not there")
            return []
        source, target = holders[relation.source], holders[relation.target]
        pairs = [(n, units[n][relation.source], units[n][relation.target]) for n in source]
        held = [(n, one, other) for n, one, other in pairs if other[0] >= 0]
        if not held:
            is_lost = not source or not target
            ctx.count(
                "relations of lost entities" if is_lost else "relations across windows of a text"
            )
        return held

    def _pair(self, source: Sequence[int], target: Sequence[int], number: int) -> list[Cell]:
        """Return the cell of the heads, and that of the tails."""
        base = 2 * (number - 1) if self.separate else 0
        made: list[Cell] = []
        for side in (0, 1):
            i, j = source[side], target[side]
            if self.sym and i > j:
                i, j = j, i
            made.append((base + side, i, j))
        return made


def _holders(units: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """Return for each entity of a row the records that hold it."""
    found: list[list[int]] = [[] for _ in units[0]]
    for record, mine in enumerate(units):
        for place, (first, _) in enumerate(mine):
            if first >= 0:
                found[place].append(record)
    return found


def _checked(entities: Any, relations: Any) -> list[Relation]:
    """Return the relations of a row.

    Raises:
        TypeError: it has no list of relations.
        ValueError: one is not what it must be.
    """
    entities, relations = (
        value.tolist() if hasattr(value, "tolist") else value for value in (entities, relations)
    )
    if not isinstance(relations, list | tuple):
        raise TypeError("expected a list of relations, [] where there is none")
    return list(relations_of(entities, relations))
