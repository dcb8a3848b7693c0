"""The value of a text on a scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dlk.display.base import Display
from dlk.display.html import figure, number
from dlk.nlp.display._gauge import GAUGE_STYLE, gauge
from dlk.nlp.display._texts import TEXTS_STYLE
from dlk.nlp.display.txt_cls import texts
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.display.configs import TxtRegDisplayConfig


@register("display", "txt_reg")
class TxtRegDisplay(Display):
    """The text, or the two of a pair, and a gauge with the value."""

    def __init__(self, config: TxtRegDisplayConfig) -> None:
        super().__init__(config)
        self.keys = dict(config.input_map)
        self.minimum, self.maximum = config.minimum, config.maximum

    def draw(self, prediction: Mapping[str, object]) -> str:
        found = {name: prediction.get(key) for name, key in self.keys.items()}
        value = number(found["value"])
        return figure(
            texts(found) + gauge(value, minimum=self.minimum, maximum=self.maximum),
            head=self.output_head,
            label="Text with its value",
            notes=["The model gave no value."] if value is None else [],
            style=TEXTS_STYLE + GAUGE_STYLE,
            width=self.width,
            scheme=self.color_scheme,
        )
