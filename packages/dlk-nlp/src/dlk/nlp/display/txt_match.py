"""Two texts, and how well they match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlk.display.base import Display
from dlk.display.html import BARS_STYLE, bars, escaped, figure, number, text_of, toned, words
from dlk.nlp.display._gauge import GAUGE_STYLE, gauge
from dlk.nlp.display._labels import bars_of
from dlk.nlp.display._spans import listed
from dlk.nlp.display._texts import TEXTS_STYLE, two_texts
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.display.configs import TxtMatchDisplayConfig


@register("display", "txt_match")
class TxtMatchDisplay(Display):
    """The two texts; beneath them a bar for each label, where a prediction lists `predicts`.

    Where it does not, a gauge shows its value, or its score, which may belong to no label: that of
    a match stands beside the label "no" too. The label stands above it.
    """

    def __init__(self, config: TxtMatchDisplayConfig) -> None:
        super().__init__(config)
        self.keys = dict(config.input_map)
        self.labels = tuple(config.labels)
        self.top_k = config.top_k
        self.minimum, self.maximum = config.minimum, config.maximum

    def draw(self, prediction: Mapping[str, object]) -> str:
        found = {name: prediction.get(key) for name, key in self.keys.items()}
        given = [found["label"], *listed(found["labels"])]
        notes: list[str] = []
        if listed(found["predicts"]):
            rows, notes = bars_of(
                found["predicts"], given=given, score=found["score"], top_k=self.top_k
            )
            chart = bars(rows, name="Probability of each label", labels=self.labels)
        else:
            values = (number(found["value"]), number(found["score"]))
            value = next((value for value in values if value is not None), None)
            scale = gauge(value, minimum=self.minimum, maximum=self.maximum)
            chart = _answer([label for label in given if label is not None]) + scale
            if value is None:
                notes = ["The model gave no score."]
        return figure(
            two_texts(text_of(found["sentence_a"]), text_of(found["sentence_b"])) + chart,
            head=self.output_head,
            label="Two texts and how well they match",
            notes=notes,
            style=BARS_STYLE + TEXTS_STYLE + GAUGE_STYLE + _STYLE,
            width=self.width,
            scheme=self.color_scheme,
        )


def _answer(labels: Sequence[object]) -> str:
    """Return the labels given as one line, in their first one's colour."""
    if not labels:
        return ""
    text = words(labels)
    return f"<p {toned(words(labels[:1]), (), 'dlk-answer')}><bdi>{escaped(text)}</bdi></p>"


_STYLE = (
    ".dlk-answer{text-align:center;margin:.8em 0 0}.dlk-answer bdi{color:var(--ink);"
    "background:var(--fill);border:1px solid var(--line);border-radius:.3em;padding:.1em .6em;"
    "font-weight:600}"
)
