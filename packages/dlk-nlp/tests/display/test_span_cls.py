"""The display `span_cls`."""

from __future__ import annotations

import re

from dlk.config import make
from dlk.registry import register
from dlk.testing import DisplayConformance


class TestSpanCls(DisplayConformance):
    component = ("display", "span_cls")

    def predictions(self):
        nested = [
            {"start": 0, "end": 19, "labels": ["ORG"], "score": 0.9},
            {"start": 14, "end": 19, "labels": ["LOC", "GPE"], "score": 0.8},
            {"start": 10, "end": 24, "labels": ["X1"], "score": 0.1},
        ]
        return [
            {"sentence": "University of Paris, 1900", "entities_info": nested},
            {"sentence": "", "entities_info": None},
        ]


def test_a_box_around_others_is_higher_than_they_are():
    draw = register.build(make("display", "span_cls")).draw
    body = draw(
        {
            "sentence": "abcdef",
            "entities_info": [
                {"start": start, "end": end, "labels": ["x"]}
                for start, end in ((0, 6), (0, 3), (1, 2), (4, 5))
            ],
        }
    )
    assert re.findall(r"--up:(\d+)", body) == ["2", "1", "0", "0"]
