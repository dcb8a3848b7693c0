"""Checks of values against their fields: strict types, ranges, options, unknown keys, children."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dlk.config._intc import MISSING, fields_of
from dlk.config.base import Children
from dlk.config.keys import parse_key
from dlk.config.tree import Path, Tree
from dlk.errors import Problem, did_you_mean

__all__ = ["check_tree", "check_value"]

_KINDS: dict[str, str] = {
    "IntField": "an integer",
    "FloatField": "a number",
    "BoolField": "true or false",
    "StrField": "text",
    "ListField": "a list",
    "DictField": "an object",
    "MapField": "an object of names",
    "NestField": "an object",
}


def check_tree(tree: Tree, *, resolved: bool) -> list[Problem]:
    """Return the mistakes in a tree, in order.

    Args:
        tree: names resolved, ``_search`` taken out.
        resolved: false for the tree as written: expressions and missing values are left for later.
    """
    return [problem for path, values in tree.modules() for problem in _module(tree, path, values, resolved)]


def _module(tree: Tree, path: Path, values: Mapping[str, Any], resolved: bool) -> Iterator[Problem]:
    from dlk.registry import register

    key = parse_key(str(path[-1]))
    config_class = register.config(key.type, str(values.get("_name") or ""))
    fields = fields_of(config_class)
    spec: Mapping[str, Children] = getattr(config_class, "children", {})
    for name, value in values.items():
        if name.startswith("_"):
            continue
        where = (*path, name)
        if name.startswith("@"):
            if spec and parse_key(name).type not in spec:
                known = [f"@{child}" for child in spec]
                message = f"{key.type} {values.get('_name', '')!r} takes no {parse_key(name).type}. {did_you_mean(name, known)}"
                yield tree.problem(where, message, key=True)
        elif name not in fields:
            yield tree.problem(where, f'there is no field "{name}". {did_you_mean(name, fields)}', key=True)
        else:
            yield from _field(tree, where, fields[name], value, resolved)
    if resolved:
        for name in fields:
            if name not in values:
                yield tree.problem(path, f'"{name}" is required: {_help(fields[name])}')
    for child_type, rule in spec.items():
        found = [k for k in values if k.startswith("@") and parse_key(k).type == child_type]
        if len(found) < rule.minimum:
            known = register.names(child_type)
            yield tree.problem(path, f'needs "@{child_type}@…". Known: {", ".join(sorted(known))}.')
        if rule.maximum is not None and len(found) > rule.maximum:
            yield tree.problem((*path, found[-1]), f"takes one {child_type}, got {', '.join(found)}", key=True)


def _field(tree: Tree, where: Path, field: Mapping[str, Any], value: Any, resolved: bool) -> Iterator[Problem]:
    if not resolved and _is_expression(value):
        return
    if field["type_name"] == "NestField" and isinstance(value, Mapping):
        nested = fields_of(field["object_type"])
        for name, part in value.items():
            if name not in nested:
                yield tree.problem((*where, name), f'there is no field "{name}". {did_you_mean(name, nested)}', key=True)
            else:
                yield from _field(tree, (*where, name), nested[name], part, resolved)
        return
    for inner, message in check_value(field, value, resolved=resolved):
        yield tree.problem((*where, *inner), message)


def check_value(field: Mapping[str, Any], value: Any, *, resolved: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield (path below the field, message) for each mistake in a value."""
    additions = field.get("additions") or []
    if any(_same(value, a) for a in additions):
        return
    if isinstance(value, str) and value == MISSING:
        if resolved:
            yield (), f"is required: {_help(field)}"
        return
    if not resolved and _is_expression(value):
        return
    kind = field["type_name"]
    expected = _expected(field)
    options = None if kind == "BoolField" else field.get("enum")
    if options is not None:
        if not any(_same(value, o) for o in options):
            known = [str(o) for o in options if isinstance(o, str)]
            hint = f" {did_you_mean(value, known)}" if isinstance(value, str) and known else ""
            yield (), f"expected {expected}, got {value!r}{hint} ({_help(field)})"
        return
    if not _fits(kind, value):
        yield (), f"expected {expected}, got {_shown(value)} ({_help(field)})"
        return
    if kind in ("IntField", "FloatField"):
        low, high = field.get("minimum"), field.get("maximum")
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            yield (), f"expected {expected}, got {value!r} ({_help(field)})"
    elif kind == "StrField":
        low, high, pattern = field.get("min_len"), field.get("max_len"), field.get("pattern")
        too_short = low is not None and len(value) < low
        if too_short or (high is not None and len(value) > high) or (pattern and not re.match(pattern, value)):
            yield (), f"expected {expected}, got {value!r} ({_help(field)})"
    elif kind == "MapField":
        for name, target in value.items():
            if name not in field["default"]:
                yield (name,), f'there is no "{name}" to rename. {did_you_mean(name, field["default"])}'
            elif not isinstance(target, str):
                yield (name,), f"expected a name, got {_shown(target)}"
    if resolved and kind in ("ListField", "DictField", "AnyField"):
        for inner in _missing(value):
            yield inner, f"is required: {_help(field)}"


def _fits(kind: str, value: Any) -> bool:
    if kind == "IntField":
        return type(value) is int
    if kind == "FloatField":
        return type(value) in (int, float)
    if kind == "BoolField":
        return type(value) is bool
    if kind == "StrField":
        return isinstance(value, str)
    if kind == "ListField":
        return isinstance(value, list)
    if kind in ("DictField", "MapField", "NestField"):
        return isinstance(value, dict)
    return True


def _expected(field: Mapping[str, Any]) -> str:
    options = field.get("enum")
    if options is not None and field["type_name"] != "BoolField":
        return "one of " + ", ".join(_shown(o) for o in options)
    text = _KINDS.get(field["type_name"], "a value")
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        text += f" from {low} to {high}"
    elif low is not None:
        text += f" >= {low}"
    elif high is not None:
        text += f" <= {high}"
    if field.get("min_len") is not None:
        text += f" of at least {field['min_len']} characters"
    if field.get("max_len") is not None:
        text += f" of at most {field['max_len']} characters"
    if field.get("pattern"):
        text += f" that matches {field['pattern']}"
    additions = field.get("additions") or []
    return " or ".join([text, *(_shown(a) for a in additions)])


def _help(field: Mapping[str, Any]) -> str:
    return str(field.get("description") or "no help")


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and a == b)


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and "@lambda" in value


def _missing(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, str):
        if value == MISSING:
            yield path
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _missing(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _missing(part, (*path, number))
