"""How wide a text is, without a font.

A browser's fonts are not known where a picture is made. So widths are estimated, in em of a
monospaced font, by East Asian Width (UAX #11) and category; the SVG names each width with
`textLength`, and the browser fits its glyphs to it. An estimate that is off stretches or narrows
letters a little; it never moves an arrow to another word.
"""

from __future__ import annotations

import unicodedata

__all__ = ["EM", "width_of"]

EM = 16.0
"""Size of the text, px."""

_NARROW, _WIDE, _EMOJI = 0.6, 1.0, 1.25


def width_of(text: str, size: float = EM) -> float:
    """Return the estimated width in px at a font size."""
    if text.isascii():
        return _NARROW * size * len(text)
    return size * sum(
        _ems(before, character) for before, character in zip(" " + text, text, strict=False)
    )


def _ems(before: str, character: str) -> float:
    code = ord(character)
    if code < 0x300:
        return _NARROW
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or 0x1F3FB <= code <= 0x1F3FF:
        return 0.0
    if before == "\u200d" or 0x1160 <= code <= 0x11FF:
        return 0.0  # drawn into the character before it
    if 0x1F1E6 <= code <= 0x1F1FF:
        return _EMOJI / 2
    if code >= 0x1F000 or unicodedata.category(character) == "So":
        return _EMOJI
    return _WIDE if unicodedata.east_asian_width(character) in "WF" else _NARROW
