"""The display `txt_cls`."""

from __future__ import annotations

import math
import re
from typing import ClassVar

from dlk.config import make
from dlk.registry import register
from dlk.testing import DisplayConformance

PREDICTS = [
    {"label": "a", "score": 0.7},
    {"label": "b", "score": 0.2},
    {"label": "c", "score": 0.1},
]


class TestTxtCls(DisplayConformance):
    component = ("display", "txt_cls")
    config: ClassVar = {"labels": ["a", "b", "c"]}

    def predictions(self):
        return [
            {"sentence": "Why?", "label": "a", "score": 0.7, "predicts": PREDICTS},
            {"sentence_a": "Why?", "sentence_b": "لماذا؟", "labels": ["a"], "predicts": PREDICTS},
            {"sentence": "Why?", "label": None, "score": None, "predicts": []},
        ]


def draw(prediction, **config):
    return register.build(make("display", "txt_cls", config)).draw(prediction)


def lines(body):
    """(label, percent, whether it was given) of each bar."""
    found = re.findall(r"<tr.*?</tr>", body)
    return [
        (
            re.search(r"<bdi[^>]*>(.*?)</bdi>", line)[1],
            re.search(r'dlk-value">(.*?)<', line)[1],
            "✓" in line,
        )
        for line in found
    ]


def test_each_label_has_a_bar_as_long_as_its_probability_the_best_first():
    body = draw({"sentence": "x", "label": "a", "predicts": PREDICTS[::-1]})
    assert lines(body) == [
        ("a", "70.0\u202f%", True),
        ("b", "20.0\u202f%", False),
        ("c", "10.0\u202f%", False),
    ]
    assert re.findall(r'<span style="width:([\d.]+)%"', body) == ["70.00", "20.00", "10.00"]


def test_top_k_labels_are_drawn_and_the_rest_is_counted():
    body = draw({"sentence": "x", "label": "a", "predicts": PREDICTS}, top_k=2)
    assert [line[0] for line in lines(body)] == ["a", "b"]
    assert "The 2 most probable of 3 labels." in body
    assert len(lines(draw({"predicts": PREDICTS}, top_k=0))) == 3


def test_all_labels_given_have_a_tick():
    body = draw({"sentence": "x", "labels": ["a", "c"], "predicts": PREDICTS})
    assert [line[2] for line in lines(body)] == [True, False, True]
    assert "No label was given." in draw({"labels": [], "predicts": PREDICTS})


def test_a_pair_has_its_two_texts_side_by_side():
    body = draw({"sentence_a": "one", "sentence_b": "two", "predicts": PREDICTS})
    assert re.findall(r'<p class="dlk-text[^>]*>(.*?)</p>', body) == ["one", "two"]


def test_a_score_that_is_no_number_has_no_bar_and_stands_last():
    predicts = [{"label": "a", "score": math.nan}, {"label": "b", "score": None}, PREDICTS[2]]
    body = draw({"predicts": predicts})
    assert [line[:2] for line in lines(body)] == [("c", "10.0\u202f%"), ("a", "–"), ("b", "–")]


def test_a_score_beyond_one_has_a_full_bar_and_its_own_number():
    body = draw({"predicts": [{"label": "a", "score": 3.0}]})
    assert lines(body) == [("a", "300.0\u202f%", False)]
    assert 'width:100.00%"' in body


def test_a_label_without_a_list_has_a_bar_of_its_own():
    assert lines(draw({"label": "a", "score": 0.4})) == [("a", "40.0\u202f%", True)]
    assert "The model gave no probabilities." in draw({"label": None, "predicts": []})
