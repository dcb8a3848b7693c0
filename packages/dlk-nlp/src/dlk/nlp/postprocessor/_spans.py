"""Spans of units and the characters they stand for: what the span postprocessors share.

Outputs hold a record's cells, ``[i][j]`` being the span from unit i to unit j inclusive. A row may
be several records, windows of one text: offsets are of the whole text, so a span seen in two
windows is one span. The window that sees most around it decides on it alone (see `judges`).

Source: Devlin et al.'s code for SQuAD (2018), where the answer of a text in windows is taken from
the window that has the "max context"; as there, the smaller of the two sides counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlk.errors import DataError, DlkError
from dlk.nlp.align import merge_windows
from dlk.postprocessor.base import Parts, Row

Ints = NDArray[np.int64]
ENOUGH = np.iinfo(np.int64).max
"""Context where the text itself ends: there is no more."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


class Held(NamedTuple):
    """The spans that a record holds whole, (m,) each: their numbers, which rise, and their ends."""

    number: Ints
    first: Ints
    last: Ints


class Units(NamedTuple):
    """The units of a batch of records, and which spans of them are spans of characters.

    Several units may hold one character (the bytes of an emoji), and a span takes all units that
    touch it (see `dlk.nlp.align`). So a span of characters is one cell and no more: from a unit
    that `opens` to one that `closes`. Units out of order, as normalisers put some marks, open and
    close together only.

    Attributes:
        starts: (B, L) int64, the first character of each unit and those after it.
        ends: (B, L) int64, behind the last of each unit and those before it.
        opens: (B, L) bool, the unit carries something, and none before it reaches into it.
        closes: (B, L) bool, the unit carries something, and none after it reaches into it.
        carries: (B, L) bool, the unit holds characters.
    """

    starts: Ints
    ends: Ints
    opens: Bools
    closes: Bools
    carries: Bools

    def count(self, records: Sequence[int]) -> int:
        """Return how many units of some records carry something."""
        return int(self.carries[list(records)].sum())


class Spans(NamedTuple):
    """Spans of one row in characters, sorted by place: start, end and label (n,) int64; score."""

    starts: Ints
    ends: Ints
    labels: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, chosen: Ints | Bools) -> Spans:
        """Return some of them."""
        return Spans(
            self.starts[chosen], self.ends[chosen], self.labels[chosen], self.scores[chosen]
        )


def units_of(rows: Sequence[Row], column: str, length: int) -> Units:
    """Return the units of records, padded to `length`.

    Raises:
        DlkError: the column is missing, or the outputs are too small for its units.
        DataError: the column does not hold ``[start, end]`` for each unit.
    """
    offsets = np.zeros((len(rows), length, 2), dtype=np.int64)
    for position, row in enumerate(rows):
        if column not in row:
            raise DlkError(
                f'spans need the column "{column}", which a step such as span_cls_relabel writes: '
                "run it in every stage"
            )
        mine = np.asarray(row[column], dtype=np.int64)
        if mine.size and (mine.ndim != 2 or mine.shape[1] != 2):
            raise DataError(
                f'row {row["_row"]}, column "{column}": expected [start, end] for each unit, '
                f"got an array {mine.shape}"
            )
        if len(mine) > length:
            raise DlkError(
                f"the outputs are for {length} units, and row {row['_row']} has {len(mine)} in "
                f"\"{column}\": are the model's units pieces, and the step's words?"
            )
        if mine.size:
            offsets[position, : len(mine)] = mine
    return _units(offsets[..., 0], offsets[..., 1])


def _units(starts: Ints, ends: Ints) -> Units:
    """Return the units of offsets (B, L)."""
    carries = starts < ends
    far = np.iinfo(np.int64).max
    ahead = np.where(carries, starts, far)[:, ::-1]
    ahead = np.minimum.accumulate(ahead, axis=1)[:, ::-1] if ahead.size else ahead
    reached = np.where(carries, ends, -1)
    reached = np.maximum.accumulate(reached, axis=1) if reached.size else reached
    opens, closes = carries.copy(), carries.copy()
    opens[:, 1:] &= reached[:, :-1] <= ahead[:, 1:]
    closes[:, :-1] &= ahead[:, 1:] >= reached[:, :-1]
    return Units(ahead, reached, opens, closes, carries)


def find_spans(logits: Tensor, units: Units, parts: Parts) -> list[Spans]:
    """Return the spans of each row: the cells whose best label is not 0, by place.

    Args:
        logits: (B, L, L, C).
        units: of the same B records.
        parts: which records are one row.
    """
    hits = (logits.argmax(-1) != 0) & _allowed(units)  # (B, L, L)
    record, first, last = (index.numpy() for index in hits.nonzero(as_tuple=True))
    edges = np.searchsorted(record, np.arange(len(logits) + 1))
    own = records_of(parts)
    found = []
    for records in own:
        mine = [slice(edges[number], edges[number + 1]) for number in records]
        hit = [(first[each], last[each]) for each in mine]
        starts = np.concatenate(
            [units.starts[r][i] for r, (i, _) in zip(records, hit, strict=True)]
        )
        ends = np.concatenate([units.ends[r][j] for r, (_, j) in zip(records, hit, strict=True)])
        if len(records) == 1:
            index = (torch.tensor(records[0]), *map(torch.from_numpy, hit[0]))
            probabilities = logits[index].float().softmax(-1)  # (n, C)
        else:
            starts, ends = _unique(*_uncut(units, records, starts, ends))
            held = [locate(units, record, starts, ends) for record in records]
            window = judges(units, records, held, count=len(starts))
            i, j = np.zeros_like(starts), np.zeros_like(ends)
            for number, one in enumerate(held):
                won = window[one.number] == number
                i[one.number[won]], j[one.number[won]] = one.first[won], one.last[won]
            index = (torch.tensor(records)[window], torch.from_numpy(i), torch.from_numpy(j))
            probabilities = logits[index].float().softmax(-1)  # (n, C)
        found.append(_labelled(starts, ends, probabilities))
    return found


def records_of(parts: Parts) -> list[list[int]]:
    """Return the records of each row."""
    found: list[list[int]] = [[] for _ in parts.first]
    for record, place in enumerate(parts.place):
        found[place].append(record)
    return found


def _uncut(units: Units, records: Sequence[int], starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return the spans of a row that begin and end where units of the whole text do.

    Windows are cut between pieces, so the first or last word of one may be there in part.
    """
    windows = []
    for record in records:
        kept = units.carries[record]
        both = np.stack([units.starts[record][kept], units.ends[record][kept]], axis=1)
        windows.append(both.tolist())
    whole = np.array([windows[window][unit] for window, unit in merge_windows(windows)])
    whole = whole.reshape(-1, 2)
    kept = np.isin(starts, whole[:, 0]) & np.isin(ends, whole[:, 1])
    return starts[kept], ends[kept]


def _unique(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    both = np.unique(np.stack([starts, ends], axis=1), axis=0)
    return both[:, 0], both[:, 1]


def judges(units: Units, records: Sequence[int], held: Iterable[Held], *, count: int) -> Ints:
    """Return which window of a row decides on each span, (n,) places among its `records`.

    It is the one that has most units on the side of the span where it has fewer; where the text
    itself begins or ends, none are wanting. Of equal ones the later decides, as in
    `dlk.nlp.align.merge_windows`.

    Args:
        units: of the batch.
        records: the windows of the row.
        held: for each of them, the spans that it holds; one at least holds each span.
        count: how many spans there are.
    """
    carrying = [np.flatnonzero(units.carries[record]) for record in records]
    edges = [
        (units.starts[record][each[0]], units.ends[record][each[-1]])
        for record, each in zip(records, carrying, strict=True)
        if len(each)
    ]
    window = np.zeros(count, dtype=np.int64)
    most = np.full(count, -1, dtype=np.int64)
    if not edges:
        return window
    begin, stop = min(start for start, _ in edges), max(end for _, end in edges)
    windows = zip(records, carrying, held, strict=True)
    for number, (record, each, one) in enumerate(windows):
        if not len(each):
            continue
        is_first = units.starts[record][each[0]] == begin
        is_last = units.ends[record][each[-1]] == stop
        left = np.full(len(one.first), ENOUGH) if is_first else one.first - each[0]
        right = np.full(len(one.last), ENOUGH) if is_last else each[-1] - one.last
        context = np.minimum(left, right)
        wins = context >= most[one.number]
        window[one.number[wins]], most[one.number[wins]] = number, context[wins]
    return window


def _labelled(starts: Ints, ends: Ints, probabilities: Tensor) -> Spans:
    """Return the spans whose most probable label is not 0; those without a number are none."""
    known = torch.isfinite(probabilities).all(-1)
    scores, labels = probabilities.max(-1)
    kept = (known & (labels != 0)).numpy()
    spans = Spans(starts, ends, labels.numpy(), scores.numpy()).take(kept)
    return spans.take(np.lexsort((spans.ends, spans.starts)))


def locate(units: Units, record: int, starts: Ints, ends: Ints) -> Held:
    """Return the spans that a record holds whole, and where.

    Only those that start among its units are looked at, so that spans of a long text are not asked
    of all its windows.

    Args:
        units: of the batch.
        record: number of the record in it.
        starts: (n,) where spans start, in characters; they rise.
        ends: (n,) where they end.
    """
    opens = units.starts[record][units.opens[record]]  # rises
    low, high = 0, 0
    if len(opens):
        low = int(np.searchsorted(starts, opens[0]))
        high = int(np.searchsorted(starts, opens[-1], side="right"))
    first, opened = _place(units.starts[record], units.opens[record], starts[low:high])
    last, closed = _place(units.ends[record], units.closes[record], ends[low:high])
    kept = np.flatnonzero(opened & closed & (first <= last))
    return Held(low + kept, first[kept], last[kept])


def _place(values: Ints, among: Bools, wanted: Ints) -> tuple[Ints, Bools]:
    """Return where each wanted value stands among some of `values`, and whether it does."""
    places = np.flatnonzero(among)
    if not len(places):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    known = values[places]  # rises
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return places[at], known[at] == wanted


def most_probable(spans: Spans, limit: int) -> tuple[Spans, int]:
    """Return at most `limit` spans, the most probable, by place; and how many were left out."""
    left_out = len(spans) - limit
    if left_out <= 0:
        return spans, 0
    order = np.argsort(-spans.scores, kind="stable")[:limit]
    return spans.take(np.sort(order)), left_out


def settle(spans: Spans, overlap: str) -> Spans:
    """Return the spans that may stand together, the most probable first to be kept.

    Args:
        spans: by place.
        overlap: "any": all of them; "nested": none that crosses a kept one; "flat": none that
            shares a character with a kept one.
    """
    if overlap == "any" or len(spans) < 2:
        return spans
    kept: list[int] = []
    starts, ends = (np.empty(len(spans), dtype=np.int64) for _ in range(2))
    for candidate in np.argsort(-spans.scores, kind="stable").tolist():
        start, end = spans.starts[candidate], spans.ends[candidate]
        left, right = starts[: len(kept)], ends[: len(kept)]
        shared = (left < end) & (start < right)
        if overlap == "nested":
            inside = ((left <= start) & (end <= right)) | ((start <= left) & (right <= end))
            shared &= ~inside
        if not shared.any():
            starts[len(kept)], ends[len(kept)] = start, end
            kept.append(candidate)
    return spans.take(np.sort(np.array(kept, dtype=np.int64)))


def without(spans: Spans, labels: Sequence[int]) -> Spans:
    """Return the spans that have none of some labels."""
    return spans.take(~np.isin(spans.labels, labels)) if labels else spans


def lost_rows(logits: Tensor, units: Units, parts: Parts) -> list[bool]:
    """Return for each row whether a score that counts is not a number (a model that diverged)."""
    lost = [False] * len(parts)
    if torch.isnan(logits.sum(dtype=torch.float64)):  # or infinities of both signs: look closer
        kept = _allowed(units)
        for record, place in enumerate(parts.place):
            lost[place] |= bool(torch.isnan(logits[record][kept[record]]).any())
    return lost


def _allowed(units: Units) -> Tensor:
    """Return which cells are spans, (B, L, L) bool."""
    opens, closes = torch.from_numpy(units.opens), torch.from_numpy(units.closes)
    return torch.triu(opens[:, :, None] & closes[:, None, :])
