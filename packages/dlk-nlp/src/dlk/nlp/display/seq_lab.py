"""Entities highlighted in their text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlk.display.base import Display
from dlk.display.html import escaped, figure, shown, text_of, toned
from dlk.nlp.display._spans import Close, Open, Span, left_out, nested, spans_of
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.display.configs import SpanDisplayConfig

DEEPEST = 8
"""Boxes inside of boxes that get room of their own; deeper ones touch."""


@register("display", "seq_lab")
class SeqLabDisplay(Display):
    """A text in which each entity is a box with its label behind it.

    An entity inside of another is a box inside of its box; one that crosses the end of another is
    drawn in two pieces, whose open sides say that they belong together. The text itself keeps its
    direction and its order: boxes do not isolate it, only labels do.
    """

    def __init__(self, config: SpanDisplayConfig) -> None:
        super().__init__(config)
        self.text_key = config.input_map["sentence"]
        self.entities_key = config.input_map["entities_info"]
        self.left_out_key = config.input_map["left_out"]
        self.ignored = tuple(config.ignore_labels)
        self.labels = tuple(config.labels)
        self.show_score = config.show_score
        self.most = config.max_entities

    def draw(self, prediction: Mapping[str, object]) -> str:
        text = text_of(prediction.get(self.text_key))
        entities = prediction.get(self.entities_key)
        drawn = spans_of(text, entities, ignored=self.ignored, most=self.most)
        heights = _heights(text, drawn.spans)
        room = 1.6 + 0.3 * (1 + min(max(heights.values(), default=0), DEEPEST))
        pieces = [self._piece(piece, heights) for piece in nested(text, drawn.spans)]
        count = len(drawn.spans)
        return figure(
            f'<p class="dlk-text dlk-spans" dir="auto" style="line-height:{room:.1f}">'
            f"{''.join(pieces)}</p>",
            head=self.output_head,
            label=f"Text with {count} {'entity' if count == 1 else 'entities'}",
            notes=[
                *drawn.notes,
                *left_out(prediction.get(self.left_out_key)),
                *([] if text else ["The text is empty."]),
            ],
            style=_STYLE,
            width=self.width,
            scheme=self.color_scheme,
        )

    def _piece(self, piece: str | Open | Close, heights: Mapping[int, int]) -> str:
        if isinstance(piece, str):
            return escaped(piece)
        span = piece.span
        if isinstance(piece, Open):
            height = min(heights[span.number], DEEPEST)
            attributes = toned(span.label, self.labels, *["dlk-cont"] * piece.continued)
            return f'<mark {attributes[:-1]};--up:{height}" title="{escaped(self._told(span))}">'
        if not piece.whole:
            return "</mark>"
        score = (
            f"\u00a0{shown(span.score, 2)}" if self.show_score and span.score is not None else ""
        )
        label = f'<bdi class="dlk-label">{escaped(span.label + score)}</bdi>'
        return f"{label if span.label or score else ''}</mark>"

    def _told(self, span: Span) -> str:
        told = span.label or "entity"
        return told if span.score is None else f"{told}, score {shown(span.score)}"


def _heights(text: str, spans: list[Span]) -> dict[int, int]:
    """Return for each entity, by number, how many boxes lie inside of each other in its box."""
    heights: dict[int, int] = {}
    open_: list[int] = []
    for piece in nested(text, spans):
        if isinstance(piece, Open):
            heights.setdefault(piece.span.number, 0)
            open_.append(piece.span.number)
        elif isinstance(piece, Close):
            inner = open_.pop()
            if open_:
                heights[open_[-1]] = max(heights[open_[-1]], heights[inner] + 1)
    return heights


_STYLE = (
    ".dlk-spans mark{background:var(--fill);color:inherit;border:1px solid var(--line);"
    "border-radius:.3em;padding:calc(.08em + var(--up)*.16em) .25em;margin:0 .1em;"
    "box-decoration-break:clone;-webkit-box-decoration-break:clone}"
    ".dlk-spans mark.dlk-cont{border-inline-start-style:dashed}"
    ".dlk-label{color:var(--ink);font-size:.72em;font-weight:600;margin:0 .3em;"
    "vertical-align:.1em;line-height:1;white-space:nowrap}"
)
