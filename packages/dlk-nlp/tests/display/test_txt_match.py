"""The display `txt_match`."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dlk.config import make
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing import DisplayConformance

PAIR = {"sentence_a": "iPhone 12", "sentence_b": "آيفون ١٢"}


class TestTxtMatch(DisplayConformance):
    component = ("display", "txt_match")
    config: ClassVar = {"minimum": -1.0}

    def predictions(self):
        return [
            {**PAIR, "label": "same", "score": 0.9, "predicts": [{"label": "same", "score": 0.9}]},
            {**PAIR, "labels": ["same"], "predicts": []},
            {**PAIR, "score": 0.25},
            {**PAIR, "value": None},
        ]


def draw(prediction, name="txt_match", **config):
    return register.build(make("display", name, config)).draw(prediction)


def test_a_list_of_labels_is_bars_and_a_number_is_a_gauge():
    predicts = [{"label": "same", "score": 0.9}]
    body = draw({**PAIR, "label": "same", "score": 0.9, "predicts": predicts})
    assert "dlk-bars" in body.partition("</style>")[2]
    for key in ("score", "value"):
        body = draw({**PAIR, key: 0.25}).partition("</style>")[2]
        assert "dlk-bars" not in body
        assert 'aria-label="0.25 on a scale from 0 to 1"' in body


def test_a_label_stands_above_the_score_which_is_not_its_own():
    # of the postprocessor txt_match: the score is that of a match
    body = draw({**PAIR, "label": "no", "score": 0.1}).partition("</style>")[2]
    assert "<bdi>no</bdi>" in body
    assert "%" not in body.partition("<svg")[0]
    assert 'aria-label="0.1 on a scale from 0 to 1"' in body


def test_it_goes_by_its_older_name_for_numbers_too():
    assert draw({**PAIR, "value": 0.5}, "txt_match_reg") == draw({**PAIR, "value": 0.5})


def test_a_visitor_fills_in_both_texts():
    display = register.build(make("display", "txt_match", {"hold": {"lang": "en"}}))
    assert display.row(PAIR) == {**PAIR, "lang": "en"}
    with pytest.raises(DataError, match="nothing was given for sentence_b"):
        display.row({"sentence_a": "x"})
    with pytest.raises(DataError, match='no input "sentence_c"'):
        display.row({**PAIR, "sentence_c": "x"})


def test_a_scale_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigError, match=r"maximum: must be above minimum, 2.0, got 1.0"):
        make("display", "txt_match", {"minimum": 2.0})
