"""Pieces of HTML that displays share: escaped text, plain values, the figure, bars.

Nothing here looks at the page around it: a figure brings its styles, uses no ids, no script and no
external resource, and can stand several times on one page.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from dlk.display.colors import DARK, LIGHT, Scheme, Tone, hue_of, tone

__all__ = [
    "BARS_STYLE",
    "Bar",
    "bars",
    "escaped",
    "figure",
    "number",
    "shown",
    "text_of",
    "toned",
    "words",
]

LONGEST_WORD = 200
"""Characters of a value that should be a short text, a label say, before it is cut."""

# What HTML and XML cannot hold: other control characters than tab and line ends, half surrogates.
_FOREIGN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def escaped(text: str) -> str:
    """Return text for HTML or SVG, in elements and in quoted attributes, character for character.

    What no document can hold (control characters, half surrogates) becomes U+FFFD.
    """
    return escape(_FOREIGN.sub("\ufffd", text), quote=True)


def text_of(value: object) -> str:
    """Return a text as it is, "" for None, and any other value as Python writes it."""
    if isinstance(value, str):
        return value
    return "" if value is None else words([value])


def words(values: object) -> str:
    """Return labels as one short text: of a list its items joined by commas, of one value itself.

    What is too long for a label is cut with an ellipsis.
    """
    listed = values if isinstance(values, list | tuple) else [values]
    some = [
        item if isinstance(item, str) else repr(item) for item in listed[:20] if item is not None
    ]
    joined = " ".join(", ".join(some).split())
    return joined if len(joined) <= LONGEST_WORD else joined[: LONGEST_WORD - 1] + "…"


def number(value: object) -> float | None:
    """Return a finite number, or None for anything else: None, NaN, infinity, a text, true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def shown(value: float | None, digits: int = 3) -> str:
    """Return a number for a reader: few digits, and a dash where there is none."""
    if value is None:
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    return f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-", "−")


def toned(label: str, labels: Sequence[str] = (), *classes: str) -> str:
    """Return the attributes that give an element a label's colours, for light and dark pages.

    Below that element ``var(--fill)``, ``var(--ink)`` and ``var(--line)`` are those of its tone.
    """
    return f'class="{" ".join(("dlk-t", *classes))}" style="{_style_of(label, tuple(labels))}"'


@functools.lru_cache(maxsize=1024)
def _style_of(label: str, labels: tuple[str, ...]) -> str:
    hue = hue_of(label, labels)
    return ";".join(
        f"--{name}-{mode}:{getattr(colors, name)}"
        for mode, colors in (("l", tone(hue, LIGHT)), ("d", tone(hue, DARK)))
        for name in Tone.__slots__
    )


def figure(
    content: str,
    *,
    head: str = "",
    label: str,
    notes: Iterable[str] = (),
    style: str = "",
    width: int,
    scheme: str = "auto",
) -> str:
    """Return a whole picture around its content.

    Args:
        content: escaped HTML.
        head: heading, plain text.
        label: what the picture is, for who cannot see it; plain text.
        notes: sentences beneath, plain text: what was left out, and why.
        style: further CSS rules; they may use ``var(--page)``, ``--text``, ``--quiet`` and
            ``--rule``, and below what is `toned` its colours.
        width: px that it may take.
        scheme: ``light``, ``dark``, or ``auto`` for what the system prefers.
    """
    caption = f'<figcaption dir="auto">{escaped(head)}</figcaption>' if head else ""
    beneath = "".join(f'<p class="dlk-note" dir="auto">{escaped(note)}</p>' for note in notes)
    return (
        f'<figure class="dlk dlk-{scheme}" role="group" aria-label="{escaped(label)}" '
        f'style="max-width:{width}px"><style>{_STYLE}{style}</style>'
        f"{caption}{content}{beneath}</figure>"
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar chart.

    Attributes:
        label: its name.
        share: how long it is, 0..1; None where that is not known.
        chosen: whether it is the answer, or one of them.
    """

    label: str
    share: float | None
    chosen: bool = False


def bars(rows: Sequence[Bar], *, name: str, labels: Sequence[str] = ()) -> str:
    """Return a table of labels with horizontal bars; use `BARS_STYLE` in the figure.

    Args:
        rows: from top to bottom.
        name: what the table is, for who cannot see it.
        labels: all labels in their order, where known, for their colours.
    """
    lines = []
    for row in rows:
        percent = None if row.share is None else 100 * min(max(row.share, 0.0), 1.0)
        value = "–" if row.share is None else f"{100 * row.share:.1f}\u202f%"
        bar = "" if percent is None else f'<span style="width:{percent:.2f}%"></span>'
        sign = '<span class="dlk-check" role="img" aria-label="chosen">✓</span>'
        attributes = toned(row.label, labels, *["dlk-chosen"] * row.chosen)
        lines.append(
            f'<tr {attributes}><th scope="row">{sign if row.chosen else ""}'
            f'<bdi title="{escaped(row.label)}">{escaped(row.label) or "–"}</bdi></th>'
            f'<td class="dlk-bar" aria-hidden="true">{bar}</td>'
            f'<td class="dlk-value">{escaped(value)}</td></tr>'
        )
    return f'<table class="dlk-bars" aria-label="{escaped(name)}">{"".join(lines)}</table>'


def _scheme(scheme: Scheme, mode: str, kind: str) -> str:
    """Return the rules that give a figure and what is toned in it the colours of a scheme."""
    page = f"--page:{scheme.page};--text:{scheme.ink};--quiet:{scheme.quiet};--rule:{scheme.rule}"
    mine = ";".join(f"--{name}:var(--{name}-{mode})" for name in Tone.__slots__)
    color_scheme = "dark" if mode == "d" else "light"
    return f"{kind}{{color-scheme:{color_scheme};{page}}}{kind} .dlk-t{{{mine}}}"


# A colour in a style attribute would win over every rule, so both schemes' colours stand there
# under names of their own, and these rules choose.
_STYLE = (
    f"{_scheme(LIGHT, 'l', '.dlk')}{_scheme(DARK, 'd', '.dlk-dark')}"
    f"@media (prefers-color-scheme:dark){{{_scheme(DARK, 'd', '.dlk-auto')}}}"
    ".dlk{box-sizing:border-box;margin:0;padding:1em;background:var(--page);color:var(--text);"
    "font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    ".dlk figcaption{font-weight:600;margin-bottom:.5em}"
    ".dlk-text{white-space:pre-wrap;margin:.5em 0}"
    ".dlk-note{color:var(--quiet);font-size:13px;margin:.5em 0 0}"
)

BARS_STYLE = (
    ".dlk-bars{border-collapse:collapse;width:100%;margin:.5em 0}"
    ".dlk-bars th{font-weight:400;text-align:start;padding:.2em .8em .2em 0;width:1%;"
    "white-space:nowrap}"
    ".dlk-bars bdi{display:inline-block;max-width:16em;overflow:hidden;text-overflow:ellipsis;"
    "vertical-align:bottom}"
    ".dlk-chosen th,.dlk-chosen .dlk-value{font-weight:700}"
    ".dlk-check{margin-inline-end:.35em;color:var(--ink)}"
    ".dlk-bar{background:var(--rule);background-clip:content-box;padding:.3em 0;width:99%}"
    ".dlk-bar span{display:block;height:1em;background:var(--line)}"
    ".dlk-value{text-align:end;padding-inline-start:.8em;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
)
