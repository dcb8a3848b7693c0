"""One number on a scale, as SVG."""

from __future__ import annotations

from dlk.display.html import escaped, shown, toned

__all__ = ["GAUGE_STYLE", "gauge"]

_LEFT, _RIGHT, _TOP = 20, 380, 62


def gauge(value: float | None, *, minimum: float, maximum: float) -> str:
    """Return a scale from minimum to maximum with a mark at the value.

    A value beyond an end is marked at that end by an arrow, and written as it is.
    """
    share = None if value is None else (value - minimum) / (maximum - minimum)
    ends = f"{shown(minimum)} to {shown(maximum)}"
    told = f"No value, on a scale from {ends}"
    mark = ""
    if value is not None and share is not None:
        told = f"{shown(value)} on a scale from {ends}"
        place = _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)
        mark = (
            f'<rect class="dlk-done" x="{_LEFT}" y="{_TOP}" width="{place - _LEFT:.1f}" '
            f'height="12" rx="6"/>{_pointer(place, share)}'
        )
    return (
        f'<svg class="dlk-gauge" viewBox="0 0 400 104" role="img" aria-label="{escaped(told)}">'
        f"<g {toned('value')}>"
        f'<text class="dlk-big" x="200" y="34">{escaped(shown(value))}</text>'
        f'<rect class="dlk-scale" x="{_LEFT}" y="{_TOP}" width="{_RIGHT - _LEFT}" height="12" '
        f'rx="6"/>{mark}'
        f'<text class="dlk-end" x="{_LEFT}" y="96">{escaped(shown(minimum))}</text>'
        f'<text class="dlk-end dlk-last" x="{_RIGHT}" y="96">{escaped(shown(maximum))}</text>'
        "</g></svg>"
    )


def _pointer(place: float, share: float) -> str:
    middle = _TOP + 6
    if share < 0:
        return f'<path class="dlk-mark" d="M{place + 8:.1f} {middle - 9}v18l-16 -9z"/>'
    if share > 1:
        return f'<path class="dlk-mark" d="M{place - 8:.1f} {middle - 9}v18l16 -9z"/>'
    return f'<circle class="dlk-mark" cx="{place:.1f}" cy="{middle}" r="9"/>'


GAUGE_STYLE = (
    ".dlk-gauge{display:block;width:100%;max-width:32em;margin:.5em auto;"
    "font-variant-numeric:tabular-nums}"
    ".dlk-scale{fill:var(--rule)}.dlk-done{fill:var(--line)}"
    ".dlk-mark{fill:var(--page);stroke:var(--line);stroke-width:4}"
    ".dlk-big{fill:var(--text);font-size:32px;font-weight:600;text-anchor:middle}"
    ".dlk-end{fill:var(--quiet);font-size:14px;text-anchor:start}.dlk-last{text-anchor:end}"
)
