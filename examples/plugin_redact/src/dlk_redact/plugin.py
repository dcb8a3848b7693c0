"""Changes: no e-mail address and no long number reaches the model, and predictions say so.

Where it fails, dlk passes nothing on: what must not be seen is not seen by accident.
"""

from __future__ import annotations

import re
from typing import Any

from dlk.plugin import hookimpl

API = 1
PATTERNS = {
    "[email]": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "[number]": re.compile(r"\+?\d(?:[ -]?\d){6,}"),  # seven digits or more: phones, accounts
}


@hookimpl(tryfirst=True)  # before other plugins see the rows
def dlk_change_rows(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Hide addresses and numbers in all columns of text."""
    return {
        name: [redacted(value) if isinstance(value, str) else value for value in values]
        for name, values in columns.items()
    }


@hookimpl
def dlk_change_predictions(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say in each prediction that its input was redacted."""
    return [{**prediction, "redacted": True} for prediction in predictions]


def redacted(text: str) -> str:
    """Return the text with placeholders for addresses and numbers."""
    for placeholder, pattern in PATTERNS.items():
        text = pattern.sub(placeholder, text)
    return text
