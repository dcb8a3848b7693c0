"""One text, or two side by side, above a chart."""

from __future__ import annotations

from dlk.display.html import escaped

__all__ = ["TEXTS_STYLE", "one_text", "two_texts"]


def one_text(text: str) -> str:
    """Return a paragraph that finds its direction by itself."""
    if not text:
        return '<p class="dlk-note">The text is empty.</p>'
    return f'<p class="dlk-text dlk-box" dir="auto">{escaped(text)}</p>'


def two_texts(first: str, second: str) -> str:
    """Return two paragraphs, side by side where there is room."""
    return f'<div class="dlk-pair">{one_text(first)}{one_text(second)}</div>'


TEXTS_STYLE = (
    ".dlk-box{border-inline-start:3px solid var(--rule);padding:.2em .8em;max-height:16em;"
    "overflow:auto}"
    ".dlk-pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(14em,1fr));gap:0 1em}"
)
