"""Entities as spans of characters to a tag per piece.

Pieces are units by the laws of `dlk.nlp.align`; tags are those of `dlk.nlp.tags`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from dlk.data.subprocessor.base import Columns, CountingSubprocessor, TransformContext
from dlk.data.subprocessor.token2id import IdsOfTexts
from dlk.data.vocabulary import Vocabulary
from dlk.nlp.align import (
    Aligner,
    Fit,
    Pieces,
    Placed,
    Unit,
    piece_units_of_windows,
    place_in_windows,
)
from dlk.nlp.entities import Entity, EntityError, read_entities, without_overlaps
from dlk.nlp.subprocessor.configs import SeqLabRelabelConfig
from dlk.nlp.tags import OUTSIDE, TagSpan, encode, tag_set
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
        runs: its run of units in each record of its row.
        start: first character that these runs hold.
        end: after the last one.
    """

    entity: Entity
    runs: list[Placed]
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
                counts.update([entity.label for entity in read_entities(value, len(text))])

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
        made: Columns = {self.output_map[key]: [] for key in self.unit_keys}
        knows = self.entities in columns
        names = self._truth_columns(ctx) if knows else ()
        known = None
        if knows and self.vocab is not None:
            known = IdsOfTexts(self.setup.meta.vocabulary(self.vocab))
        made.update((name, []) for name in names)
        records = enumerate(columns["_row"])
        for _, row in groupby(records, key=itemgetter(1)):
            positions = [position for position, _ in row]
            units = self._checked_units(positions, columns, ctx)
            for each in units:
                for key, value in each.items():
                    made[self.output_map[key]].append(value)
            if not knows:
                continue
            offsets = [each["unit_offsets"] for each in units]
            truth = self._truth(positions[0], offsets, columns, known, ctx)
            for name in names:
                made[name] += truth[name]
        return made

    unit_keys: tuple[str, ...] = ("unit_offsets", "unit_mask")

    def units(self, positions: Sequence[int], columns: Columns) -> list[Units]:
        """Return the units of the records of a row.

        Raises:
            TypeError: a column holds no such lists.
            ValueError: lists differ in length.
        """
        windows = self.pieces(positions, columns)
        text = columns[self.sentence][positions[0]]
        return [
            {"unit_offsets": units, "unit_mask": mask_of(units)}
            for units in piece_units_of_windows(text, windows, sequence=self.sequence)
        ]

    def pieces(
        self, positions: Sequence[int], columns: Columns, *, word_ids: Sequence[Any] | None = None
    ) -> list[Pieces]:
        """Return the pieces of each record of a row."""
        offsets = columns[self.offsets]
        texts = None if self.sequence is None else columns[self.sequence_ids]
        return [
            Pieces(
                offsets[position],
                () if word_ids is None else word_ids[position],
                None if texts is None else texts[position],
            )
            for position in positions
        ]

    def _checked_units(
        self, positions: Sequence[int], columns: Columns, ctx: TransformContext
    ) -> list[Units]:
        first = positions[0]
        text = columns[self.sentence][first]
        nothing: list[Units] = [{key: [] for key in self.unit_keys} for _ in positions]
        if not isinstance(text, str):
            ctx.bad_row(first, self.sentence, text, "expected a text")
            return nothing
        try:
            return self.units(positions, columns)
        except (TypeError, ValueError) as error:
            value = columns[self.offsets][first]
            reason = f"expected (start, end) of each piece, and as much of the rest: {error}"
            ctx.bad_row(first, self.offsets, value, reason)
            return nothing

    def _truth_columns(self, ctx: TransformContext) -> tuple[str, ...]:
        keys = []
        if self.vocab is None or ctx.wants(self.output_map["labels"]):
            keys.append("labels")
        if self.vocab is not None:
            keys.append("label_ids")
        if self.cleans:
            keys.append("entities_info")
        return tuple(self.output_map[key] for key in keys)

    def _truth(
        self,
        position: int,
        offsets: list[list[Unit]],
        columns: Columns,
        known: IdsOfTexts | None,
        ctx: TransformContext,
    ) -> dict[str, list[Any]]:
        """Return the columns of the truth for the records of one row, of which `position` is one.

        All that could be wanted, by their names.
        """
        text, value = columns[self.sentence][position], columns[self.entities][position]
        entities: list[Entity] = []
        if isinstance(text, str):
            try:
                entities = read_entities(value, len(text))
            except EntityError as error:
                ctx.bad_row(position, self.entities, value, str(error))
        else:
            text = ""
            offsets = [[] for _ in offsets]
        if entities:
            labels, stay = self._labels(position, text, offsets, entities, value, known, ctx)
        else:  # as most rows
            stay = []
            labels = [
                [OUTSIDE if start < end else self.ignore for start, end in units]
                for units in offsets
            ]
        truth: dict[str, list[Any]] = {self.output_map["labels"]: labels}
        if known is not None:
            ids = [[known[tag] for tag in tags] for tags in labels]
            truth[self.output_map["label_ids"]] = ids
        if self.cleans:
            places = sorted(each.entity.place for each in stay)
            cleaned = [value[place] for place in places]
            truth[self.output_map["entities_info"]] = [cleaned for _ in offsets]
        return truth

    def _labels(
        self,
        position: int,
        text: str,
        offsets: list[list[Unit]],
        entities: list[Entity],
        value: Any,
        known: IdsOfTexts | None,
        ctx: TransformContext,
    ) -> tuple[list[list[str]], list[_Candidate]]:
        """Return the tags of the records of one row, and the entities that they say."""
        aligners = [Aligner(text, units) for units in offsets]
        ctx.count("entities", len(entities))
        vocabulary = None if known is None else known.vocabulary
        found, ignored = self._place(entities, aligners, vocabulary, ctx)
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
            if max(run.fit for run in each.runs) is Fit.SNAPPED:
                ctx.count("entities snapped to whole units")
        if self.scheme == "IO":
            ctx.count("entities joined with a neighbour of their type", _num_joined(stay))
        labels = [
            self._tags(aligner, number, stay, ignored, size=len(units))
            for number, (aligner, units) in enumerate(zip(aligners, offsets, strict=True))
        ]
        return labels, stay

    def _place(
        self,
        entities: Sequence[Entity],
        aligners: Sequence[Aligner],
        vocabulary: Vocabulary | None,
        ctx: TransformContext,
    ) -> tuple[list[_Candidate], list[list[Placed]]]:
        """Return the entities that units can say, and the runs of those that they cannot."""
        found: list[_Candidate] = []
        ignored: list[list[Placed]] = []
        twice: set[tuple[int, int, str]] = set()
        for entity in entities:
            if len(entity.labels) > 1:
                ctx.count("entities with several labels, tagged by the first")
            key = entity.start, entity.end, entity.label
            if key in twice:
                ctx.count("entities given twice")
                continue
            twice.add(key)
            runs, best, is_cut = place_in_windows(
                aligners, entity.start, entity.end, strict=self.strict
            )
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
        aligner: Aligner,
        number: int,
        stay: Sequence[_Candidate],
        ignored: Sequence[list[Placed]],
        *,
        size: int,
    ) -> list[str]:
        """Return the tags of a record, the row's `number`-th."""
        spans, loose = [], [runs[number] for runs in ignored]
        for each in stay:
            run = each.runs[number]
            if run.kept:
                spans.append(TagSpan(run.start, run.end, each.entity.label))
            else:  # it is whole in another record
                loose.append(run)
        tags = encode(spans, len(aligner.kept), self.scheme)
        for run in loose:
            for place in range(run.start, run.end):
                if tags[place] == OUTSIDE:
                    tags[place] = self.ignore
        labels = [self.ignore] * size
        for place, tag in zip(aligner.kept, tags, strict=True):
            labels[place] = tag
        return labels


def mask_of(units: Sequence[Sequence[int]]) -> list[int]:
    """Return 1 for each unit that can carry a tag, 0 for those that are empty."""
    return [1 if start < end else 0 for start, end in units]


def _held(aligners: Sequence[Aligner], runs: Sequence[Placed]) -> tuple[int, int]:
    """Return the characters from the first to the last that any of the runs holds."""
    if len(runs) == 1:
        return aligners[0].characters(runs[0].start, runs[0].end)
    held = [
        aligner.characters(run.start, run.end)
        for aligner, run in zip(aligners, runs, strict=True)
        if run.kept
    ]
    return min(start for start, _ in held), max(end for _, end in held)


def _num_joined(stay: Sequence[_Candidate]) -> int:
    """Return how many entities touch the one before, of their type, in some record."""
    joined = 0
    for one, two in pairwise(stay):
        if one.entity.label == two.entity.label:
            pairs = zip(one.runs, two.runs, strict=True)
            joined += any(a.kept and b.kept and a.end == b.start for a, b in pairs)
    return joined
