"""Checks of values against their fields: strict types, ranges, options, unknown keys, children."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from dlk.config._intc import FAILED, MISSING, fields_of
from dlk.config.expression import is_expression
from dlk.config.keys import is_module, parse_key
from dlk.config.tree import Path, Tree, spec_of
from dlk.errors import Problem, close_to, did_you_mean
from dlk.registry import register

__all__ = [
    "Mistake",
    "check_tree",
    "check_value",
    "expected",
    "mistakes_in",
    "mistakes_in_anchors",
    "mistakes_in_children",
    "mistakes_in_value",
]

_REFERENCE = re.compile(r"@(?:\$+|~|_G)\.[\w.@#-]+")
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


class Mistake(NamedTuple):
    """One mistake, and where in the tree it is.

    Attributes:
        path: keys and indices that lead there; of `check_value`, below the field.
        message: what was given and expected.
        code: a key of `dlk.errors.CODES`.
        suggestions: what could stand there, nearest first.
        help: the field's.
        key: it is the key that is wrong, not the value.
    """

    path: Path
    message: str
    code: str
    suggestions: tuple[str, ...] = ()
    help: str = ""
    key: bool = False

    def below(self, where: Path, field: Mapping[str, Any] | None = None) -> Mistake:
        """Return it with the path of its field in front, and the field's help."""
        return self._replace(path=(*where, *self.path), help=_help(field) if field else self.help)

    def problem(self, tree: Tree) -> Problem:
        """Return it with its position in the text."""
        return tree.problem(
            self.path,
            self.message,
            key=self.key,
            code=self.code,
            suggestions=self.suggestions,
            help=self.help,
        )


class _Stage(NamedTuple):
    """How far the reading of a config has come."""

    resolved: bool
    chosen: bool


def check_tree(tree: Tree, *, resolved: bool, chosen: bool = True) -> list[Problem]:
    """Return the mistakes in a tree, as `mistakes_in` finds them."""
    return [m.problem(tree) for m in mistakes_in(tree, resolved=resolved, chosen=chosen)]


def mistakes_in(tree: Tree, *, resolved: bool, chosen: bool = True) -> list[Mistake]:
    """Return the mistakes in a tree.

    Args:
        tree: names resolved, ``_search`` taken out.
        resolved: false for the tree as written: expressions are left for later.
        chosen: false where a search is still to choose values: missing ones are left for later.
    """
    stage = _Stage(resolved, chosen)
    found = [m for path, values in tree.modules() for m in _module(tree, path, values, stage)]
    return found if resolved else [*found, *mistakes_in_anchors(tree)]


def _module(tree: Tree, path: Path, values: Mapping[str, Any], stage: _Stage) -> Iterator[Mistake]:
    key = parse_key(str(path[-1]))
    name = str(values.get("_name") or "")
    fields = fields_of(register.config(key.type, name))
    spec = spec_of(key.type, name)
    for field_name, value in values.items():
        where = (*path, field_name)
        if field_name.startswith("@"):
            if spec is not None and parse_key(field_name).type not in spec:
                child = parse_key(field_name).type
                message = f'{key.type} "{name}" takes no {child}. {did_you_mean(child, spec)}'
                close = close_to(child, spec)
                yield Mistake(where, message.rstrip(), "child-not-allowed", close, key=True)
        elif field_name in fields:
            yield from _field(where, fields[field_name], value, stage)
        elif field_name not in ("_name", "_anchor"):
            yield _unknown_field(where, field_name, fields, spec or ())
    yield from _children(tree, path, values)


def _children(tree: Tree, path: Path, values: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield the children of a component that are missing or too many."""
    spec = spec_of(parse_key(str(path[-1])).type, str(values.get("_name") or ""))
    for child_type, rule in (spec or {}).items():
        found = [k for k in values if k.startswith("@") and parse_key(k).type == child_type]
        if len(found) < rule.minimum and (path, child_type) not in tree.unplaced:
            names = register.names(child_type)
            wanted = f"{rule.minimum} children" if rule.minimum > 1 else "a child"
            message = f'needs {wanted} "@{child_type}@…". Known: {", ".join(names)}.'
            close = _below(child_type)
            yield Mistake(path, message, "missing-child", close)
        if rule.maximum is not None and len(found) > rule.maximum:
            message = f"takes one {child_type}, got {', '.join(found)}"
            yield Mistake((*path, found[-1]), message, "too-many-children", key=True)


def _below(child_type: str) -> tuple[str, ...]:
    """Return keys of components that could stand below."""
    return tuple(f"@{child_type}@{known}" for known in register.names(child_type)[:3])


def mistakes_in_children(tree: Tree) -> list[Mistake]:
    """Return the components of which there are too many."""
    found = (m for path, values in tree.modules() for m in _children(tree, path, values))
    return [mistake for mistake in found if mistake.code == "too-many-children"]


def _unknown_field(
    where: Path, name: str, fields: Mapping[str, Any], children: Collection[str] = ()
) -> Mistake:
    key = f"@{name}"
    if is_module(key) and parse_key(key).type in children:
        close = (key,) if parse_key(key).name else _below(parse_key(key).type)
        example = f", such as {close[0]}" if close else ""
        message = f'there is no field "{name}": the key of a component begins with @{example}'
        return Mistake(where, message, "unknown-field", close, key=True)
    message = f'there is no field "{name}". {did_you_mean(name, fields)}'.rstrip()
    return Mistake(where, message, "unknown-field", close_to(name, fields), key=True)


def mistakes_in_anchors(tree: Tree) -> list[Mistake]:
    """Return the anchors that are no names, or that two components share."""
    return list(_anchors(tree))


def _anchors(tree: Tree) -> Iterator[Mistake]:
    taken: dict[str, Path] = {}
    for path, values in tree.modules():
        anchor = values.get("_anchor")
        where = (*path, "_anchor")
        if "_anchor" not in values:
            continue
        if not isinstance(anchor, str) or not anchor.isidentifier() or anchor in ("_G", "lambda"):
            message = f"expected a name of letters, digits and _, got {_shown(anchor)}"
            yield Mistake(where, message, "anchor")
        elif anchor in taken:
            message = f'"{anchor}" names {tree.name(taken[anchor])} already'
            yield Mistake(where, message, "anchor")
        else:
            taken[anchor] = path


def _field(where: Path, field: Mapping[str, Any], value: Any, stage: _Stage) -> Iterator[Mistake]:
    if field["type_name"] == "NestField" and isinstance(value, Mapping):
        nested = fields_of(field["object_type"])
        for name, part in value.items():
            if name in nested:
                yield from _field((*where, name), nested[name], part, stage)
            else:
                yield _unknown_field((*where, name), name, nested)
        return
    yield from (mistake.below(where, field) for mistake in _mistakes(field, value, stage))


def check_value(
    field: Mapping[str, Any], value: Any, *, resolved: bool = True
) -> Iterator[tuple[Path, str]]:
    """Yield (path below the field, message) for each mistake in a value.

    Unless it is `resolved`, expressions and missing values are no mistakes yet.
    """
    stage = _Stage(resolved=resolved, chosen=resolved)
    yield from ((m.path, m.message) for m in _mistakes(field, value, stage))


def mistakes_in_value(field: Mapping[str, Any], value: Any) -> list[Mistake]:
    """Return the mistakes in a value as it is written: expressions are left for later."""
    return list(_field((), field, value, _Stage(resolved=False, chosen=True)))


def _mistakes(field: Mapping[str, Any], value: Any, stage: _Stage) -> Iterator[Mistake]:
    if any(_same(value, addition) for addition in field.get("additions") or ()):
        return
    if value is FAILED:
        return
    if isinstance(value, str) and value == MISSING:
        if stage.chosen:
            yield Mistake((), f"is required: {_help(field)}", "missing-value")
        return
    if not stage.resolved and is_expression(value):
        return
    kind, options = field["type_name"], _options(field)
    if options is not None:
        if type(value) is int and kind == "FloatField":
            value = float(value)
        if not any(_same(value, option) for option in options):
            known = [option for option in options if isinstance(option, str)]
            close = close_to(value, known) if isinstance(value, str) else ()
            hint = f' Did you mean "{close[0]}"?' if close else ""
            yield Mistake((), f"{_mismatch(field, value)}{hint}", "unknown-option", close)
    elif not _fits(kind, value) or not _in_range(field, value):
        code = "out-of-range" if _fits(kind, value) else "wrong-type"
        close = _converted(kind, value)
        is_reference = isinstance(value, str) and _REFERENCE.fullmatch(value)
        hint = f'; a reference is written "@lambda {value}"' if is_reference else ""
        if is_reference:
            code, close = "reference", (f"@lambda {value}",)
        yield Mistake((), f"{_mismatch(field, value)}{hint}", code, close)
    elif kind == "MapField":
        yield from _renames(field, value)
    else:
        yield from _inside(field, value, (), stage)


def _converted(kind: str, value: Any) -> tuple[str, ...]:
    """Return what a value of the wrong type was meant to be, where that is plain to see."""
    if kind == "IntField" and isinstance(value, float) and value.is_integer():
        return (str(int(value)),)
    if kind == "BoolField" and type(value) is int and value in (0, 1):
        return ("true" if value else "false",)
    if not isinstance(value, str) or kind not in ("IntField", "FloatField", "BoolField"):
        return ()
    try:
        meant = json.loads(value)
    except ValueError:
        return ()
    return (value.strip(),) if _fits(kind, meant) else ()


def _renames(field: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield the mistakes of a MapField: its keys are closed, its values names."""
    for name, target in value.items():
        if name not in field["default"]:
            known = field["default"]
            message = f'there is no "{name}" to rename. {did_you_mean(name, known)}'.rstrip()
            yield Mistake((name,), message, "unknown-field", close_to(name, known), key=True)
        elif target is not FAILED and not isinstance(target, str):
            yield Mistake((name,), f"expected a name, got {_shown(target)}", "wrong-type")


def _options(field: Mapping[str, Any]) -> list[Any] | None:
    """Return the closed set of values, None where there is none (intc gives one to every bool)."""
    options: list[Any] | None = None if field["type_name"] == "BoolField" else field.get("enum")
    return options


def _mismatch(field: Mapping[str, Any], value: Any) -> str:
    return f"expected {expected(field)}, got {_shown(value)} ({_help(field)})"


def _in_range(field: Mapping[str, Any], value: Any) -> bool:
    """Return whether a value of the right type keeps to its limits."""
    if field["type_name"] in ("IntField", "FloatField"):
        low, high = field.get("minimum"), field.get("maximum")
        within = (low is None or value >= low) and (high is None or value <= high)
        return within and (field["type_name"] == "IntField" or _is_finite(value))
    if field["type_name"] == "StrField":
        low, high, pattern = field.get("min_len"), field.get("max_len"), field.get("pattern")
        within = (low is None or len(value) >= low) and (high is None or len(value) <= high)
        return within and (not pattern or re.match(pattern, value) is not None)
    return True


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


def expected(field: Mapping[str, Any]) -> str:
    """Return in words what a field takes: type, range, options."""
    options = _options(field)
    if options is not None:
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
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # no JSON, from code
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _same(a: Any, b: Any) -> bool:
    return bool(type(a) is type(b) and a == b)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _inside(field: Mapping[str, Any], value: Any, path: Path, stage: _Stage) -> Iterator[Mistake]:
    """Yield the mistakes that may stand anywhere inside of a value of any shape."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key == "_anchor":
                message = "only a component has an anchor"
                yield Mistake((*path, key), message, "anchor", key=True)
            elif key in ("_G", "_base", "_search"):  # a run's config could not be read back
                message = f'"{key}" has a meaning in configs and names no data: rename it'
                yield Mistake((*path, key), message, "reserved-key", key=True)
            elif isinstance(key, str):
                yield from _inside(field, part, (*path, key), stage)
            else:
                message = f"the keys of an object are texts, got {_shown(key)}"
                yield Mistake(path, message, "wrong-type", (str(key),))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _inside(field, part, (*path, number), stage)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Mistake(path, f"expected a finite number, got {value!r}", "out-of-range")
    elif isinstance(value, str):
        if value == MISSING and stage.chosen:
            yield Mistake(path, f"is required: {_help(field)}", "missing-value")
        elif _REFERENCE.fullmatch(value):
            message = f'a reference is written "@lambda {value}"'
            yield Mistake(path, message, "reference", (f"@lambda {value}",))
