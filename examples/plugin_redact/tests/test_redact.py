from __future__ import annotations

from typing import Any

import pytest

from dlk_redact.plugin import dlk_change_predictions, dlk_change_rows, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.b+c@mail.example.org!", "write to [email]!"),
        ("call +44 20 7946 0958 now", "call [number] now"),
        ("in 2026, 12 of 345", "in 2026, 12 of 345"),
        ("", ""),
    ],
)
def test_addresses_and_long_numbers_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_only_texts_are_touched() -> None:
    columns: dict[str, list[Any]] = {"sentence": ["a@b.org", None], "uid": [12345678, 2]}
    assert dlk_change_rows(columns) == {"sentence": ["[email]", None], "uid": [12345678, 2]}


def test_predictions_say_so() -> None:
    assert dlk_change_predictions([{"label": "x"}]) == [{"label": "x", "redacted": True}]
