"""Characters of a text to the units of a model, and back.

A *unit* is a position that can carry a tag: a piece of the tokenizer, or a word. All offsets are
code points of the original text, end exclusive, whatever the normaliser made of it. A unit whose
offsets are empty (special tokens, pieces of white space) carries nothing.

The laws, which hold for every tokenizer:

- **Trimming.** A unit does not hold the white space at its ends: byte-level pieces (``Ġworld``) and
  those of Unigram (``▁world``) begin at the word, and a piece of white space alone is empty.
- **Marks.** A combining mark (or a vowel or final of a Hangul syllable) that no unit holds, because
  the normaliser took it away or composed it with its letter, belongs to the unit before it.
- **Sharing.** Several units may hold one character (the bytes of an emoji, the letters of a
  ligature). A span takes all units that touch it, so that it comes back whole.
- **Cover.** A span of characters becomes the smallest run of units that holds each of its
  characters that any unit holds. Where the run's own characters are those of the span, it is
  `EXACT`. Otherwise it is `SNAPPED`: the run begins or ends inside of a word that the span cuts, or
  the span's ends hold characters that no unit does (white space, what the normaliser removed).
- **Windows.** A word that the edge of a window cuts is a unit of the windows that hold its first
  piece, and its place is that of the whole word; the rest of it, in the window after, carries
  nothing. So every unit has one place in all windows of a text.
- **Cuts.** A span that goes on beyond the first or last unit of its record, in characters that are
  not *silent* (white space, marks, control and format characters), or that units of another
  window hold, is `CUT`: the text was cut.
  What a normaliser of your own removes besides, at a text's very end, is taken for cut off.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise, repeat
from typing import NamedTuple

__all__ = [
    "Aligner",
    "Fit",
    "InWindows",
    "Pieces",
    "Placed",
    "Unit",
    "Windows",
    "Words",
    "is_mark",
    "merge_windows",
    "piece_units",
    "piece_units_of_windows",
    "trim",
    "word_units",
    "word_units_of_windows",
]

Offsets = Sequence[Sequence[int]]
"""Per piece or unit: start and end in characters."""
Unit = tuple[int, int]
"""Start and end of a unit, as they are made here: the collector of garbage leaves tuples alone."""


class Fit(IntEnum):
    """How well a span of characters is said by units; a larger number is better."""

    NOWHERE = 0
    """No unit of the record touches it: it lies outside, or holds nothing that has a unit."""
    CUT = 1
    """It goes on beyond the record's first or last unit."""
    PARTIAL = 2
    """Strict alignment only: no run of units holds its characters and no others."""
    SNAPPED = 3
    """The run of units holds more characters, or fewer at its ends; see the module's laws."""
    EXACT = 4
    """The run of units holds exactly its characters."""


class Placed(NamedTuple):
    """A span as a run of units, `start` to `end` (exclusive); both 0 where no unit touches it."""

    start: int
    end: int
    fit: Fit

    @property
    def kept(self) -> bool:
        """Whether the run says the span."""
        return self.fit >= Fit.SNAPPED


class Pieces(NamedTuple):
    """The pieces of a record, as a tokenizer gives them.

    Attributes:
        offsets: start and end of each in the text; empty for special tokens.
        word_ids: of each, the number of its word; None for special tokens.
        sequence_ids: of each, which text of a pair it is of; None for special tokens.
    """

    offsets: Offsets
    word_ids: Sequence[int | None] = ()
    sequence_ids: Sequence[int | None] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Words as units.

    Attributes:
        offsets: start and end of each word, trimmed.
        gather_index: position of each word's first piece.
        word_index: per piece, the number of its word; -1 for none.
    """

    offsets: list[Unit]
    gather_index: list[int]
    word_index: list[int]


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space at its ends; empty where there is nothing else."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def piece_units(
    text: str,
    offsets: Offsets,
    *,
    sequence_ids: Sequence[int | None] | None = None,
    sequence: int | None = None,
    after: Offsets | None = None,
) -> list[Unit]:
    """Return the offsets of each piece as a unit: trimmed, with marks that no piece holds.

    Args:
        text: the text that the offsets count in.
        offsets: of each piece of a record, as a tokenizer gives them; empty for special tokens.
        sequence_ids: of each piece, which text of a pair it is of; None for special tokens.
        sequence: the text of the pair that `text` is; the pieces of the other are empty units.
            None: there is one text.
        after: offsets of the window of the text that follows: a mark behind the last unit belongs
            to it where no piece of that window holds the mark. None: no window follows.
    """
    size = len(text)
    units = [
        (start, end)  # nearly all
        if start < end <= size and not (text[start].isspace() or text[end - 1].isspace())
        else _unit(text, start, end)
        for start, end in _of_sequence(offsets, sequence_ids, sequence)
    ]
    if not text.isascii():
        _take_marks(text, units, after)
    return units


def _unit(text: str, start: int, end: int) -> Unit:
    """Return a piece without the white space at its ends, and inside of the text."""
    end = min(end, len(text))
    if start < end:
        return trim(text, start, end)
    place = max(0, min(start, len(text)))
    return place, place


def word_units(
    text: str,
    offsets: Offsets,
    word_ids: Sequence[int | None],
    *,
    sequence_ids: Sequence[int | None] | None = None,
    sequence: int | None = None,
    after: Offsets | None = None,
) -> Words:
    """Return the words of a record as units.

    Neighbouring pieces of one word id (and one text of a pair) are a word; a piece that has
    characters but no word id is a word by itself. Words of white space alone are none.

    Args:
        text: the text that the offsets count in.
        offsets: of each piece.
        word_ids: of each piece, the number of its word; None for special tokens.
        sequence_ids: as for `piece_units`.
        sequence: as for `piece_units`.
        after: as for `piece_units`.
    """
    pieces = piece_units(text, offsets, sequence_ids=sequence_ids, sequence=sequence, after=after)
    words: list[Unit] = []
    gather_index: list[int] = []
    word_index: list[int] = []
    texts: Iterable[int | None] = repeat(None, len(pieces))
    if sequence_ids is not None:
        texts = sequence_ids
    word_before: int | None = None
    text_before: int | None = None
    first = -1  # position of the first piece of the word that is open
    is_open = False  # whether the word has characters yet, and so a number
    records = enumerate(zip(pieces, word_ids, texts, strict=True))
    for position, ((start, end), word, number) in records:
        if word is None or word != word_before or number != text_before:
            first, is_open = position, False
        word_before, text_before = word, number
        if start == end:
            # the empty piece of a word ("Ġ", or "▁" alone) goes with it, unless the word is empty
            word_index.append(len(words) - 1 if is_open else -1)
            continue
        if is_open:
            low, high = words[-1]
            words[-1] = (min(start, low), max(end, high))
        else:
            words.append(pieces[position])
            gather_index.append(first)
            for earlier in range(first, position):
                word_index[earlier] = len(words) - 1
            is_open = True
        word_index.append(len(words) - 1)
    return Words(words, gather_index, word_index)


def piece_units_of_windows(
    text: str, windows: Sequence[Pieces], *, sequence: int | None = None
) -> list[list[Unit]]:
    """Return the `piece_units` of each record of a text, by `_part`."""
    if len(windows) == 1:  # as nearly all are
        (only,) = windows
        return [piece_units(text, only.offsets, sequence_ids=only.sequence_ids, sequence=sequence)]
    return [
        piece_units(
            text, each.offsets, sequence_ids=each.sequence_ids, sequence=sequence, after=after
        )
        for each, after in zip(windows, _after(windows, sequence), strict=True)
    ]


def word_units_of_windows(
    text: str, windows: Sequence[Pieces], *, sequence: int | None = None
) -> list[Words]:
    """Return the `word_units` of each record of a text, by `_part`, cut words made whole.

    A word has the place of all its pieces in all windows. A window that lacks the first of them
    does not have the word: its pieces there have the `word_index` -1.
    """
    if len(windows) == 1:
        offsets, word_ids, texts = windows[0]
        return [word_units(text, offsets, word_ids, sequence_ids=texts, sequence=sequence)]
    found = [
        word_units(
            text,
            each.offsets,
            each.word_ids,
            sequence_ids=each.sequence_ids,
            sequence=sequence,
            after=after,
        )
        for each, after in zip(windows, _after(windows, sequence), strict=True)
    ]
    whole: dict[tuple[int | None, int], Unit] = {}
    names = [_names(words, each) for words, each in zip(found, windows, strict=True)]
    for words, mine in zip(found, names, strict=True):
        for (start, end), name in zip(words.offsets, mine, strict=True):
            if name is not None:
                low, high = whole.get(name, (start, end))
                whole[name] = min(start, low), max(end, high)
    return [_whole(words, mine, whole) for words, mine in zip(found, names, strict=True)]


def _after(windows: Sequence[Pieces], sequence: int | None) -> list[Offsets | None]:
    """Return for each window the offsets of those after it, up to the first that reaches further.

    That is the next one, unless a character has more pieces than a window has room for.
    """
    offsets = [_of_sequence(each.offsets, each.sequence_ids, sequence) for each in windows]
    ends = [max((end for start, end in each if start < end), default=0) for each in offsets]
    found: list[Offsets | None] = []
    for number in range(len(windows) - 1):
        after: list[Sequence[int]] = []
        for place in range(number + 1, len(windows)):
            after += offsets[place]
            if ends[place] > ends[number]:
                break
        found.append(after)
    return [*found, None]


def _names(words: Words, pieces: Pieces) -> list[tuple[int | None, int] | None]:
    """Return what tells each word of a text from the others: its text and its number in that."""
    texts = pieces.sequence_ids
    names: list[tuple[int | None, int] | None] = []
    for place in words.gather_index:
        word = pieces.word_ids[place]
        names.append(None if word is None else (None if texts is None else texts[place], word))
    return names


def _whole(
    words: Words,
    names: Sequence[tuple[int | None, int] | None],
    places: Mapping[tuple[int | None, int], Unit],
) -> Words:
    """Return the words with their whole places, without those that begin before the record."""
    new = [
        each if name is None else places[name]
        for each, name in zip(words.offsets, names, strict=True)
    ]
    if new == words.offsets:
        return words
    kept = [n for n, each in enumerate(words.offsets) if each[0] <= new[n][0]]
    number = {old: place for place, old in enumerate(kept)}
    return Words(
        [new[n] for n in kept],
        [words.gather_index[n] for n in kept],
        [number.get(n, -1) for n in words.word_index],
    )


class Aligner:
    """Places spans of characters on the units of one record, and reads runs of units as spans.

    Args:
        text: the whole text, also where the record is a window of it.
        units: start and end of each unit in the text; those that are empty carry nothing.
    """

    def __init__(self, text: str, units: Offsets) -> None:
        self.text = text
        self.kept = [place for place, (start, end) in enumerate(units) if start < end]
        """Positions of the units that can carry a tag, in order."""
        self._starts = [start for start, end in units if start < end]
        self._ends = [end for start, end in units if start < end]
        # a bisection needs bounds that rise, and normalisers may reorder marks
        self._reached, self._ahead = self._ends, self._starts
        self._rise = self._ends == sorted(self._ends) and self._starts == sorted(self._starts)
        if not self._rise:
            self._reached = list(accumulate(self._ends, max))
            self._ahead = list(accumulate(reversed(self._starts), min))[::-1]
        self.start = self._ahead[0] if self.kept else 0
        """Where the first character that a unit holds begins."""
        self.end = self._reached[-1] if self.kept else 0
        """Where the last one ends."""

    def place(self, start: int, end: int, *, strict: bool = False, closed: bool = False) -> Placed:
        """Return the run of `kept` units (places in that list) that says a span of characters.

        Args:
            start: first character.
            end: after the last one.
            strict: a run that holds characters beside the span's own is `PARTIAL`, not `SNAPPED`;
                so a span may still lack the characters at its ends that no unit holds.
            closed: the run shares no character with a unit outside of it; it grows until that is
                so. Then the characters that it holds are placed as the same run: what says spans by
                their first and last unit needs that, or one span could be said in two ways.
        """
        first = bisect_right(self._reached, start)
        last = bisect_left(self._ahead, end) - 1
        while first <= last and self._starts[first] >= end:
            first += 1
        while first <= last and self._ends[last] <= start:
            last -= 1
        if first > last:
            return Placed(0, 0, Fit.NOWHERE)
        run = first, last + 1
        if (start < self.start and not _is_silent(self.text[start : self.start])) or (
            end > self.end and not _is_silent(self.text[self.end : end])
        ):
            return Placed(*run, Fit.CUT)
        if closed:
            run = self._closed(*run)
        low, high = self.characters(*run)
        if (low, high) == (start, end):
            return Placed(*run, Fit.EXACT)
        if strict and (low < start or high > end):
            return Placed(*run, Fit.PARTIAL)
        return Placed(*run, Fit.SNAPPED)

    def _closed(self, start: int, end: int) -> tuple[int, int]:
        while start > 0 and self._reached[start - 1] > self._ahead[start]:
            start -= 1
        while end < len(self.kept) and self._ahead[end] < self._reached[end - 1]:
            end += 1
        return start, end

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters from the first to the last that a run of `kept` units holds."""
        if not 0 <= start < end <= len(self.kept):
            raise ValueError(f"no run of {len(self.kept)} units goes from {start} to {end}")
        if self._rise:
            return self._starts[start], self._ends[end - 1]
        return min(self._starts[start:end]), max(self._ends[start:end])

    def splits(self, place: int) -> bool:
        """Return whether a unit begins before a character and ends behind where that begins."""
        if not self._rise:
            return any(a < place < b for a, b in zip(self._starts, self._ends, strict=True))
        before = bisect_left(self._starts, place)
        return before > 0 and self._ends[before - 1] > place


class InWindows(NamedTuple):
    """A span in the windows of a text.

    Attributes:
        runs: by the number of a window, the run there; only of those in which units touch the span.
        best: how well the best window says it.
        is_cut: whether the text was cut before or inside of the span, where no window says it.
    """

    runs: dict[int, Placed]
    best: Fit
    is_cut: bool


class Windows:
    """Places spans of characters in the windows of one text: each asks those alone that lie there.

    Args:
        aligners: of the records of one row; at least one.
    """

    def __init__(self, aligners: Sequence[Aligner]) -> None:
        self.aligners = aligners
        # as in `Aligner`: bounds that rise, though windows without units have none
        self._reached = list(accumulate((each.end for each in aligners), max))
        starts = [each.start if each.kept else len(each.text) for each in aligners]
        self._ahead = list(accumulate(reversed(starts), min))[::-1]

    def place(
        self, start: int, end: int, *, strict: bool = False, closed: bool = False
    ) -> InWindows:
        """Return how a span is placed in the windows.

        Args:
            start: first character.
            end: after the last one.
            strict: as in `Aligner.place`.
            closed: as in `Aligner.place`. A run that shares a character with a unit of another
                record, which holds more beside, is `CUT`.
        """
        runs = {
            number: run
            for number in self._near(start, end)
            if (run := self.aligners[number].place(start, end, strict=strict, closed=closed)).fit
        }
        if len(self.aligners) > 1:
            for number, run in runs.items():
                if run.kept and self._goes_on(run, self.aligners[number], start, end, closed):
                    runs[number] = run._replace(fit=Fit.CUT)
        if runs:
            best = max(run.fit for run in runs.values())
            return InWindows(runs, best, best is Fit.CUT)
        if not self._reached[-1]:  # no window has units
            return InWindows(runs, Fit.NOWHERE, is_cut=False)
        text = self.aligners[0].text
        outside = text[start : min(end, self._ahead[0])], text[max(start, self._reached[-1]) : end]
        return InWindows(runs, Fit.NOWHERE, not all(_is_silent(part) for part in outside))

    def _near(self, start: int, end: int) -> range:
        """Return the numbers of the windows among which those lie that reach into a span."""
        return range(bisect_right(self._reached, start), bisect_left(self._ahead, end))

    def _goes_on(self, run: Placed, own: Aligner, start: int, end: int, closed: bool) -> bool:
        """Return whether other records hold more of the span that a run says in `own`.

        That are characters beyond the record's units, or with `closed` such as share a unit with
        it.
        """
        if start < own.start and self._holds(start, own.start):
            return True
        if own.end < end and self._holds(own.end, end):
            return True
        return closed and any(map(self._splits, own.characters(run.start, run.end)))

    def _holds(self, start: int, end: int) -> bool:
        near = self._near(start, end)
        return any(self.aligners[number].place(start, end).fit for number in near)

    def _splits(self, place: int) -> bool:
        return any(self.aligners[number].splits(place) for number in self._near(place, place))


def merge_windows(windows: Sequence[Offsets]) -> list[tuple[int, int]]:
    """Return which window decides on each unit of a text, in the order of the text.

    Neighbouring windows share units (`truncation.stride`), of which each window knows the context
    on one side only. What two windows share is divided in its middle, so each unit is decided where
    it lies furthest from an edge. One window gives its own units.

    Args:
        windows: for each record of one row, by `_part`, its `unit_offsets` in characters of the
            whole text.

    Returns:
        (window, unit) for each unit that is not empty: `windows[window][unit]` are its offsets.
        They are the units of the text as it would be without windows, each once. Where two windows
        share no more than one character, of several pieces that are one character some may be
        missing, but never all.
    """
    filled = []
    for number, units in enumerate(windows):
        kept = [(place, unit[0]) for place, unit in enumerate(units) if unit[0] < unit[1]]
        if kept:
            starts = [start for _, start in kept]
            filled.append((min(starts), max(starts), number, kept))
    borders = [float("-inf")]  # where the part of each window begins
    for (_, last, *_), (first, _, _, kept) in pairwise(filled):
        borders.append(max(_border([start for _, start in kept], first, last), borders[-1]))
    borders.append(float("inf"))
    return [
        (number, place)
        for (_, _, number, kept), low, high in zip(filled, borders, borders[1:], strict=False)
        for place, start in kept
        if low <= start < high
    ]


def _border(starts: Sequence[int], first: int, last: int) -> int:
    """Return where the part of a window begins.

    Args:
        starts: of its units.
        first: the least of them.
        last: where the last unit of the window before begins.
    """
    shared = [start for start in starts if start <= last]
    if not shared:
        return first
    middle = shared[len(shared) // 2]
    # at `first` the window may begin inside of a word, or of a character of several pieces
    return middle if middle > first else min((s for s in shared if s > first), default=first)


def _of_sequence(
    offsets: Offsets, sequence_ids: Sequence[int | None] | None, sequence: int | None
) -> Offsets:
    if sequence is None or sequence_ids is None:
        return offsets
    return [
        each if number == sequence else (0, 0)
        for each, number in zip(offsets, sequence_ids, strict=True)
    ]


def _take_marks(text: str, units: list[Unit], after: Offsets | None) -> None:
    """Let units reach over the combining marks after them that no unit holds.

    Args:
        text: the text.
        units: of a record.
        after: as for `piece_units`.
    """
    size = len(text)
    before_marks = [
        place
        for place, (start, end) in enumerate(units)
        if start < end < size and is_mark(text[end])
    ]
    if not before_marks:
        return
    held = sorted((start, end) for start, end in units if start < end)
    last = max(end for _, end in held)
    held = sorted([*held, *((start, end) for start, end in after or () if start < end)])
    starts = [start for start, _ in held]
    reached = list(accumulate((end for _, end in held), max))
    for place in before_marks:
        start, end = units[place]
        stop = end
        while stop < size and is_mark(text[stop]):
            if reached[bisect_right(starts, stop) - 1] > stop:  # a unit holds it
                break
            stop += 1
        # after the last unit of all, the text may have been cut, and the mark with it
        if end < last or after is not None or _is_silent(text[end:]):
            units[place] = start, stop


def is_mark(char: str) -> bool:
    """Return whether a normaliser may make one character of this and the one before it.

    Combining marks do that, in any width (U+FF9E), and vowels and finals of Hangul syllables.
    """
    return not char.isascii() and all(map(_joins, unicodedata.normalize("NFKD", char)))


def _joins(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"


def _is_silent(text: str) -> bool:
    """Return whether tokenizers may leave all characters out: white space, marks, controls."""
    return all(
        char.isspace() or _joins(char) or char == "\ufffd" or unicodedata.category(char)[0] == "C"
        for char in unicodedata.normalize("NFKD", text)
    )
