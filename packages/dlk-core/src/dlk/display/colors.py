"""Colours by label: the same label has the same colour in every picture, readable on every page.

Contrast is that of WCAG 2.2 (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio): 4.5 for text
(success criterion 1.4.3), 3 for lines and bars (1.4.11). A hue comes from the label; its lightness
is what the contrast asks for.
"""

from __future__ import annotations

import colorsys
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "Scheme", "Tone", "contrast", "hue_of", "tone"]

TEXT_CONTRAST = 4.5
LINE_CONTRAST = 3.0


@dataclass(frozen=True, slots=True)
class Scheme:
    """Colours of a page, as ``#rrggbb``.

    Attributes:
        page: the background.
        ink: text.
        quiet: text of less weight.
        rule: lines and empty bars; they carry no meaning alone.
    """

    page: str
    ink: str
    quiet: str
    rule: str


LIGHT = Scheme(page="#ffffff", ink="#1b1f24", quiet="#57606a", rule="#d0d7de")
DARK = Scheme(page="#14181d", ink="#eceff3", quiet="#a3adb8", rule="#3b444e")


@dataclass(frozen=True, slots=True)
class Tone:
    """One hue for one scheme, as ``#rrggbb``.

    Attributes:
        fill: behind text; the scheme's `ink` and this tone's `ink` are readable on it.
        ink: text in this hue, readable on `fill` and on the page.
        line: lines, arrows and bars, told from the page.
    """

    fill: str
    ink: str
    line: str


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def hue_of(label: str, labels: Sequence[str] = ()) -> int:
    """Return a label's hue in degrees.

    Hues of the labels that are known in advance, in their order, are spread around the circle. Any
    other label's hue follows from its text, so that two labels may come close; the pictures name
    the label beside the colour.
    """
    if label in labels:
        return round(360 * labels.index(label) / len(labels) + 210) % 360
    digest = hashlib.sha256(label.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:4], "big") % 360


@functools.cache
def tone(hue: int, scheme: Scheme) -> Tone:
    """Return a hue's colours for a page."""
    light = scheme is LIGHT or _luminance(scheme.page) > 0.5
    fill = _hsl(hue, 0.88 if light else 0.42, 0.88 if light else 0.20)
    toward = -0.01 if light else 0.01
    line = _until(hue, 0.68, 0.55, toward, LINE_CONTRAST, scheme.page)
    ink = _until(hue, 0.75, 0.42 if light else 0.6, toward, TEXT_CONTRAST, scheme.page, fill)
    return Tone(fill=fill, ink=ink, line=line)


def _until(
    hue: int, saturation: float, lightness: float, step: float, ratio: float, *grounds: str
) -> str:
    """Return the first lightness, step by step, that has the contrast with all grounds."""
    color = _hsl(hue, saturation, lightness)
    while min(contrast(color, ground) for ground in grounds) < ratio and 0 < lightness < 1:
        lightness += step
        color = _hsl(hue, saturation, lightness)
    return color


def _hsl(hue: int, saturation: float, lightness: float) -> str:
    channels = colorsys.hls_to_rgb(hue / 360, min(max(lightness, 0.0), 1.0), saturation)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def _luminance(color: str) -> float:
    """Return the relative luminance of ``#rrggbb``, from 0 to 1."""
    values = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
