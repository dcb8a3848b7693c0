"""The units of many records at once, as arrays: the laws of `dlk.nlp.align`, without loops.

For records that are alone in their row, as nearly all are, and texts that are no pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlk.data.ragged import Ragged
from dlk.nlp.align import Offsets, Unit, is_mark, piece_units

__all__ = ["Runs", "Units", "Words", "flat_offsets", "piece_columns", "word_columns"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])
"""For each character up to the last white space there is, and one beyond, whether it is some."""


class Units(NamedTuple):
    """Units of R records, one record after the other.

    Attributes:
        starts: (N,) int64, first character of each unit in the text of its record.
        ends: (N,) int64, after its last one; a unit that carries nothing ends where it starts.
        edges: (R + 1,) int64, where the units of each record begin.
    """

    starts: Ints
    ends: Ints
    edges: Ints

    @property
    def carries(self) -> Bools:
        """Which units carry something, (N,)."""
        return self.starts < self.ends

    @classmethod
    def of_offsets(cls, offsets: Ragged) -> Units:
        """Return the units that `offsets` gave."""
        return cls(offsets.values[0::2], offsets.values[1::2], offsets.offsets[0])

    def column(self, values: NDArray[Any]) -> Ragged:
        """Return one value of each unit, by record."""
        return Ragged(values, (self.edges,))

    def mask(self) -> Ragged:
        """Return 1 for each unit that carries something and 0 for the others, by record."""
        return self.column(self.carries.astype(np.int64))

    def offsets(self) -> Ragged:
        """Return start and end of each unit, by record."""
        pairs = np.stack([self.starts, self.ends], axis=1).reshape(-1)
        return Ragged(pairs, (self.edges, np.arange(0, len(pairs) + 1, 2)))

    def of(self, record: int) -> list[Unit]:
        """Return the units of one record, as `dlk.nlp.align` has them."""
        mine = slice(self.edges[record], self.edges[record + 1])
        return list(zip(self.starts[mine].tolist(), self.ends[mine].tolist(), strict=True))

    def runs(self, records: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> Runs:
        """Return the units that hold exactly the characters of each span.

        Args:
            records: numbers of the spans' records.
            starts: first character of each span in the text of its record.
            ends: after its last one.
        """
        kept = np.flatnonzero(self.carries)
        if not len(kept):
            return Runs(kept, [0] * len(records), [0] * len(records), [False] * len(records))
        # records one after the other, so that all bounds of units rise
        numbers = np.repeat(np.arange(len(self.edges) - 1), np.diff(self.edges))[kept]
        room = max(int(self.ends.max()), max(ends, default=0)) + 1
        low, high = numbers * room + self.starts[kept], numbers * room + self.ends[kept]
        falls = (low[1:] < low[:-1]) | (high[1:] < high[:-1])  # as normalisers reorder marks
        shift = np.array(records, dtype=np.int64) * room
        start, end = shift + np.array(starts, np.int64), shift + np.array(ends, np.int64)
        first = np.minimum(np.searchsorted(high, start, side="right"), len(kept) - 1)
        last = np.searchsorted(low, end) - 1
        exact = (first <= last) & (low[first] == start) & (high[last] == end)
        exact &= ~np.isin(records, numbers[1:][falls])
        return Runs(kept, first.tolist(), (last + 1).tolist(), exact.tolist())


class Runs(NamedTuple):
    """Where n spans lie among the units that carry something.

    Attributes:
        kept: (M,) int64, places of these units among all of them.
        first: place in `kept` of each span's first unit.
        end: that after its last one.
        exact: whether these units hold the characters of the span and no others, as
            `align.Fit.EXACT`; where they do not, the places say nothing.
    """

    kept: Ints
    first: list[int]
    end: list[int]
    exact: list[bool]


class Words(NamedTuple):
    """Words of R records.

    Attributes:
        units: the words; a record without any has an empty one.
        gather_index: (N,) int64, position of each word's first piece in its record; -1 for none.
        word_index: (pieces,) int64, for each piece the number of its word in its record; -1: none.
    """

    units: Units
    gather_index: Ints
    word_index: Ints


def piece_columns(texts: Sequence[str], offsets: Sequence[Offsets]) -> Units:
    """Return the pieces of records as units, as `align.piece_units` does for each.

    Args:
        texts: of each record, its text.
        offsets: of each record, those of its pieces.

    Raises:
        TypeError: a record holds no such offsets.
        ValueError: a piece has not two of them.
    """
    starts, ends, edges = flat_offsets(offsets)
    record = np.repeat(np.arange(len(offsets)), np.diff(edges))
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    first, size = _edges(texts)[:-1][record], np.fromiter(map(len, texts), np.int64)[record]
    starts, ends = np.clip(starts, 0, size), np.minimum(ends, size)
    held = starts < ends
    low, high = _trimmed(codes, (first + starts)[held], (first + ends)[held])
    starts[held], ends[held] = low - first[held], high - first[held]
    ends[~held] = starts[~held]
    units = Units(starts, ends, edges)
    before_text = (starts < ends) & (ends < size)
    _take_marks(units, texts, offsets, record[before_text], codes[(first + ends)[before_text]])
    return units


def flat_offsets(offsets: Sequence[Offsets]) -> tuple[Ints, Ints, Ints]:
    """Return starts and ends of the pieces of all records, and where each record begins.

    Raises:
        TypeError: a record holds no such offsets.
        ValueError: a piece has not two of them.
    """
    if (
        isinstance(offsets, Ragged)
        and offsets.depth == 2
        and (np.diff(offsets.offsets[1]) == 2).all()
    ):
        return offsets.values[0::2], offsets.values[1::2], offsets.offsets[0]
    flat = list(chain.from_iterable(offsets))
    starts = _whole_numbers([start for start, _ in flat])
    return starts, _whole_numbers([end for _, end in flat]), _edges(offsets)


def _edges(rows: Sequence[Sequence[object]]) -> Ints:
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))


def _whole_numbers(values: list[int]) -> Ints:
    made = np.array(values) if values else np.zeros(0, dtype=np.int64)
    if made.dtype != np.int64:
        raise TypeError("whole numbers are needed")
    return made


def _trimmed(codes: NDArray[np.uint32], starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return spans of characters without the white space at their ends, as `align.trim`."""
    is_space = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    places = np.arange(len(codes))
    after = np.minimum.accumulate(np.where(is_space, len(codes), places)[::-1])[::-1]
    before = np.maximum.accumulate(np.where(is_space, -1, places))
    low = np.minimum(after[starts], ends)
    return low, np.maximum(before[ends - 1] + 1, low)


def _take_marks(
    units: Units,
    texts: Sequence[str],
    offsets: Sequence[Offsets],
    record: Ints,
    codes: NDArray[np.uint32],
) -> None:
    """Make the units of records anew in which a combining mark stands behind a unit.

    Args:
        units: where they are changed.
        texts: as for `piece_columns`.
        offsets: as for `piece_columns`.
        record: the records of some units.
        codes: the characters behind these.
    """
    marks = [code for code in np.unique(codes[codes > 127]).tolist() if is_mark(chr(code))]
    for number in np.unique(record[np.isin(codes, marks)]).tolist() if marks else ():
        mine = slice(units.edges[number], units.edges[number + 1])
        made = np.array(piece_units(texts[number], offsets[number]))
        units.starts[mine], units.ends[mine] = made[:, 0], made[:, 1]


def word_columns(pieces: Units, word_ids: Sequence[Sequence[int | None]]) -> Words:
    """Return the words of records, as `align.word_units` does for each.

    Args:
        pieces: the pieces of the records as units.
        word_ids: of each record, the numbers of its pieces' words; None for special tokens.

    Raises:
        TypeError: a record holds no such numbers.
        ValueError: it has fewer or more numbers than pieces.
    """
    if not np.array_equal(_edges(word_ids), pieces.edges):
        raise ValueError("each piece needs a word_id")
    size, num_records = len(pieces.starts), len(word_ids)
    if not size:
        nothing = np.zeros(num_records, dtype=np.int64)
        units = Units(nothing, nothing.copy(), np.arange(num_records + 1))
        return Words(units, nothing - 1, pieces.starts)
    ids = np.array(list(chain.from_iterable(word_ids)), dtype=np.float64)  # None is NaN
    begins = np.ones(size, dtype=np.bool_)  # a word, perhaps an empty one
    begins[1:] = ids[1:] != ids[:-1]  # true beside NaN
    begins[pieces.edges[:-1][np.diff(pieces.edges) > 0]] = True
    first = np.flatnonzero(begins)
    low = np.minimum.reduceat(np.where(pieces.carries, pieces.starts, _FAR), first)
    high = np.maximum.reduceat(np.where(pieces.carries, pieces.ends, -1), first)
    kept = high >= 0
    total = np.concatenate(([0], np.cumsum(kept)))  # words before each, empty ones left out
    # of the word that each record begins with; the last one stands for the end
    before = total[np.searchsorted(first, pieces.edges)]
    word = np.cumsum(begins) - 1  # of each piece
    record = np.repeat(np.arange(num_records), np.diff(pieces.edges))
    word_index = np.where(kept[word], total[word] - before[record], -1)
    gather_index = first[kept] - pieces.edges[record[first[kept]]]
    bare = np.flatnonzero(np.diff(before) == 0)  # records without a word
    edges = before + np.concatenate(([0], np.cumsum(np.diff(before) == 0)))
    starts, ends, gather_index = (
        np.insert(values, before[bare], none)
        for values, none in ((low[kept], 0), (high[kept], 0), (gather_index, -1))
    )
    return Words(Units(starts, ends, edges), gather_index, word_index)


_FAR = np.iinfo(np.int64).max
