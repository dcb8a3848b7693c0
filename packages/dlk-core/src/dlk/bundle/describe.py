"""What a bundle says of itself: inputs, the form of predictions, what it was made with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlk._installed import brought_by
from dlk.errors import RowError

__all__ = ["environment", "input_type", "locked", "nullable", "schema_of"]

# What core's own part of loading imports; further modules are named by components' `needs`.
_LOADING = ("attrs", "hjson", "intc", "numpy", "pluggy", "pyarrow", "safetensors", "tokenizers")
_ALWAYS = ("dlk-core", "torch", *_LOADING)
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_MAX_KEYS = 200


def schema_of(values: Sequence[Any]) -> dict[str, Any]:
    """Return a JSON Schema that all of the values meet, as narrow as a reader would want it.

    Objects whose keys differ from one another's are told by their values alone where these are
    alike, as of a mapping from labels to scores.
    """
    kinds = {_TYPES[type(value)] for value in values if type(value) in _TYPES}
    if {"integer", "number"} <= kinds:
        kinds.discard("integer")
    objects = [value for value in values if isinstance(value, Mapping)]
    lists = [value for value in values if isinstance(value, list)]
    found: dict[str, Any] = {}
    if objects:
        kinds.add("object")
        found |= _schema_of_objects(objects)
    if lists:
        kinds.add("array")
        items = [item for each in lists for item in each]
        if items:
            found["items"] = schema_of(items)
    if not kinds:
        return {}
    types = sorted(kinds)
    return {"type": types[0] if len(types) == 1 else types, **found}


def _schema_of_objects(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for each in objects for name in each)
    common = [name for name in names if all(name in each for each in objects)]
    if len(names) > _MAX_KEYS or (names and not common):
        values = [value for each in objects for value in each.values()]
        return {"additionalProperties": schema_of(values)}
    properties = {
        name: schema_of([each[name] for each in objects if name in each]) for name in names
    }
    return {"properties": properties, "required": common}


def input_type(stored: str) -> str:
    """Return the type of a raw column as a request gives it, from that in the processed data.

    Integers are stored in as few bytes as they need, which binds no request.
    """
    if stored.startswith(("int", "uint")):
        return "int64"
    return {"float": "double", "halffloat": "double", "large_string": "string"}.get(stored, stored)


def nullable(engine: Any, row: Mapping[str, Any], name: str) -> bool:
    """Return whether a row may have nothing in a column: tried, not guessed."""
    columns = {key: [value] for key, value in row.items()}
    try:
        (answer,) = engine.predict({**columns, name: [None]})
    except Exception:  # noqa: BLE001  # a step or collate that meets None may raise anything
        return False
    return not isinstance(answer, RowError)


def locked(needs: Iterable[Mapping[str, str]], modules: Iterable[str]) -> dict[str, str]:
    """Return the version of every distribution that loading needs, by name.

    Args:
        needs: the components, each with its distribution.
        modules: what their tables say they import, such as ``transformers``.
    """
    names = {need["distribution"] for need in needs if need["distribution"] != "local"}
    names |= {name for module in modules for name in brought_by(module)}
    found: dict[str, str] = {}
    for name in sorted({*names, *_ALWAYS}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Return what else decides the last digits: Python, system, processor."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
    }
