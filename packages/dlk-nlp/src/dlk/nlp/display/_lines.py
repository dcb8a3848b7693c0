"""A text with entities, cut into pieces, wrapped into lines and put at places on a plane."""

from __future__ import annotations

import itertools
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dlk.nlp.display._bidi import is_rtl, levels_of, visual_order
from dlk.nlp.display._columns import width_of
from dlk.nlp.display._graphemes import cluster_starts
from dlk.nlp.display._spans import Span

__all__ = ["Line", "Piece", "Run", "cut", "place", "wrap"]

GAP = 3.0
"""Room on both sides of an entity, px."""

_CLOSING = ("Pe", "Pf", "Po")  # punctuation that no line begins with
_LINE_ENDS = frozenset(("\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"))


@dataclass(slots=True)
class Piece:
    """A stretch of the text that lies on one line, in one direction, in the same entities.

    Attributes:
        start: its first character.
        end: behind its last.
        group: pieces of one group stay on one line.
        kind: "word", "space" or "end" of a line.
        width: px of its letters.
        before: px kept free before it, in its reading direction.
        after: px kept free behind it.
        level: even: from left to right.
        x: its left edge, once placed, without what is kept free.
    """

    start: int
    end: int
    group: int
    kind: str
    width: float = 0.0
    before: float = 0.0
    after: float = 0.0
    level: int = 0
    x: float = 0.0

    @property
    def advance(self) -> float:
        """All the room that it takes."""
        return self.before + self.width + self.after


@dataclass(frozen=True, slots=True)
class Run:
    """Letters drawn as one: pieces that follow one another on the screen and in the text."""

    text: str
    x: float
    width: float
    rtl: bool


@dataclass(slots=True)
class Line:
    """A line of the text.

    Attributes:
        pieces: in the order of the text.
        shown: in the order of the screen, from left to right.
    """

    pieces: list[Piece] = field(default_factory=list)
    shown: list[Piece] = field(default_factory=list)

    def runs(self, text: str, edges: frozenset[int]) -> Iterator[Run]:
        """Yield what to draw; nothing is joined over the edge of an entity."""
        joined: list[Piece] = []
        for piece in [*self.shown, None]:
            last = joined[-1] if joined else None
            if piece is not None and last is not None and _follow(last, piece, edges):
                joined.append(piece)
                continue
            if joined:
                yield from _run(text, joined)
            joined = [] if piece is None else [piece]

    def boxes(self, span: Span) -> list[tuple[float, float]]:
        """Return left and right edge of an entity on this line; several where it is torn apart."""
        found: list[tuple[float, float]] = []
        last: Piece | None = None
        for piece in self.shown:
            if not (span.start <= piece.start and piece.end <= span.end):
                last = None
                continue
            left, right = piece.x - GAP, piece.x + piece.width + GAP
            if last is None:
                found.append((left, right))
            else:
                found[-1] = (found[-1][0], right)
            last = piece
        return found


def cut(
    text: str, spans: Sequence[Span], need: Callable[[Span], float], room: float
) -> list[Piece]:
    """Return the text in pieces with their widths and levels.

    Args:
        text: the text.
        spans: its entities.
        need: px that an entity has to be wide at least.
        room: px of a line: a word that is longer is cut.
    """
    pieces = list(_pieces(text, spans, room))
    levels = levels_of([text[p.start : p.end] for p in pieces], rtl=is_rtl(text))
    for piece, level in zip(pieces, levels, strict=True):
        piece.level = level
    begins = [piece.start for piece in pieces]
    widths = [0.0, *itertools.accumulate(piece.width for piece in pieces)]
    for span in spans:
        first, stop = bisect_left(begins, span.start), bisect_left(begins, span.end)
        extra = max(GAP + 2.0, (need(span) - widths[stop] + widths[first]) / 2 + 2.0)
        pieces[first].before = max(pieces[first].before, extra)
        pieces[stop - 1].after = max(pieces[stop - 1].after, extra)
    return pieces


def wrap(pieces: Sequence[Piece], room: float) -> list[Line]:
    """Return the pieces in lines at most `room` px wide; spaces may hang over."""
    lines = [Line()]
    used = 0.0
    for group in _groups(pieces):
        width = sum(piece.advance for piece in group)
        if group[0].kind == "word" and used + width > room and used:
            for piece in reversed(lines[-1].pieces):  # a space at the end is not seen
                if piece.kind != "space":
                    break
                piece.width = 0.0
            lines.append(Line())
            used = 0.0
        lines[-1].pieces += group
        used += width
        if group[0].kind == "end":
            lines.append(Line())
            used = 0.0
    return lines


def place(lines: Sequence[Line], *, left: float, right: float, rtl: bool) -> None:
    """Give the pieces of each line their places between two edges, beginning at the right one."""
    for line in lines:
        levels = [piece.level for piece in line.pieces]
        for back in range(len(levels) - 1, -1, -1):  # rule L1 of UAX #9
            if line.pieces[back].kind == "word":
                break
            levels[back] = 1 if rtl else 0
        line.shown = [line.pieces[number] for number in visual_order(levels)]
        x = right - sum(piece.advance for piece in line.shown) if rtl else left
        for piece in line.shown:
            first = piece.after if piece.level % 2 else piece.before
            piece.x = x + first
            x += piece.advance


def _pieces(text: str, spans: Sequence[Span], room: float) -> Iterator[Piece]:
    edges = {edge for span in spans for edge in (span.start, span.end)}
    starts = cluster_starts(text)
    piece: Piece | None = None
    group, group_width, before = 0, 0.0, ""
    start = 0
    while start < len(text):
        end = start + 1
        while starts[end] < end:
            end += 1
        cluster = text[start:end]
        width = width_of(cluster)
        kind = "end" if cluster in _LINE_ENDS else "space" if cluster.isspace() else "word"
        wide = kind == "word" and unicodedata.east_asian_width(cluster[0]) in "WF"
        closing = wide and before != "end" and unicodedata.category(cluster[0]) in _CLOSING
        sort = "wide" if wide else kind
        apart = sort != before or sort in ("wide", "end")
        if (apart and not closing) or group_width + width > 0.8 * room:
            group, group_width, new = group + 1, 0.0, True
        else:
            new = start in edges
        group_width += width
        if new or piece is None:
            if piece is not None:
                yield piece
            piece = Piece(start, end, group, kind)
        piece.end = end
        piece.width += 0.0 if kind == "end" else width
        before, start = sort, end
    if piece is not None:
        yield piece


def _groups(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    for piece in pieces:
        if group and piece.group != group[-1].group:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _follow(left: Piece, right: Piece, edges: frozenset[int]) -> bool:
    """Return whether two neighbours on the screen are drawn as one."""
    if left.level != right.level or "end" in (left.kind, right.kind):
        return False
    touch = right.end == left.start if left.level % 2 else left.end == right.start
    return touch and (left.start if left.level % 2 else right.start) not in edges


def _run(text: str, pieces: Sequence[Piece]) -> Iterator[Run]:
    shown = [piece for piece in pieces if piece.kind != "end"]
    while shown and shown[0].kind == "space":
        shown = shown[1:]
    while shown and shown[-1].kind == "space":
        shown = shown[:-1]
    if shown:
        start, end = min(p.start for p in shown), max(p.end for p in shown)
        left, right = shown[0].x, shown[-1].x + shown[-1].width
        yield Run(text[start:end], left, right - left, rtl=shown[0].level % 2 == 1)
