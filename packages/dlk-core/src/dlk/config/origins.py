"""Where each value of a resolved config comes from: a place in a file, a default, ``--set``, …"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dlk.config.expression import is_expression
from dlk.config.jsonc import Position
from dlk.config.keys import is_module, parse_key
from dlk.config.tree import Origin, Path, Tree

if TYPE_CHECKING:
    from dlk.config.reading import Point

__all__ = ["Source", "annotated", "sources"]

_WIDTH = 88  # a list or object without parts of its own stands on one line up to here
SET = "<--set>"


@dataclass(frozen=True, slots=True)
class Source:
    """Where one value comes from.

    Attributes:
        path: its config path, as messages and ``--set`` write it.
        keys: the keys and indices that lead to it in the resolved config.
        value: the value.
        kind: ``text``, ``base`` (another file's, through ``_base``), ``default``, ``set`` or
            ``search``.
        owner: for a default, type and name of the component whose default it is.
        file: the file that it stands in; empty where there is none.
        line: its line, from 1; 0 where there is no text.
        column: its column, from 1.
        expression: the text that was computed, empty for a plain value.
    """

    path: str
    keys: Path
    value: Any
    kind: str
    owner: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    expression: str = ""

    def __str__(self) -> str:
        place = f"{_near(self.file)}:{self.line}:{self.column}" if self.line else _near(self.file)
        words = {
            "default": f"default of {self.owner}",
            "set": "--set",
            "search": f"{place} (search point)",
            "base": f"{place} (_base)",
        }.get(self.kind, place or "given")
        return f"{words} = {_one_line(self.expression)}" if self.expression else words

    def plain(self) -> dict[str, Any]:
        """Return it as JSON; what it has not is left out."""
        found = {
            "path": self.path,
            "keys": list(self.keys),
            "value": self.value,
            "kind": self.kind,
            "owner": self.owner,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "expression": self.expression,
        }
        optional = ("owner", "file", "line", "column", "expression")
        return {k: v for k, v in found.items() if v or k not in optional}


def sources(point: Point) -> list[Source]:
    """Return the source of every value of a resolved config, in its order.

    Parts of a list or object are named one by one where they come from different places.
    """
    tree = point.tree
    above = {path[:length] for path in tree.origins for length in range(len(path))}
    return [_source(tree, keys, value) for keys, value in _leaves(point.resolved, (), tree, above)]


def annotated(point: Point) -> str:
    """Return a resolved config as JSONC, the source of each value in a comment behind it."""
    by_keys = {source.keys: source for source in sources(point)}
    lines = _Writer(point.tree, by_keys).lines(point.resolved, (), 0)
    return "\n".join(
        f"{line.text}  // {line.comment}" if line.comment else line.text for line in lines
    )


def _leaves(value: Any, keys: Path, tree: Tree, above: set[Path]) -> Iterator[tuple[Path, Any]]:
    """Yield path and value of all that has one source; `above` are the paths above known ones."""
    parts = _parts(value)
    is_whole = bool(keys) and not is_module(keys[-1]) and keys not in above
    if not parts or (is_whole and not _is_computed_inside(tree, keys)):
        yield keys, value
        return
    for key, part in parts:
        if key != "_name":
            yield from _leaves(part, (*keys, key), tree, above)


def _parts(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _is_computed_inside(tree: Tree, keys: Path) -> bool:
    origin = tree.origin(keys)
    return origin is not None and _holds_expression(_written(origin))


def _holds_expression(value: Any) -> bool:
    return any(is_expression(part) or _holds_expression(part) for _, part in _parts(value))


def _source(tree: Tree, keys: Path, value: Any) -> Source:
    name, origin = tree.name(keys), tree.origin(keys)
    if origin is None or not _is_written(tree, keys, origin):
        owner, default = _default(tree, keys)
        expression = default if is_expression(default) else ""
        return Source(name, keys, value, "default", owner, expression=expression)
    document = origin.document
    written = _written(origin)
    position = _position(origin)
    if document.file == SET:
        kind = "set"
    elif "_search" in origin.path:
        kind = "search"
    else:
        kind = "text" if document is tree.document else "base"
    return Source(
        name,
        keys,
        value,
        kind,
        file="" if kind == "set" else document.file,
        line=position.line,
        column=position.column,
        expression=str(written) if is_expression(written) else "",
    )


def _is_written(tree: Tree, keys: Path, origin: Origin) -> bool:
    """Return whether the text of the origin holds the value; a default stands in no text."""
    if keys not in tree.origins:
        known = next(k for k in range(len(keys), -1, -1) if keys[:k] in tree.origins)
        if _is_default_child(tree, keys[:known]):
            return False
    return _written(origin) is not _NOTHING


def _is_default_child(tree: Tree, keys: Path) -> bool:
    """Return whether a component stands there by default: it bears the origin of its parent."""
    return len(keys) > 1 and tree.origins.get(keys) is tree.origins.get(keys[:-1])


_NOTHING = object()


def _written(origin: Origin) -> Any:
    """Return what the origin's text says at its path, `_NOTHING` where it says nothing."""
    here = origin.document.value
    for part in origin.path:
        if part in dict(_parts(here)):
            here = here[part]
        elif isinstance(here, str) and "_search" in origin.path:
            return here  # the list of values is computed: this is its text
        else:
            return _NOTHING
    return here


def _position(origin: Origin) -> Position:
    for length in range(len(origin.path), -1, -1):
        found = origin.document.values.get(origin.path[:length])
        if found is not None:
            return found
    return Position(0, 0)


def _default(tree: Tree, keys: Path) -> tuple[str, Any]:
    """Return type and name of the component that a value belongs to, and the field's default."""
    from dlk.config._intc import default_of, fields_of
    from dlk.registry import register

    at = max((k for k, key in enumerate(keys) if is_module(key)), default=-1)
    if at < 0:
        return "dlk", None
    values = tree.values(keys[: at + 1])
    type_name, name = parse_key(str(keys[at])).type, str(values.get("_name") or "")
    fields = fields_of(register.config(type_name, name))
    below = keys[at + 1 :]
    value = default_of(fields[str(below[0])]) if below and below[0] in fields else None
    for part in below[1:]:
        value = value.get(part) if isinstance(value, Mapping) else None
    return f"{type_name} {name}".strip(), value


class _Line(NamedTuple):
    text: str
    comment: str = ""


class _Writer:
    """Writes a resolved config with its sources."""

    def __init__(self, tree: Tree, by_keys: Mapping[Path, Source]) -> None:
        self.tree = tree
        self.by_keys = by_keys

    def lines(self, value: Any, keys: Path, depth: int, label: str = "") -> list[_Line]:
        """Return the lines of a value, without a comma behind it."""
        source = self.by_keys.get(keys)
        if source is not None:
            return _plain_lines(value, str(source), depth, label)
        is_object = isinstance(value, Mapping)
        opener, closer = ("{", "}") if is_object else ("[", "]")
        mark = self.component(keys) if keys and is_module(keys[-1]) else ""
        made = [_Line(f"{'  ' * depth}{label}{opener}", mark)]
        parts = _parts(value)
        for number, (key, part) in enumerate(parts, start=1):
            name = f"{_json(key)}: " if is_object else ""
            if key == "_name":
                lines = [_Line(f"{'  ' * (depth + 1)}{name}{_json(part)}")]
            else:
                lines = self.lines(part, (*keys, key), depth + 1, name)
            if number < len(parts):
                lines[-1] = lines[-1]._replace(text=f"{lines[-1].text},")
            made += lines
        return [*made, _Line(f"{'  ' * depth}{closer}")]

    def component(self, keys: Path) -> str:
        """Return where a component stands, or whose default it is."""
        if not _is_default_child(self.tree, keys):
            return str(_source(self.tree, keys, None))
        holder = self.tree.values(keys[:-1])
        return f"default of {parse_key(str(keys[-2])).type} {holder.get('_name', '')}".strip()


def _plain_lines(value: Any, comment: str, depth: int, label: str) -> list[_Line]:
    pad = "  " * depth
    line = f"{pad}{label}{_json(value)}"
    if len(line) > _WIDTH and value and isinstance(value, (list, Mapping)):
        first, *others = json.dumps(value, ensure_ascii=False, indent=2).split("\n")
        return [_Line(f"{pad}{label}{first}", comment), *(_Line(f"{pad}{o}") for o in others)]
    return [_Line(line, comment)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _near(file: str) -> str:
    """Return a file's name from the working directory, where it lies in or below it."""
    if not file or "://" in file or file.startswith("<"):
        return file
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
