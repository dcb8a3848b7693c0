"""Entities as spans of characters to a tag per piece.

Pieces are units by the laws of `dlk.nlp.align`; tags are those of `dlk.nlp.tags`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import Columns, CountingSubprocessor, TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.nlp.align import (
    Aligner,
    Fit,
    Pieces,
    Placed,
    Windows,
    piece_units_of_windows,
)
from dlk.nlp.entities import Entity, EntityError, first_labels, read_entities, without_overlaps
from dlk.nlp.subprocessor._text import checked_texts
from dlk.nlp.subprocessor.configs import SeqLabRelabelConfig
from dlk.nlp.tags import OUTSIDE, TagSpan, encode, tag_set
from dlk.nlp.unit_columns import Units as UnitColumns
from dlk.nlp.unit_columns import piece_columns
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta

__all__ = ["SeqLabRelabel"]

Units = dict[str, list[Any]]
"""What a record's units are, by the keys of `output_map`; `unit_offsets` among them."""


class _Candidate(NamedTuple):
    """An entity that units can say.

    Attributes:
        entity: the entity.
        runs: its run of units in each record of its row that it touches.
        start: first character that these runs hold.
        end: after the last one.
    """

    entity: Entity
    runs: dict[int, Placed]
    start: int
    end: int


@register("subprocessor", "seq_lab_relabel")
class SeqLabRelabel(CountingSubprocessor):
    """Tags the pieces of each record by the entities of its row.

    In every stage it writes `unit_offsets` and `unit_mask`. Where the truth is known it adds
    `labels`, the tags as words (only where they are wanted, or there is no `vocab`), and with
    `vocab` their ids, `label_ids`. Special tokens and pieces of white space carry the word `ignore`
    (id -100), and so do the units of an entity that tags do not say: one that the record's edge
    cuts, that `strict` refuses, or whose type was never seen in training.

    Every entity is tagged in at least one record or counted by its reason. An entity that is tagged
    with more or fewer characters than its own is counted as snapped.
    """

    def __init__(self, config: SeqLabRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.scheme: str = config.scheme
        self.vocab: str | None = config.vocab
        self.learns = config.vocab is not None
        self.makes = (config.vocab,) if config.vocab is not None else ()
        self.ignore: str = config.ignore
        self.strict: bool = config.strict
        self.drop: str = config.drop
        self.priority: tuple[str, ...] = tuple(config.entity_priority)
        self.trigger: int = config.priority_trigger
        self.cleans: bool = config.clean_droped_entity
        self.sequence: int | None = config.sequence
        self.sentence = self.input_map["sentence"]
        self.offsets = self.input_map["offsets"]
        self.entities = self.input_map["entities_info"]
        self.sequence_ids = self.input_map["sequence_ids"]
        self.learns_from = (self.sentence, self.entities)

    # Learning ------------------------------------------------------------------------------------

    def screen(self, columns: Columns, ctx: TransformContext) -> None:
        """Report rows whose entities cannot be read."""
        pairs = zip(columns[self.sentence], columns[self.entities], strict=True)
        for position, (text, value) in enumerate(pairs):
            if isinstance(text, str):  # else the tokenizer tells it
                try:
                    read_entities(value, len(text))
                except EntityError as error:
                    ctx.bad_row(position, self.entities, value, str(error))

    def tally(self, columns: Columns, counts: Counter[str]) -> None:
        """Count the types of entities."""
        for text, value in zip(columns[self.sentence], columns[self.entities], strict=True):
            if isinstance(text, str):
                counts.update(first_labels(value))

    def conclude(self, counts: Counter[str], meta: Meta) -> None:
        """Make the vocabulary of all tags of the types.

        A tag counts as often as there are entities of its type, ``O`` as often as all.
        """
        assert self.vocab is not None
        tags = tag_set(counts, self.scheme)
        seen = [counts[tag.partition("-")[2]] if tag != OUTSIDE else counts.total() for tag in tags]
        plain = {**Vocabulary(ignore=self.ignore).to_dict(), "words": tags, "counts": seen}
        meta.put_vocabulary(self.vocab, Vocabulary.from_dict(plain))

    # Tagging -------------------------------------------------------------------------------------

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the units of each record and, where the truth is known, their tags."""
        records = groupby(enumerate(columns["_row"]), key=itemgetter(1))
        rows = [[position for position, _ in row] for _, row in records]
        texts = checked_texts(columns[self.sentence], self.sentence, ctx)
        units = self._units(rows, texts, columns, ctx)
        made: Columns = {self.output_map[key]: units[key] for key in self.unit_keys}
        if self.entities in columns:
            places = UnitColumns.of_offsets(units["unit_offsets"])
            made.update(self._truth(rows, texts, places, columns, ctx))
        return made

    # Units ---------------------------------------------------------------------------------------

    unit_keys: tuple[str, ...] = ("unit_offsets", "unit_mask")

    def units(self, text: str, windows: Sequence[Pieces]) -> list[Units]:
        """Return the units of the records of a row.

        Raises:
            TypeError: a record holds no such pieces.
            ValueError: its lists differ in length.
        """
        return [
            {"unit_offsets": units, "unit_mask": mask_of(units)}
            for units in piece_units_of_windows(text, windows, sequence=self.sequence)
        ]

    def columns_of(self, texts: Sequence[str], columns: Columns) -> dict[str, Ragged]:
        """Return the units of records that are alone in their rows; raises as `units`."""
        units = piece_columns(texts, columns[self.offsets])
        return {"unit_offsets": units.offsets(), "unit_mask": units.mask()}

    def pieces(self, position: int, columns: Columns) -> Pieces:
        """Return the pieces of a record."""
        texts = None if self.sequence is None else columns[self.sequence_ids][position]
        return Pieces(columns[self.offsets][position], (), texts)

    def _units(
        self,
        rows: Sequence[Sequence[int]],
        texts: Sequence[str],
        columns: Columns,
        ctx: TransformContext,
    ) -> dict[str, Ragged]:
        """Return the units of all records, by `unit_keys`: at once where they are alone."""
        alone = [row[0] for row in rows if len(row) == 1 and self.sequence is None]
        others = [row for row in rows if len(row) > 1 or self.sequence is not None]
        given = columns
        if others:
            columns = {name: list(values) for name, values in columns.items()}
            given = {name: [values[at] for at in alone] for name, values in columns.items()}
        try:
            made = self.columns_of([texts[at] for at in alone], given)
        except (TypeError, ValueError):  # of one of them: find it
            alone, others = [], list(rows)
            made = self.columns_of([], {name: [] for name in columns})
        if not others:
            return made
        listed = [each for row in others for each in self._of_row(row, texts, columns, ctx)]
        order = np.argsort([*alone, *chain.from_iterable(others)])
        return {
            key: Ragged.joined(
                [column, Ragged.from_lists([each[key] for each in listed], np.int64, column.depth)]
            ).take(order)
            for key, column in made.items()
        }

    def _of_row(
        self, row: Sequence[int], texts: Sequence[str], columns: Columns, ctx: TransformContext
    ) -> list[Units]:
        """Return the units of the records of a row; none of a bad one."""
        try:
            windows = [self.pieces(position, columns) for position in row]
            return self.units(texts[row[0]], windows)
        except (TypeError, ValueError) as error:
            value = columns[self.offsets][row[0]]
            reason = f"expected (start, end) of each piece, and as much of the rest: {error}"
            ctx.bad_row(row[0], self.offsets, value, reason)
            return [{key: [] for key in self.unit_keys} for _ in row]

    # Tags ----------------------------------------------------------------------------------------

    def _truth(
        self,
        rows: Sequence[Sequence[int]],
        texts: Sequence[str],
        units: UnitColumns,
        columns: Columns,
        ctx: TransformContext,
    ) -> Columns:
        """Return the columns of the truth."""
        known = None if self.vocab is None else self.setup.meta.vocabulary(self.vocab)
        tags = np.where(units.carries, OUTSIDE_NUMBER, IGNORED_NUMBER)
        numbers = _Numbers(self.scheme, {OUTSIDE: OUTSIDE_NUMBER, self.ignore: IGNORED_NUMBER})
        entities = [self._entities(row[0], texts, columns, ctx) for row in rows]
        spans = [(row[0], each) for row, mine in zip(rows, entities, strict=True) for each in mine]
        runs = units.runs(
            [record for record, _ in spans],
            [entity.start for _, entity in spans],
            [entity.end for _, entity in spans],
        )
        cleaned: list[list[Any]] = []
        done = 0
        for row, mine in zip(rows, entities, strict=True):
            own = range(done, done + len(mine))
            done += len(mine)
            stay = mine
            if len(row) == 1 and all(runs.exact[each] for each in own) and self._fit(mine, known):
                ctx.count("entities", len(mine))
                for each, entity in zip(own, mine, strict=True):
                    places = runs.kept[runs.first[each] : runs.end[each]]
                    tags[places] = numbers.of_span(entity.label, len(places))
            elif mine:
                value = columns[self.entities][row[0]]
                aligners = [Aligner(texts[row[0]], units.of(record)) for record in row]
                labels, stay = self._labels(row[0], aligners, mine, value, known, ctx)
                for record, aligner, words in zip(row, aligners, labels, strict=True):
                    places = units.edges[record] + np.array(aligner.kept, dtype=np.int64)
                    tags[places] = [numbers[word] for word in words]
            if self.cleans:
                value = columns[self.entities][row[0]]
                kept = [value[place] for place in sorted(entity.place for entity in stay)]
                cleaned += [kept for _ in row]
        made: Columns = {}
        if known is None or ctx.wants(self.output_map["labels"]):
            texts_of_tags = np.array(list(numbers), dtype=np.object_)
            made[self.output_map["labels"]] = units.column(texts_of_tags[tags]).tolist()
        if known is not None:
            ids = np.array([known.id(tag) for tag in numbers])
            made[self.output_map["label_ids"]] = units.column(ids[tags])
        if self.cleans:
            made[self.output_map["entities_info"]] = cleaned
        return made

    def _entities(
        self, position: int, texts: Sequence[str], columns: Columns, ctx: TransformContext
    ) -> list[Entity]:
        """Return the entities of a row; none of a bad one."""
        value = columns[self.entities][position]
        try:
            return read_entities(value, len(texts[position]))
        except EntityError as error:
            ctx.bad_row(position, self.entities, value, str(error))
            return []

    def _fit(self, entities: Sequence[Entity], known: Vocabulary | None) -> bool:
        """Return whether tags say the entities as they are, if units hold them exactly."""
        end = 0
        for entity in sorted(entities, key=lambda each: each.start):
            if entity.start < end or len(entity.labels) > 1:
                return False
            if known is not None and f"I-{entity.label}" not in known:
                return False
            end = entity.end
        return self.scheme != "IO" or len(entities) < 2  # in IO neighbours may be joined

    def _labels(
        self,
        position: int,
        aligners: Sequence[Aligner],
        entities: Sequence[Entity],
        value: Any,
        known: Vocabulary | None,
        ctx: TransformContext,
    ) -> tuple[list[list[str]], list[Entity]]:
        """Return the tags of the records of one row, and the entities that they say.

        Those of the units that can carry one.
        """
        ctx.count("entities", len(entities))
        found, ignored = self._place(entities, aligners, known, ctx)
        if self.drop == "none":
            self._refuse_overlaps(position, value, found, ctx)
        stay, dropped = without_overlaps(
            found,
            span=lambda each: (each.start, each.end),
            size=lambda each: each.entity.end - each.entity.start,
            label=lambda each: each.entity.label,
            drop=self.drop,
            priority=self.priority,
            trigger=self.trigger,
        )
        ctx.count("entities overlapping another", len(dropped))
        for each in stay:
            if max(run.fit for run in each.runs.values()) is Fit.SNAPPED:
                ctx.count("entities snapped to whole units")
        if self.scheme == "IO":
            ctx.count("entities joined with a neighbour of their type", _num_joined(stay))
        labels = self._tags(stay, ignored, [len(aligner.kept) for aligner in aligners])
        return labels, [each.entity for each in stay]

    def _place(
        self,
        entities: Sequence[Entity],
        aligners: Sequence[Aligner],
        vocabulary: Vocabulary | None,
        ctx: TransformContext,
    ) -> tuple[list[_Candidate], list[dict[int, Placed]]]:
        """Return the entities that units can say, and the runs of those that they cannot."""
        found: list[_Candidate] = []
        ignored: list[dict[int, Placed]] = []
        windows = Windows(aligners)
        twice: set[tuple[int, int, str]] = set()
        for entity in entities:
            if len(entity.labels) > 1:
                ctx.count("entities with several labels, tagged by the first")
            key = entity.start, entity.end, entity.label
            if key in twice:
                ctx.count("entities given twice")
                continue
            twice.add(key)
            runs, best, is_cut = windows.place(entity.start, entity.end, strict=self.strict)
            if vocabulary is not None and f"I-{entity.label}" not in vocabulary:
                ctx.count("entities of unknown type")
            elif best >= Fit.SNAPPED:
                start, end = _held(aligners, runs)
                found.append(_Candidate(entity, runs, start, end))
                continue
            elif is_cut:
                edge = "truncation" if len(aligners) == 1 else "the edges of windows"
                ctx.count(f"entities cut by {edge}")
            elif best is Fit.PARTIAL:
                ctx.count("entities that are no whole units")
            else:
                ctx.count("entities without any unit")
            ignored.append(runs)
        return found, ignored

    def _refuse_overlaps(
        self, position: int, value: Any, found: Sequence[_Candidate], ctx: TransformContext
    ) -> None:
        ordered = sorted(found, key=lambda each: (each.start, each.end))
        for one, two in pairwise(ordered):
            if two.start < one.end:
                reason = (
                    f"entities {one.entity.place} and {two.entity.place} overlap, and one unit "
                    'carries one tag: say which goes by "drop" ("shorter" or "longer")'
                )
                ctx.bad_row(position, self.entities, value, reason)

    def _tags(
        self,
        stay: Sequence[_Candidate],
        ignored: Sequence[Mapping[int, Placed]],
        sizes: Sequence[int],
    ) -> list[list[str]]:
        """Return the tags of the units of each record of a row, `sizes` of them."""
        spans: list[list[TagSpan]] = [[] for _ in sizes]
        loose: list[list[Placed]] = [[] for _ in sizes]
        for each in stay:
            for number, run in each.runs.items():
                if run.kept:
                    spans[number].append(TagSpan(run.start, run.end, each.entity.label))
                else:  # it is whole in another record
                    loose[number].append(run)
        for runs in ignored:
            for number, run in runs.items():
                loose[number].append(run)
        found = [encode(mine, size, self.scheme) for mine, size in zip(spans, sizes, strict=True)]
        for tags, mine in zip(found, loose, strict=True):
            for run in mine:
                for place in range(run.start, run.end):
                    if tags[place] == OUTSIDE:
                        tags[place] = self.ignore
        return found


OUTSIDE_NUMBER = 0
IGNORED_NUMBER = 1


class _Numbers(dict[str, int]):
    """Numbers of tags while a chunk is tagged, given as they come."""

    def __init__(self, scheme: str, given: Mapping[str, int]) -> None:
        super().__init__(given)
        self.scheme = scheme
        self._spans: dict[tuple[str, int], list[int]] = {}

    def __missing__(self, tag: str) -> int:
        self[tag] = number = len(self)
        return number

    def of_span(self, label: str, size: int) -> list[int]:
        """Return the numbers of the tags of a span of so many units."""
        found = self._spans.get((label, size))
        if found is None:
            tags = encode([TagSpan(0, size, label)], size, self.scheme)
            found = self._spans[label, size] = [self[tag] for tag in tags]
        return found


def mask_of(units: Sequence[Sequence[int]]) -> list[int]:
    """Return 1 for each unit that can carry a tag, 0 for those that are empty."""
    return [1 if start < end else 0 for start, end in units]


def _held(aligners: Sequence[Aligner], runs: Mapping[int, Placed]) -> tuple[int, int]:
    """Return the characters from the first to the last that any of the runs holds."""
    held = [
        aligners[number].characters(run.start, run.end) for number, run in runs.items() if run.kept
    ]
    return min(start for start, _ in held), max(end for _, end in held)


def _num_joined(stay: Sequence[_Candidate]) -> int:
    """Return how many entities touch the one before, of their type, in some record."""
    joined = 0
    for one, two in pairwise(stay):
        if one.entity.label == two.entity.label:
            pairs = ((run, two.runs.get(number)) for number, run in one.runs.items())
            joined += any(a.kept and b and b.kept and a.end == b.start for a, b in pairs)
    return joined
