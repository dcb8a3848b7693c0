"""Probabilities of a text's labels as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlk.display.base import Display
from dlk.display.html import BARS_STYLE, bars, figure, text_of
from dlk.nlp.display._labels import bars_of
from dlk.nlp.display._spans import listed
from dlk.nlp.display._texts import TEXTS_STYLE, one_text, two_texts
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.display.configs import TxtClsDisplayConfig


@register("display", "txt_cls")
class TxtClsDisplay(Display):
    """The text, or the two of a pair, and a bar for each label; what was given has a tick."""

    def __init__(self, config: TxtClsDisplayConfig) -> None:
        super().__init__(config)
        self.keys = dict(config.input_map)
        self.labels = tuple(config.labels)
        self.top_k = config.top_k

    def draw(self, prediction: Mapping[str, object]) -> str:
        found = {name: prediction.get(key) for name, key in self.keys.items()}
        rows, notes = bars_of(
            found["predicts"],
            given=[found["label"], *listed(found["labels"])],
            score=found["score"],
            top_k=self.top_k,
        )
        return figure(
            texts(found) + bars(rows, name="Probability of each label", labels=self.labels),
            head=self.output_head,
            label="Text with the probabilities of its labels",
            notes=notes,
            style=BARS_STYLE + TEXTS_STYLE,
            width=self.width,
            scheme=self.color_scheme,
        )


def texts(found: Mapping[str, object]) -> str:
    """Return the one text of a prediction, or its two."""
    pair = found["sentence_a"], found["sentence_b"]
    if pair == (None, None):
        return one_text(text_of(found["sentence"]))
    return two_texts(*map(text_of, pair))
