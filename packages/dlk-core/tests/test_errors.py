from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.errors import (
    BundleError,
    ConfigError,
    DataError,
    DlkError,
    PluginError,
    Problem,
    RowError,
    RunError,
    did_you_mean,
    nearest,
)

ERRORS = [
    DlkError("text"),
    DataError("text"),
    BundleError("text"),
    PluginError("text"),
    RunError("text"),
    ConfigError("text"),
    ConfigError([Problem("a.b", "text", "f", 1, 2), Problem("", "more")]),
    RowError(3, "label", {"a": 1}, "is no label"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_survives_pickle_with_its_parts_and_its_place(error: DlkError) -> None:
    error.place("imodel.model")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_place_stands_in_front_once() -> None:
    error = DataError("is empty")
    assert str(error) == "is empty"
    error.place("imodel.model.embedding")
    error.place("imodel.model")
    assert str(error) == "imodel.model.embedding: is empty"


def test_only_mistakes_without_a_place_of_their_own_get_one() -> None:
    error = ConfigError([Problem("a.b", "x"), Problem("", "y", "f.json", 1, 2), Problem("", "z")])
    error.place("imodel")
    assert str(error) == "a.b: x\nf.json:1:2: y\nimodel: z"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("a.b", "m", "f", 3, 4), "f:3:4 a.b: m"),
        (Problem("a.b", "m", "f"), "f a.b: m"),
        (Problem("a.b", "m"), "a.b: m"),
        (Problem("", "m", "f", 3, 4), "f:3:4: m"),
        (Problem("", "m"), "m"),
    ],
)
def test_a_problem_says_where_then_what(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_row_error_names_row_column_value_and_reason() -> None:
    error = RowError(7, "label", "x" * 500, "is no label")
    assert (error.row, error.column, error.value, error.reason) == (
        7,
        "label",
        "x" * 500,
        "is no label",
    )
    assert str(error).startswith("row 7, column 'label': is no label; got 'xxx")
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("focl", ["bce", "focal", "focal_two"], ["focal", "focal_two"]),
        ("FOCAL", ["focal"], ["focal"]),
        ("lstm", ["LSTM", "gru"], ["LSTM"]),
        ("xyz", ["focal"], []),
        ("", ["focal"], []),
        ("focal", [], []),
    ],
)
def test_the_nearest_come_first(word: str, known: list[str], found: list[str]) -> None:
    assert nearest(word, known) == found


@given(st.text(max_size=9), st.lists(st.text(max_size=9)))
def test_only_known_words_are_proposed(word: str, known: list[str]) -> None:
    assert set(nearest(word, known)) <= set(known)
    assert len(nearest(word, known, 2)) <= 2


def test_the_hint_names_the_nearest_then_what_is_known() -> None:
    assert did_you_mean("focl", ["dice", "focal"]) == 'Did you mean "focal"? Known: dice, focal.'
    assert did_you_mean("x", ["dice"]) == "Known: dice."
    assert did_you_mean("x", []) == ""
    assert did_you_mean("x", map(str, range(30))).endswith("… (30 in all).")
