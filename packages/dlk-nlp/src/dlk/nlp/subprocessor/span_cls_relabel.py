"""Entities in characters to cells of a matrix over units: which unit starts, which ends one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import DataError
from dlk.nlp.align import (
    Aligner,
    Fit,
    Pieces,
    Unit,
    Windows,
    piece_units_of_windows,
    word_units_of_windows,
)
from dlk.nlp.entities import (
    Entity,
    EntityError,
    labels_of_null,
    read_entities,
    stands_nowhere,
    without_overlaps,
)
from dlk.nlp.subprocessor._text import checked_texts
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.subprocessor.configs import SpanClsRelabelConfig

__all__ = ["SpanClsRelabel", "label_vocabulary"]

LOST = [-1, -1]
"""Units of an entity that the record does not hold; one list for all, which nobody changes."""


Cell = tuple[int, int]
"""The units that an entity starts and ends at."""


@dataclass(slots=True)
class Record:
    """What is written of one record."""

    offsets: list[Unit]
    mask: list[int]
    gather_index: list[int] = field(default_factory=list)
    word_index: list[int] = field(default_factory=list)
    cells: list[list[int]] = field(default_factory=list)
    units: list[list[int]] = field(default_factory=list)


@register("subprocessor", "span_cls_relabel")
class SpanClsRelabel(Subprocessor):
    """Writes each record's units and, where the truth is given, a cell for each entity.

    A cell ``[i, j, id]`` says that an entity goes from unit i to unit j, which is part of it. What
    cannot be said so is counted, and dropped from the cells only: an entity that the text's cut
    leaves incomplete, one that touches no unit (`strict`: no whole units), a second type on one
    cell, the same type given twice, a type that the vocabulary lacks. Each is counted once, an
    entity with several labels as so many, and a null answer (`null_to_zero_index`) as an entity on
    the first piece; "entities" less these is what cells say. Where such an
    entity has a cell, losses ignore it (`mask_fill`). `entity_units` holds ``[i, j]`` of each
    annotated entity, in their order, ``[-1, -1]`` where the record does not hold it.

    A text in windows is labelled window by window; an entity counts as lost where no window holds
    it whole.
    """

    def __init__(self, config: SpanClsRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.vocab: str = config.vocab
        self.is_word = config.level == "word"
        self.drop: str = config.drop
        self.priority: tuple[str, ...] = tuple(config.entity_priority)
        self.trigger: int = config.priority_trigger
        self.fill: int = config.mask_fill
        self.second_only: bool = config.mask_first_sent
        self.null_to_zero: bool = config.null_to_zero_index
        self.strict: bool = config.strict
        self.truth = self.input_map["entities_info"]

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the units of each record, and its cells where the truth is among the columns."""
        column = self.input_map["sentence"]
        texts = checked_texts(columns[column], column, ctx)
        with_truth = self.truth in columns
        vocabulary = label_vocabulary(self.setup, self.vocab) if with_truth else Vocabulary()
        records: list[Record] = []
        for _, row in groupby(enumerate(columns["_row"]), key=itemgetter(1)):
            positions = [position for position, _ in row]
            mine = self._units(columns, positions, texts[positions[0]], ctx)
            if with_truth:
                self._label(mine, texts[positions[0]], positions[0], columns, vocabulary, ctx)
            records += mine
        written: Columns = {
            "unit_offsets": [record.offsets for record in records],
            "unit_mask": [record.mask for record in records],
        }
        if self.is_word:
            written["gather_index"] = [record.gather_index for record in records]
            written["word_index"] = [record.word_index for record in records]
        if with_truth:
            written["span_cells"] = [record.cells for record in records]
            written["entity_units"] = [record.units for record in records]
        return {self.output_map[key]: values for key, values in written.items()}

    # Units ---------------------------------------------------------------------------------------

    def _units(
        self, columns: Columns, positions: Sequence[int], text: str, ctx: TransformContext
    ) -> list[Record]:
        """Return the units of the records of a row."""
        offsets = columns[self.input_map["offsets"]]
        word_ids = columns[self.input_map["word_ids"]] if self.is_word else None
        sequences = columns[self.input_map["sequence_ids"]] if self.second_only else None
        second = 1 if self.second_only else None
        windows = [
            Pieces(
                offsets[position],
                () if word_ids is None else word_ids[position],
                None if sequences is None else sequences[position],
            )
            for position in positions
        ]
        try:
            if self.is_word:
                return [
                    Record(
                        each.offsets, [1] * len(each.offsets), each.gather_index, each.word_index
                    )
                    for each in word_units_of_windows(text, windows, sequence=second)
                ]
            records = [
                Record(units, [1 if start < end else 0 for start, end in units])
                for units in piece_units_of_windows(text, windows, sequence=second)
            ]
        except (TypeError, ValueError) as error:
            reason = f"expected (start, end) of each piece, and as much of the rest: {error}"
            first = positions[0]
            ctx.bad_row(first, self.input_map["offsets"], offsets[first], reason)
            return [Record([], []) for _ in positions]
        for record in records:
            if self.null_to_zero and record.mask:
                record.mask[0] = 1
        return records

    # Entities ------------------------------------------------------------------------------------

    def _label(
        self,
        records: Sequence[Record],
        text: str,
        position: int,
        columns: Columns,
        vocabulary: Vocabulary,
        ctx: TransformContext,
    ) -> None:
        """Write the cells of one row's records, and count what they cannot say."""
        value = columns[self.truth][position]
        try:
            entities, size, nulls = self._read(value, len(text))
        except EntityError as error:
            ctx.bad_row(position, self.truth, value, str(error))
            return
        for record in records:
            record.units = [LOST] * size
        ctx.count("entities", _number([*(entity.labels for entity in entities), *nulls]))
        windows = Windows([Aligner(text, record.offsets) for record in records])
        found: list[dict[Cell, int]] = [{} for _ in records]
        ignored: list[set[Cell]] = [set() for _ in records]
        first_pieces = {number: (0, 0) for number, record in enumerate(records) if record.mask}
        if not first_pieces:
            ctx.count("entities without any unit", _number(nulls))
            nulls = []
        for labels in nulls:
            for label in dict.fromkeys(labels):
                self._put(label, first_pieces, found, ignored, vocabulary, ctx)
        for entity in self._without_overlaps(entities, ctx):
            cells = self._placed(entity, windows, ignored, ctx)
            for number, cell in cells.items():
                records[number].units[entity.place] = list(cell)
            if cells:
                for label in dict.fromkeys(entity.labels):
                    self._put(label, cells, found, ignored, vocabulary, ctx)
        for record, known, skip in zip(records, found, ignored, strict=True):
            cells_of = dict.fromkeys(skip, self.fill) | known
            record.cells = [[i, j, number] for (i, j), number in sorted(cells_of.items())]

    def _put(
        self,
        label: str,
        cells: Mapping[int, Cell],
        found: Sequence[dict[Cell, int]],
        ignored: Sequence[set[Cell]],
        vocabulary: Vocabulary,
        ctx: TransformContext,
    ) -> None:
        """Write one label of an entity into its cell of each record, or count why not.

        It is said where each of its cells says it, and not said twice.
        """
        number = vocabulary.id(label)
        is_new = is_refused = False
        for record, cell in cells.items():
            known = found[record]
            if number == 0:
                ignored[record].add(cell)
            elif cell not in known:
                known[cell] = number
                is_new = True
            else:
                is_refused |= known[cell] != number
        if number == 0:
            ctx.count("entities of unknown type")
        elif is_refused:
            ctx.count("entities of a second type on the same units")
        elif not is_new:
            ctx.count("entities given twice")

    def _read(self, value: Any, size: int) -> tuple[list[Entity], int, list[tuple[str, ...]]]:
        """Return a row's entities, how many its list has, and the labels of those that are null.

        Entities of one length on the same units go by `entity_priority`, so they come first.

        Raises:
            EntityError: the value is no list of entities of this text.
        """
        given = value.tolist() if hasattr(value, "tolist") else value
        entities = read_entities(given, size, with_nulls=self.null_to_zero)
        nulls = [
            labels_of_null(item, place)
            for place, item in enumerate(given)
            if self.null_to_zero and stands_nowhere(item)
        ]
        ranks = {label: rank for rank, label in enumerate(self.priority)}
        entities.sort(key=lambda entity: ranks.get(entity.label, len(ranks)))
        return entities, len(given), nulls

    def _without_overlaps(self, entities: list[Entity], ctx: TransformContext) -> list[Entity]:
        if self.drop == "none":
            return entities
        stay, dropped = without_overlaps(
            entities,
            span=lambda entity: (entity.start, entity.end),
            size=lambda entity: entity.end - entity.start,
            label=lambda entity: entity.label,
            drop=self.drop,
            priority=self.priority,
            trigger=self.trigger,
        )
        ctx.count("entities overlapping another", _number(entity.labels for entity in dropped))
        return stay

    def _placed(
        self,
        entity: Entity,
        windows: Windows,
        ignored: Sequence[set[Cell]],
        ctx: TransformContext,
    ) -> dict[int, Cell]:
        """Return the cell of an entity in each record that says it.

        The part that a cut leaves is ignored.
        """
        runs, best, is_cut = windows.place(
            entity.start, entity.end, strict=self.strict, closed=True
        )
        number = _number([entity.labels])
        if best is Fit.SNAPPED:
            ctx.count("entities snapped to whole units", number)
        elif is_cut:
            edge = "truncation" if len(windows.aligners) == 1 else "the edges of windows"
            ctx.count(f"entities cut by {edge}", number)
        elif best is Fit.PARTIAL:
            ctx.count("entities that are no whole units", number)
        elif best is Fit.NOWHERE:
            ctx.count("entities without any unit", number)
        cells: dict[int, Cell] = {}
        for record, run in runs.items():
            kept = windows.aligners[record].kept
            cell = kept[run.start], kept[run.end - 1]
            if run.kept:
                cells[record] = cell
            else:
                ignored[record].add(cell)
        return cells


def _number(labels: Iterable[Sequence[str]]) -> int:
    """Return how many entities have these labels: one with several is as many."""
    return sum(len(set(mine)) for mine in labels)


def label_vocabulary(setup: Setup, file: str) -> Vocabulary:
    """Return a vocabulary of labels in which id 0 says "nothing is here".

    Raises:
        DataError: its first word is no unknown word, or it has one for padding.
    """
    vocabulary = setup.meta.vocabulary(file)
    if vocabulary.unk_id != 0 or vocabulary.pad_id is not None:
        raise DataError(
            f"{file}: id 0 must say that there is no entity or relation: gather the labels with "
            f'"pad": null and "unk": "O", got pad {vocabulary.pad!r} and unk {vocabulary.unk!r}'
        )
    return vocabulary
