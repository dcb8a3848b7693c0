"""Where a text may be cut without tearing apart what a reader sees as one character.

A small part of Unicode's rules (UAX #29, extended grapheme clusters, table 1c): combining marks,
variation selectors, joiners and emoji modifiers stay with what they follow; emoji joined by U+200D,
pairs of regional indicators, Hangul syllables and CR LF stay whole. The rules for Indic conjuncts
and for prepended marks are left out, for which Python has no tables.
"""

from __future__ import annotations

import unicodedata

__all__ = ["cluster_starts"]

_JOINER = 0x200D


def cluster_starts(text: str) -> list[int]:
    """Return for each position, and for the end, where the cluster around it starts.

    Position p is a start where ``result[p] == p``; the last entry is the length.
    """
    if text.isascii() and "\r\n" not in text:
        return list(range(len(text) + 1))
    starts: list[int] = []
    start, flags = 0, 0
    for place, character in enumerate(text):
        code = ord(character)
        flags = flags + 1 if 0x1F1E6 <= code <= 0x1F1FF else 0
        pair = flags > 0 and flags % 2 == 0
        if place and not (pair or _joins(text[place - 1], character, code)):
            start = place
        starts.append(start)
    starts.append(len(text))
    return starts


def _joins(before: str, character: str, code: int) -> bool:
    """Return whether a character belongs to the one before it."""
    if code < 0x300:
        return before == "\r" and character == "\n"
    if before in "\r\n":
        return False
    if code in (_JOINER, 0x200C) or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F:
        return True
    if unicodedata.category(character)[0] == "M":
        return True
    if ord(before) == _JOINER:
        return unicodedata.category(character) == "So"  # an emoji joined to the one before
    return _hangul(ord(before), code)


def _hangul(before: int, code: int) -> bool:
    """Return whether two characters belong to one syllable (UAX #29, GB6 to GB8)."""
    vowel, tail = 0x1160 <= code <= 0x11A7, 0x11A8 <= code <= 0x11FF
    syllable = 0xAC00 <= before <= 0xD7A3
    open_syllable = syllable and (before - 0xAC00) % 28 == 0
    if 0x1100 <= before <= 0x115F:
        return vowel or 0x1100 <= code <= 0x115F or 0xAC00 <= code <= 0xD7A3
    if open_syllable or 0x1160 <= before <= 0x11A7:
        return vowel or tail
    return tail and (syllable or 0x11A8 <= before <= 0x11FF)
