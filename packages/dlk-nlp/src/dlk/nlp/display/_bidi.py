"""The order of a line's words on the screen, where some are written from right to left.

Unicode's bidirectional algorithm (UAX #9) for whole words: the direction of a word is that of its
first strong character (P2), numbers keep their order inside of right-to-left text (rules I1, I2),
what has no direction takes that of its neighbours or of the text (N1, N2), and lines are put in
order by L2. Inside of a word the browser does the rest. Explicit embeddings and overrides
(U+202A..U+202E, U+2066..U+2069) are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["is_rtl", "levels_of", "visual_order"]


def is_rtl(text: str) -> bool:
    """Return whether a text as a whole reads from right to left: its first strong character."""
    return not text.isascii() and _strong(text) == "R"


def levels_of(words: Sequence[str], *, rtl: bool) -> list[int]:
    """Return the level of each word of a paragraph: even ones read from left to right.

    Args:
        words: the paragraph cut up, spaces among them.
        rtl: the direction of the paragraph.
    """
    if not rtl and all(word.isascii() for word in words):
        return [0] * len(words)
    before = around = "R" if rtl else "L"
    kinds = []
    for word in words:
        kind = _kind(word)
        if kind in ("L", "R"):
            before = kind
        elif kind == "N" and before == "L":
            kind = "L"  # W7
        kinds.append(kind)
    level = {"L": 2, "R": 1, "N": 2} if rtl else {"L": 0, "R": 1, "N": 2}
    return [level[kind] for kind in _neutral(kinds, around)]


def visual_order(levels: Sequence[int]) -> list[int]:
    """Return the places of a line's words from left to right on the screen (rule L2)."""
    order = list(range(len(levels)))
    lowest = min((level for level in levels if level % 2), default=0)
    if not lowest:
        return order
    for level in range(max(levels), lowest - 1, -1):
        start = 0
        while start < len(order):
            if levels[order[start]] < level:
                start += 1
                continue
            stop = start
            while stop < len(order) and levels[order[stop]] >= level:
                stop += 1
            order[start:stop] = order[start:stop][::-1]
            start = stop
    return order


def _neutral(kinds: list[str], around: str) -> list[str]:
    """Give words without a direction the one of their neighbours, where both agree (N1, N2)."""
    place = 0
    while place < len(kinds):
        stop = place
        while stop < len(kinds) and not kinds[stop]:
            stop += 1
        left = kinds[place - 1] if place else around
        right = kinds[stop] if stop < len(kinds) else around
        sides = {"R" if kind == "N" else kind for kind in (left, right)}
        kinds[place:stop] = [sides.pop() if len(sides) == 1 else around] * (stop - place)
        place = stop + 1
    return kinds


def _kind(word: str) -> str:
    """Return "L", "R", "N" for a number, or "" for what has no direction."""
    strong = _strong(word)
    if strong:
        return strong
    return "N" if any(unicodedata.bidirectional(c) in ("EN", "AN") for c in word) else ""


def _strong(text: str) -> str:
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return "L" if kind == "L" else "R"
    return ""
