"""From the text's tree to a full one: names resolved, bases merged, default children filled in, overrides applied.

What leaves here holds every component under ``@type@name#alias`` with ``_base`` and ``_name`` inside, so that intc's
parser finds its class, and remembers for every part which file it came from.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlk.config import jsonc
from dlk.config._intc import MISSING
from dlk.config.keys import ModuleKey, join, locate, match_key, parse_key
from dlk.errors import ConfigError, DlkError, Problem, did_you_mean

__all__ = ["Origin", "Project", "Tree", "build_tree"]

Path = tuple[str | int, ...]
RESERVED = ("_base", "_name", "_search", "_anchor")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part of a tree came from: a document and the path in it."""

    document: jsonc.Document
    path: Path

    @property
    def folder(self) -> str:
        """Folder that relative file names start from."""
        file = self.document.file
        return os.path.dirname(os.path.abspath(file)) if file and not file.startswith("<") else os.getcwd()


@dataclass(slots=True)
class Project:
    """What the nearest ``.intc.json`` brings: named modules from files."""

    modules: dict[tuple[str, str], jsonc.Document] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """A config tree with the origin of its parts, and the mistakes met so far."""

    root: dict[str, Any]
    origins: dict[Path, Origin]
    problems: list[Problem]
    project: Project
    document: jsonc.Document

    def origin(self, path: Path) -> Origin | None:
        """Return where the part at `path` came from; the nearest part above where that is not known."""
        for length in range(len(path), -1, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                return Origin(origin.document, (*origin.path, *path[length:]))
        return None

    def problem(self, path: Path, message: str, *, key: bool = False) -> Problem:
        """Return the problem with the config path and the position of the part at `path`."""
        name = self.name(path)
        origin = self.origin(path)
        return origin.document.problem(origin.path, name, message, key=key) if origin else Problem(name, message)

    def name(self, path: Path) -> str:
        """Return the config path as messages and ``--set`` write it."""
        text, here = "", self.root
        for number, part in enumerate(path):
            if isinstance(part, int):
                text = f"{text}.{part}"
            else:
                siblings = here if isinstance(here, dict) else {}
                # Below the one root component (`fit`, `processor`) the paths start with its children.
                text = "" if number == 0 and len(path) > 1 and len(self.root) == 1 else join(text, part, siblings)
            here = here[part] if isinstance(here, (dict, list)) and _has(here, part) else None  # type: ignore[assignment,index]
        return text

    def copy(self) -> Tree:
        """Return a tree whose values can be changed without changing this one."""
        return Tree(copy.deepcopy(self.root), dict(self.origins), list(self.problems), self.project, self.document)

    def modules(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield path and values of every component, in the order of the text, parents first."""
        yield from _walk(self.root, ())

    def assign(self, path: str, value: Any, origin: Origin, *, below: Path = ()) -> None:
        """Set the value at a path, relative to the component at `below`; a component is replaced whole.

        Raises:
            ConfigError: the path leads nowhere.
        """
        start: Any = self.root
        for part in below:
            start = start[part]
        if not below and len(start) == 1 and match_key(start, path.split(".")[0], path) is None:
            only = next(iter(start))
            below, start = (only,), start[only]
        found, rest = locate(start, path)
        where = (*below, *found)
        holder = start
        for part in found[:-1] if not rest else found:
            holder = holder[part]
        if rest:
            if len(rest) > 1 or not isinstance(holder, dict):
                known = [k if not k.startswith("@") else parse_key(k).type for k in holder] if isinstance(holder, dict) else []
                raise ConfigError([Problem(path, f'there is no "{rest[0]}" here. {did_you_mean(rest[0], known)}')])
            self._create(where, holder, rest[0], value, origin)
            return
        last = found[-1]
        if isinstance(last, str) and last.startswith("@"):
            alias = parse_key(last).alias
            builder = _Builder(self)
            del holder[last]
            builder.place(where[:-1], holder, str(ModuleKey(parse_key(last).type, "", alias)), value, origin)
            return
        holder[last] = copy.deepcopy(value)
        self._forget(where)
        self.origins[where] = origin

    def _create(self, where: Path, holder: dict[str, Any], key: str, value: Any, origin: Origin) -> None:
        if key.startswith("@"):
            _Builder(self).place(where, holder, key, value, origin)
            return
        spec = _children_of(holder)
        if key in spec:
            _Builder(self).place(where, holder, f"@{key}", value, origin)
            return
        holder[key] = copy.deepcopy(value)
        self.origins[(*where, key)] = origin

    def _forget(self, where: Path) -> None:
        for path in [p for p in self.origins if p[: len(where)] == where and p != where]:
            del self.origins[path]


def build_tree(document: jsonc.Document, project: Project) -> tuple[Tree, dict[str, Any]]:
    """Return the tree of a document and its ``_G``; mistakes in names are collected in the tree."""
    value = document.value
    if not isinstance(value, dict):
        raise ConfigError([document.problem((), "", f"expected an object in braces, got {_kind(value)}")])
    tree = Tree({}, {(): Origin(document, ())}, [], project, document)
    global_values: dict[str, Any] = {}
    builder = _Builder(tree)
    for key, part in value.items():
        if key == "_G":
            if not isinstance(part, dict):
                tree.problems.append(document.problem((key,), "_G", f"expected an object, got {_kind(part)}"))
            else:
                global_values = copy.deepcopy(part)
        elif key.startswith("@"):
            builder.place((), tree.root, key, part, Origin(document, (key,)))
        else:
            tree.problems.append(
                document.problem((key,), key, 'expected a component such as "@fit" or "@processor@default" at the top', key=True)
            )
    if not tree.root and not tree.problems:
        raise ConfigError([document.problem((), "", 'expected a component such as "@fit" or "@processor@default", got an empty object')])
    return tree, global_values


class _Builder:
    """Places raw components into a tree: merges their bases, fills their default children."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def place(self, parent: Path, holder: dict[str, Any], key: str, raw: Any, origin: Origin) -> None:
        report = self.tree.problems.append
        try:
            parsed = parse_key(key)
        except ConfigError as error:
            report(origin.document.problem(origin.path, self.tree.name((*parent, key)), error.problems[0].message, key=True))
            return
        layers = self.layers(parsed, raw, origin, report)
        if layers is None:
            return
        concrete, stack = layers
        full = str(ModuleKey(parsed.type, parsed.name or concrete, parsed.alias))
        where = (*parent, full)
        if full in holder:
            report(origin.document.problem(origin.path, self.tree.name(where), f'"{full}" stands here twice; give each an #alias', key=True))
            return
        values: dict[str, Any] = {}
        holder[full] = values
        self.tree.origins[where] = origin
        spec = _spec(parsed.type, concrete)
        children: dict[str, list[tuple[Any, Origin]]] = {}
        for number, (layer, source) in enumerate(stack):
            own = number == len(stack) - 1
            for name, value in layer.items():
                if name in ("_base", "_name"):
                    continue
                if name in ("_search", "_anchor") and not own:
                    report(source.document.problem((*source.path, name), name, f"a base may not hold {name}", key=True))
                    continue
                here = Origin(source.document, (*source.path, name))
                if name.startswith("@"):
                    self.stack_child(children, name, value, here, spec)
                else:
                    values[name] = _merged(values.get(name), value)
                    self.tree.origins[(*where, name)] = here
        for child_key, versions in children.items():
            merged, source = versions[0]
            for newer, newer_source in versions[1:]:
                merged, source = _merged(_as_dict(merged), _as_dict(newer)), newer_source
            self.place(where, values, child_key, merged, source)
        if concrete:
            values["_base"] = values["_name"] = concrete
        present = {parse_key(k).type for k in values if k.startswith("@") and _is_key(k)}
        for child_type, children_spec in spec.items():
            if children_spec.default is not None and child_type not in present:
                self.place(where, values, f"@{child_type}@{children_spec.default}", {}, origin)

    def layers(
        self, key: ModuleKey, raw: Any, origin: Origin, report: Any
    ) -> tuple[str, list[tuple[dict[str, Any], Origin]]] | None:
        """Return the registered name at the bottom of the `_base` chain, and the layers from there upwards."""
        path = self.tree.name((str(key),)) if not self.tree.root else str(key).lstrip("@").split("@")[0].split("#")[0]
        if isinstance(raw, str) and raw != MISSING:
            raw = {"_base": raw}
        if not isinstance(raw, dict):
            got = "nothing (???)" if raw == MISSING else _kind(raw)
            report(origin.document.problem(origin.path, path, f"expected a component (an object or a name), got {got}"))
            return None
        base = raw.get("_base") or raw.get("_name") or key.name
        if not isinstance(base, str):
            report(origin.document.problem((*origin.path, "_base"), path, f"expected a name, got {_kind(base)}"))
            return None
        stack: list[tuple[dict[str, Any], Origin]] = [(raw, origin)]
        seen: list[str] = []
        while (key.type, base) in self.tree.project.modules:
            if base in seen:
                report(origin.document.problem(origin.path, path, f"the bases {' -> '.join([*seen, base])} lead in a circle"))
                return None
            seen.append(base)
            document = self.tree.project.modules[key.type, base]
            stack.insert(0, (document.value, Origin(document, ())))
            base = document.value.get("_base") or document.value.get("_name") or ""
        try:
            concrete = _registry().primary(key.type, base)
            _registry().config(key.type, concrete)
        except DlkError as error:
            where = (*origin.path, "_base") if isinstance(raw, dict) and "_base" in raw else origin.path
            report(origin.document.problem(where, path, str(error), key="_base" not in raw))
            return None
        return concrete, stack

    def stack_child(
        self, children: dict[str, list[tuple[Any, Origin]]], key: str, value: Any, origin: Origin, spec: Mapping[str, Any]
    ) -> None:
        """Add a layer's child: over the same child of a base, in place of another where only one may stand."""
        full = _canonical(key, value)
        type_name = full.removeprefix("@").split("@")[0].split("#")[0]
        only_one = type_name in spec and spec[type_name].maximum == 1
        if only_one and full not in children:
            for other in [k for k in children if k.removeprefix("@").split("@")[0].split("#")[0] == type_name]:
                if children[other][-1][1].document is not origin.document:
                    del children[other]
        children.setdefault(full, []).append((value, origin))


def _registry() -> Any:
    from dlk.registry import register

    return register


def _spec(type_name: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(_registry().config(type_name, name), "children", {})
    return found if isinstance(found, Mapping) else {}


def _children_of(values: Mapping[str, Any]) -> Mapping[str, Any]:
    for type_name in _registry().types():
        name = values.get("_name")
        if name and (type_name, name) in _registry():
            spec = _spec(type_name, name)
            if spec:
                return spec
    return {}


def _canonical(key: str, value: Any) -> str:
    if not _is_key(key):
        return key
    parsed = parse_key(key)
    if parsed.name:
        return key
    name = value if isinstance(value, str) else (value.get("_base") or value.get("_name") or "") if isinstance(value, dict) else ""
    return str(ModuleKey(parsed.type, name, parsed.alias)) if isinstance(name, str) and name and name != MISSING else key


def _is_key(key: str) -> bool:
    try:
        parse_key(key)
    except ConfigError:
        return False
    return True


def _as_dict(value: Any) -> Any:
    return {"_base": value} if isinstance(value, str) else value


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for key, value in new.items():
            result[key] = _merged(old.get(key), value)
        return result
    return copy.deepcopy(new)


def _has(holder: Any, part: str | int) -> bool:
    if isinstance(holder, dict):
        return part in holder
    return isinstance(part, int) and part < len(holder)


def _walk(values: dict[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for key, value in values.items():
        if key.startswith("@") and isinstance(value, dict):
            yield (*path, key), value
            yield from _walk(value, (*path, key))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)
