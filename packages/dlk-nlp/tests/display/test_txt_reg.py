"""The display `txt_reg`."""

from __future__ import annotations

import math
import re
from typing import ClassVar

import pytest

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing import DisplayConformance


class TestTxtReg(DisplayConformance):
    component = ("display", "txt_reg")
    config: ClassVar = {"minimum": -4.0, "maximum": 4.0}

    def predictions(self):
        return [
            {"sentence": "Great!", "value": 3.25},
            {"sentence_a": "one", "sentence_b": "واحد", "value": None},
        ]


def draw(value, **config):
    config = {"minimum": -4.0, "maximum": 4.0, **config}
    return register.build(make("display", "txt_reg", config)).draw(
        {"sentence": "x", "value": value}
    )


@pytest.mark.parametrize(("value", "place"), [(-4, 20.0), (0, 200.0), (2.0, 290.0), (4, 380.0)])
def test_the_mark_stands_where_the_value_is_on_the_scale(value, place):
    (found,) = re.findall(r'<circle class="dlk-mark" cx="([\d.]+)"', draw(value))
    assert float(found) == place


def test_a_value_beyond_the_scale_is_written_as_it_is_and_marked_at_the_end():
    body = draw(7.5)
    assert ">7.5</text>" in body
    assert "<circle" not in body
    assert 'd="M372.0' in body
    assert 'd="M28.0' in draw(-90.0)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "3", True])
def test_what_is_no_number_has_no_mark(value):
    body = draw(value)
    assert "The model gave no value." in body
    assert "dlk-done" not in body.partition("</style>")[2]


def test_a_scale_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigError, match=r"maximum: must be above minimum, 4.0, got 4.0"):
        make("display", "txt_reg", {"minimum": 4.0, "maximum": 4.0})
