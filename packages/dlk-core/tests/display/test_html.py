"""Pieces of HTML."""

from __future__ import annotations

import math
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.display.html import BARS_STYLE, Bar, bars, escaped, figure, number, shown, text_of, words
from dlk.testing.display import HOSTILE, Page


@settings(deadline=None)
@given(st.text())
def test_escaping_keeps_every_character_that_a_document_can_hold(text):
    result = escaped(text)
    assert not set(result) & set("<>\"'")
    back = unescape(result.replace("&#x27;", "'"))
    assert len(back) == len(text)
    assert all(a == b or b == "\ufffd" for a, b in zip(text, back, strict=True))


def test_what_no_document_can_hold_is_replaced_in_place():
    assert escaped("a\x00b\ud800c\u202ed\te\nf") == "a\ufffdb\ufffdc\u202ed\te\nf"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((1, 1.0), (0.5, 0.5), (True, None), ("1", None), (None, None), (math.nan, None)),
        *((math.inf, None), (10**400, None), ([1], None)),
    ],
)
def test_only_finite_numbers_are_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (0.0, "0"), (0.9, "0.9"), (-1.23456, "−1.235"), (1e-5, "1e-05"), (12.0, "12")],
)
def test_numbers_are_short(value, expected):
    assert shown(value) == expected


def test_labels_are_one_short_line_of_text():
    assert words(["a", None, "b\n c", 3]) == "a, b c, 3"
    assert words(None) == ""
    assert len(words("x" * 1000)) == 200
    assert text_of("x" * 1000) == "x" * 1000
    assert text_of(None) == ""


def test_bars_say_which_label_is_the_answer():
    body = bars([Bar("a", 0.5, True), Bar("b", None)], name="All")
    page = Page(body)
    assert page.mistakes == []
    assert page.text == "✓a50.0\u202f%b–"
    assert ("span", {"class": "dlk-check", "role": "img", "aria-label": "chosen"}) in page.elements


def test_a_figure_stands_alone():
    body = figure(
        "<p>x</p>", head=HOSTILE, label=HOSTILE, notes=[HOSTILE], style=BARS_STYLE, width=300
    )
    page = Page(body)
    assert page.mistakes == []
    assert page.elements[0][1]["aria-label"] == HOSTILE
    assert page.text == f"{HOSTILE}x{HOSTILE}"


def test_a_scheme_that_is_named_does_not_ask_the_system():
    def scheme(name):
        return figure("", label="x", width=300, scheme=name).partition(" dlk-")[2].partition('"')[0]

    assert [scheme(name) for name in ("auto", "light", "dark")] == ["auto", "light", "dark"]
