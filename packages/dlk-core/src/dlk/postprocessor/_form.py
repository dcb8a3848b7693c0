"""Pieces that the JSON Schemas of predictions are put together from (draft 2020-12).

https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "COUNT",
    "PROBABILITY",
    "copied_form",
    "form_of",
    "label_form",
    "prediction_form",
]

Form = dict[str, Any]
"""A JSON Schema: JSON, so its values may be anything."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MOST_LABELS = 10_000
"""Labels that a form lists, some 200 kB of bundle.json; of larger sets it says where they are."""

COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
PROBABILITY: Mapping[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}

_OUTPUT: Form = {
    "description": "numbers as the model gave them, in lists by its sizes; null: not finite",
    "anyOf": [
        {"type": ["boolean", "number", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/output"}},
    ],
}


def form_of(properties: Mapping[str, Any], *, optional: Iterable[str] = (), **rules: Any) -> Form:
    """Return the form of an object with exactly these keys, of which some may be missing."""
    absent = set(optional)
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in absent],
        "additionalProperties": False,
        **rules,
    }


def prediction_form(
    properties: Mapping[str, Any],
    *,
    columns: Mapping[str, str],
    outputs: Iterable[str],
    optional: Iterable[str] = (),
    definitions: Mapping[str, Any] | None = None,
    **rules: Any,
) -> Form:
    """Return the form of whole predictions.

    Args:
        properties: forms of the task's own keys.
        columns: {key: column of the row that it copies}; missing where the row lacks it.
        outputs: keys that hold a model's output as it is.
        optional: of the task's own keys, those that may be missing.
        definitions: forms by name, to which others refer as ``#/$defs/name``.
        rules: what else holds for the whole, as JSON Schema says it.
    """
    copied = {key: copied_form(column) for key, column in columns.items()}
    further = {key: {"$ref": "#/$defs/output"} for key in outputs}
    found = {
        "$schema": DIALECT,
        **form_of({**copied, **properties, **further}, optional=(*copied, *optional), **rules),
    }
    named = {**(definitions or {}), **({"output": _OUTPUT} if further else {})}
    return {**found, "$defs": named} if named else found


def copied_form(column: str) -> Form:
    """Return the form of what is copied from a row: anything."""
    return {"description": f'the column "{column}" of the row, as it was given'}


def label_form(labels: Sequence[str], source: str) -> Form | bool:
    """Return the form of one label: one of these; False, which nothing meets, where there is none.

    Args:
        labels: all that a prediction may hold.
        source: the file that has them.
    """
    if not labels:
        return False
    if len(labels) > MOST_LABELS:
        return {"type": "string", "description": f"one of {len(labels)} words of {source}"}
    return {"type": "string", "enum": list(labels)}
