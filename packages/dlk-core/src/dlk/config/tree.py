"""From the text's tree to a full one: names resolved, bases merged, defaults filled in, overrides.

What leaves here holds every component under ``@type@name#alias`` with the registered name as
``_name``, all of its fields, and the children that stand there by default. It remembers for every
part which file it came from.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dlk.config import jsonc
from dlk.config._intc import MISSING, default_children, default_of, fields_of
from dlk.config.expression import Budget
from dlk.config.keys import ModuleKey, is_module, join, locate, match_key, parse_key
from dlk.errors import ConfigError, DlkError, Problem, close_to, did_you_mean, nearest

__all__ = ["Origin", "Path", "Project", "Tree", "build_tree", "spec_of"]

Path = tuple[str | int, ...]
_MAX_DEPTH = 50
_TOP = ("@fit", "@processor", "_G")
_MERGING = ("NestField", "MapField")  # a value of these is laid over the default, key by key


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part of a tree came from: a document and the path in it.

    Attributes:
        document: the text.
        path: keys and indices that lead to the part in the text.
        note: what the position does not tell: whose base it is, which override, which value of a
            search.
    """

    document: jsonc.Document
    path: Path
    note: str = ""

    @property
    def folder(self) -> str:
        """Folder that relative file names start from; the working directory outside of files."""
        return folder_of(self.document.file)

    def below(self, *parts: str | int) -> Origin:
        """Return the origin of a part of this part."""
        return Origin(self.document, (*self.path, *parts), self.note)

    def written(self) -> Any:
        """Return what the text holds there, None where it holds nothing."""
        here: Any = self.document.value
        for part in self.path:
            here = _part(here, part)
        return here

    def __str__(self) -> str:
        position = self.document.position(self.path)
        file = self.document.file
        return f"{file}:{position.line}:{position.column}" if position else file


def folder_of(file: str) -> str:
    """Return the folder of a config's file, the working directory where there is no file."""
    if not file or file.startswith("<"):
        return os.getcwd()
    return file.rpartition("/")[0] if "://" in file else os.path.dirname(os.path.abspath(file))


class Layer(NamedTuple):
    """One of the objects that make up a component: a base, or what the config itself says."""

    raw: Any
    origin: Origin


@dataclass(slots=True)
class Project:
    """What the nearest ``.intc.json`` brings: named modules from files."""

    modules: dict[tuple[str, str], jsonc.Document] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """A config tree with the origin of its parts, and the mistakes met so far.

    Attributes:
        root: the components at the top, by key.
        origins: where parts came from; a part that is not named came with the nearest one above it.
        problems: the mistakes.
        project: what the nearest ``.intc.json`` brings.
        document: the text.
        unplaced: path of a component and type of a child below it that was refused.
        computed: of values that were computed, what they were computed from, in words.
        budget: what the expressions of its searches may take; a copy has its own.
    """

    root: dict[str, Any]
    origins: dict[Path, Origin]
    problems: list[Problem]
    project: Project
    document: jsonc.Document
    unplaced: set[tuple[Path, str]] = field(default_factory=set)
    computed: dict[Path, str] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def origin(self, path: Path) -> Origin | None:
        """Return where the part at `path` came from, by the nearest known part above it.

        What stands there by default comes from where the component stands that it belongs to.
        """
        known = self._known(path)
        if known is None:
            return None
        origin = self.origins[known]
        return origin if self.is_default_child(known) else origin.below(*path[len(known) :])

    def _known(self, path: Path) -> Path | None:
        lengths = range(len(path), -1, -1)
        return next((path[:n] for n in lengths if path[:n] in self.origins), None)

    def is_default_child(self, path: Path) -> bool:
        """Return whether a component stands there by default: it bears the origin of its parent."""
        return len(path) > 1 and self.origins.get(path) is self.origins.get(path[:-1])

    def problem(
        self,
        path: Path,
        message: str,
        *,
        key: bool = False,
        code: str = "",
        suggestions: Sequence[str] = (),
        help: str = "",
    ) -> Problem:
        """Return the problem with the config path and the position of the part at `path`."""
        name, note = self.name(path), self.note(path, is_given=code != "missing-value")
        origin = self.origin(path)
        if origin is None:
            return Problem(
                name, message, code=code, suggestions=tuple(suggestions), help=help, origin=note
            )
        return origin.document.problem(
            origin.path,
            name,
            message,
            key=key,
            code=code,
            suggestions=suggestions,
            help=help,
            origin=note,
        )

    def note(self, path: Path, *, is_given: bool = True) -> str:
        """Return in words where the part at `path` comes from, as far as its position is silent.

        Args:
            path: of the part.
            is_given: there is a value, which may be a default; else it is one that is missing.
        """
        lengths = range(len(path), 0, -1)
        words = [self.computed[path[:n]] for n in lengths if path[:n] in self.computed][:1]
        above = next((path[:n] for n in lengths if all(map(is_module, path[:n]))), ())
        known = self._known(path)
        if above and is_given and len(above) < len(path) and self._is_default(path, above, known):
            words.append(f"a default of {self._called(above)}")
        if self.is_default_child(above) and known == above:
            words.append(f"the default {parse_key(str(above[-1])).type} of {self.name(above[:-1])}")
        if known is not None and self.origins[known].note:
            words.append(self.origins[known].note)
        return ", ".join(words)

    def _called(self, path: Path) -> str:
        type_name = parse_key(str(path[-1])).type
        name = self.values(path).get("_name", "")
        return f"{type_name} {name}".strip()

    def _is_default(self, path: Path, above: Path, known: Path | None) -> bool:
        """Return whether no text holds the value of a field, or of a part of one."""
        if known is None or len(known) <= len(above):
            return True
        here = self.origins[known].written()
        for part in path[len(known) :]:
            if not isinstance(here, dict):
                return False
            if part not in here:
                return True
            here = here[part]
        return False

    def name(self, path: Path) -> str:
        """Return the config path as messages and ``--set`` write it.

        Below the one root component (`fit`, `processor`) paths start with its children.
        """
        if len(path) > 1 and len(self.root) == 1 and path[0] in self.root:
            here: Any = self.root[str(path[0])]
            path, text = path[1:], ""
        else:
            here, text = self.root, ""
        for part in path:
            siblings = here if isinstance(here, dict) else {}
            text = join(text, str(part), siblings)
            here = _part(here, part)
        return text

    def copy(self) -> Tree:
        """Return a tree whose values can be changed without changing this one."""
        return Tree(
            copy.deepcopy(self.root),
            dict(self.origins),
            list(self.problems),
            self.project,
            self.document,
            set(self.unplaced),
            dict(self.computed),
        )

    def modules(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield path and values of every component, in the order of the text, parents first."""
        yield from _walk(self.root, ())

    def values(self, path: Path) -> Any:
        """Return what stands at a path of keys and indices."""
        here: Any = self.root
        for part in path:
            here = here[part]
        return here

    def assign(self, path: str, value: Any, origin: Origin, *, below: Path = ()) -> Path:
        """Set the value at a dotted path, relative to `below`; a component is replaced whole.

        Returns:
            Where the value stands now.

        Raises:
            ConfigError: the path leads nowhere.
        """
        if (
            not below
            and len(self.root) == 1
            and match_key(self.root, path.split(".", maxsplit=1)[0]) is None
        ):
            below = (next(iter(self.root)),)
        found, rest = locate(self.values(below), path)
        where = (*below, *found)
        if path.rpartition(".")[2] in ("_base", "_name"):
            message = "to replace a component, set it whole, as in optimizer=adamw"
            raise ConfigError(message, code="override")
        if rest:
            return self._create(where, rest, value, origin)
        holder, last = self.values(where[:-1]), where[-1]
        if is_module(last):
            return self._replace(where, value, origin)
        value = copy.deepcopy(value)
        if isinstance(value, dict) and _is_component(where[:-1]):
            own = parse_key(str(where[-2]))
            fields = fields_of(_registry().config(own.type, holder.get("_name", "")))
            if fields.get(str(last), {}).get("type_name") in _MERGING:
                value = {**default_of(fields[str(last)]), **value}
        holder[last] = value
        self._forget(where)
        self.origins[where] = origin
        return where

    def _replace(self, where: Path, value: Any, origin: Origin) -> Path:
        """Put another component where one stands, in the same place among its neighbours."""
        holder, last = self.values(where[:-1]), str(where[-1])
        key = parse_key(last)
        order = list(holder)
        after = [(k, holder[k]) for k in order[order.index(last) + 1 :]]
        replaced = holder.pop(last).get("_name", "")
        self._forget(where)
        self.origins.pop(where, None)
        if isinstance(value, Mapping) and not value.get("_base", value.get("_name")):
            value = {"_base": replaced, **value}
        new = str(ModuleKey(key.type, "", key.alias))
        made = _Builder(self).place(where[:-1], holder, new, [Layer(value, origin)])
        for name, part in after:
            del holder[name]
            holder[name] = part
        return (*where[:-1], made) if made else where

    def _create(self, where: Path, rest: Sequence[str], value: Any, origin: Origin) -> Path:
        holder, key = self.values(where), rest[0]
        children: Mapping[str, Any] = {}
        known: list[str] = []
        if _is_component(where):
            own = parse_key(str(where[-1]))
            children = spec_of(own.type, holder.get("_name", "")) or {}
            known = [parse_key(k).type if is_module(k) else k for k in holder if k[:1] != "_"]
            known += children
            new = "@" + key.removeprefix("@")
            if len(rest) == 1 and is_module(new) and parse_key(new).type in children:
                made = _Builder(self).place(where, holder, new, [Layer(value, origin)])
                return (*where, made) if made else where
            may_hold = key in ("_search", "_anchor")
        else:
            may_hold = isinstance(holder, dict) and bool(where)
            known = [k.removeprefix("@") for k in holder] if isinstance(holder, dict) else []
        if len(rest) > 1 or not may_hold:
            raise ConfigError(
                f'there is no "{key}" here. {did_you_mean(key, known)}'.rstrip(),
                code="unknown-path",
                suggestions=close_to(key, known),
            )
        holder[key] = copy.deepcopy(value)
        self.origins[(*where, key)] = origin
        return (*where, key)

    def _forget(self, where: Path) -> None:
        for path in [p for p in self.origins if p[: len(where)] == where and p != where]:
            del self.origins[path]


def build_tree(document: jsonc.Document, project: Project) -> tuple[Tree, dict[str, Any]]:
    """Return the tree of a document and its ``_G``; mistakes in names are collected in the tree."""
    value = document.value
    if not isinstance(value, dict):
        message = f"expected an object, got {_kind(value)}"
        raise ConfigError([document.problem((), "", message, code="top-level")])
    origin = Origin(document, ())
    tree = Tree({}, {(): origin}, [], project, document)
    global_values: dict[str, Any] = {}
    builder = _Builder(tree)
    for key, part in value.items():
        if key == "_G" and isinstance(part, dict):
            global_values = copy.deepcopy(part)
            tree.problems += [
                document.problem(path, ".".join(map(str, path)), message, key=True, code="globals")
                for path, message in _wrong_globals(part, ("_G",))
            ]
        elif key == "_G":
            message = f"expected an object, got {_kind(part)}"
            tree.problems.append(document.problem((key,), "_G", message, code="globals"))
        elif key.startswith("@"):
            builder.place((), tree.root, key, [Layer(part, origin.below(key))])
        else:
            message = 'expected a component such as "@fit" or "@processor@default" at the top'
            close = close_to(f"@{key}", _TOP)
            tree.problems.append(
                document.problem(
                    (key,), key, message, key=True, code="top-level", suggestions=close
                )
            )
    if not tree.root and not tree.problems:
        message = 'expected a component such as "@fit" or "@processor@default", got none'
        raise ConfigError([document.problem((), "", message, code="top-level")])
    return tree, global_values


def _wrong_globals(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and message of each key under ``_G`` that cannot be referred to."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        here = (*path, key)
        if key == "_anchor":
            yield here, "only a component has an anchor"
        elif isinstance(value, dict) and not isinstance(key, str):
            yield here, f"the keys of an object are texts, got {key!r}"
        elif isinstance(part, (dict, list)):
            yield from _wrong_globals(part, here)


class _Builder:
    """Places components into a tree: finds their bases, merges, fills in fields and children."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def place(
        self, parent: Path, holder: dict[str, Any], key: str, given: Sequence[Layer]
    ) -> str | None:
        """Put a component into `holder` under its full key, which is returned; None if it failed.

        Args:
            parent: path of `holder`.
            holder: values of the component above, or the root.
            key: ``@type``, ``@type@name``, either with ``#alias``.
            given: what makes it up, the last one on top.
        """
        origin = given[-1].origin
        if not is_module(key):
            message = f'"{key}" is no component key: expected "@type@name" or "@type@name#alias"'
            self.report(origin, (*parent, key), message, key=True, code="component-key")
            self.tree.unplaced.add((parent, re.split(r"\W", key[1:], maxsplit=1)[0]))
            return None
        parsed = parse_key(key)
        if len(parent) > _MAX_DEPTH:
            message = f"nested deeper than {_MAX_DEPTH} components"
            self.report(origin, (*parent, key), message, code="nesting")
            return None
        stacked = self.stack((*parent, key), parsed, given)
        if stacked is None:
            self.tree.unplaced.add((parent, parsed.type))
            return None
        written, concrete, layers = stacked
        full = str(ModuleKey(parsed.type, parsed.name or written, parsed.alias))
        if full in holder:
            message = f'"{full}" stands here twice; give each an #alias'
            self.report(origin, (*parent, key), message, key=True, code="repeated-key")
            return None
        where = (*parent, full)
        values: dict[str, Any] = {"_name": concrete} if concrete else {}
        holder[full] = values
        self.tree.origins[where] = origin
        self.fill(where, values, parsed.type, concrete, layers)
        return full

    def fill(
        self, where: Path, values: dict[str, Any], type_name: str, name: str, layers: list[Layer]
    ) -> None:
        """Fill in the fields and children of a component from its defaults and layers."""
        config_class = _registry().config(type_name, name)
        fields = fields_of(config_class)
        spec = spec_of(type_name, name) or {}
        values.update({n: default_of(f) for n, f in fields.items()})
        children: dict[str, list[tuple[int, Layer]]] = {}
        touched: set[str] = set()
        for number, (raw, origin) in enumerate(layers):
            for key, value in raw.items():
                here = origin.below(key)
                if key in ("_base", "_name"):
                    continue
                if key in ("_search", "_anchor") and number < len(layers) - 1:
                    message = f"a base may not hold {key}"
                    self.report(here, (*where, key), message, key=True, code="base-content")
                elif key.startswith("@"):
                    full = _stacked_key(children, key, value, number, spec)
                    if full in children and children[full][-1][0] == number:
                        message = f'"{full}" stands here twice; give each an #alias'
                        self.report(here, (*where, key), message, key=True, code="repeated-key")
                    else:
                        children.setdefault(full, []).append((number, Layer(value, here)))
                else:
                    merges = key in touched or fields.get(key, {}).get("type_name") in _MERGING
                    self.merge((*where, key), values, key, value, here, merges=merges)
                    touched.add(key)
        for key, versions in children.items():
            self.place(where, values, key, [layer for _, layer in versions])
        present = {parse_key(k).type for k in values if is_module(k)}
        present |= {parse_key(k).type for k in children if is_module(k)}
        defaults: dict[str, Any] = {
            f"@{t}@{c.default}": {} for t, c in spec.items() if c.default is not None
        }
        for key, value in {**default_children(config_class), **defaults}.items():
            if parse_key(key).type not in present:
                self.place(where, values, key, [Layer(value, self.tree.origins[where])])

    def merge(
        self,
        where: Path,
        holder: dict[str, Any],
        key: str,
        value: Any,
        origin: Origin,
        *,
        merges: bool,
    ) -> None:
        """Lay a value over what stands there: objects are merged if `merges`, all else replaced."""
        old = holder.get(key)
        if merges and isinstance(old, dict) and isinstance(value, dict):
            for name, part in value.items():
                self.merge((*where, name), old, name, part, origin.below(name), merges=True)
            return
        holder[key] = copy.deepcopy(value)
        self.tree.origins[where] = origin

    def stack(
        self, where: Path, key: ModuleKey, given: Sequence[Layer]
    ) -> tuple[str, str, list[Layer]] | None:
        """Return the name as written, the registered one, and all layers, bases first."""
        written, concrete = "", ""
        layers: list[Layer] = []
        for value, origin in given:
            raw = {"_base": value} if isinstance(value, str) and value != MISSING else value
            if not isinstance(raw, dict):
                got = "nothing (???)" if raw == MISSING else _kind(raw)
                message = f"expected a component (an object or a name), got {got}"
                code = "missing-value" if raw == MISSING else "wrong-type"
                self.report(origin, where, message, code=code)
                return None
            named = raw.get("_base") or raw.get("_name")
            if named is not None and not isinstance(named, str):
                part = "_base" if raw.get("_base") else "_name"
                message = f"expected a name, got {_kind(named)}"
                self.report(origin.below(part), where, message, code="wrong-type")
                return None
            name = named or written or key.name
            if not layers or (name and name != written):
                chain = self.chain(where, key.type, name, raw, origin)
                if chain is None:
                    return None
                written, (concrete, layers) = name, chain
            layers = [*layers, Layer(raw, origin)]
        if self.misnamed(key, concrete):
            message = (
                f'"{key}" says {key.name}, but its base is {written}: write "@{key.type}@{written}"'
            )
            right = str(ModuleKey(key.type, written, key.alias))
            self.report(
                given[-1].origin,
                where,
                message,
                key=True,
                code="misnamed-component",
                suggestions=(right,),
            )
            return None
        return written, concrete, layers

    def misnamed(self, key: ModuleKey, concrete: str) -> bool:
        """Return whether a key names one component while its base is another."""
        if (
            not key.name
            or key.name == concrete
            or (key.type, key.name) in self.tree.project.modules
        ):
            return False
        if (key.type, key.name) not in _registry():
            return False  # a name of the user's own
        own = _registry().primary(key.type, key.name)
        return bool(own.partition("-")[0] != concrete.partition("-")[0])

    def chain(
        self, where: Path, type_name: str, name: str, raw: Mapping[str, Any], origin: Origin
    ) -> tuple[str, list[Layer]] | None:
        """Follow a name through module files to a registered one; the layers come bases first."""
        modules = self.tree.project.modules
        layers: list[Layer] = []
        seen: list[str] = []
        while (type_name, name) in modules:
            if name in seen:
                message = f"the bases {' -> '.join([*seen, name])} lead in a circle"
                self.report(origin, where, message, code="circle")
                return None
            seen.append(name)
            document = modules[type_name, name]
            user = f"a base of {self.tree.name(where)}, {origin}"
            layers.insert(0, Layer(document.value, Origin(document, (), user)))
            name = document.value.get("_base") or document.value.get("_name") or ""
        try:
            concrete = _registry().primary(type_name, name)
            _registry().config(type_name, concrete)
        except DlkError as error:
            below, given = layers[0] if layers else Layer(raw, origin)
            at = next((k for k in ("_base", "_name") if below.get(k)), None)
            close = nearest(name, (n for t, n in modules if t == type_name and n not in seen))
            files = " or ".join(f'"{own}"' for own in close)
            message = f"{error} Did you mean the module file {files}?" if close else str(error)
            registry = _registry()
            is_unknown = str(error).startswith(("there is no ", "which "))
            if type_name in registry.types():
                close = [*close_to(name, registry.names(type_name)), *close]
            else:
                close = [*close_to(type_name, registry.types())]
                self.tree.unplaced.update((where[:-1], meant) for meant in close)
            self.report(
                given.below(at) if at else given,
                where,
                message,
                key=at is None,
                code="unknown-component" if is_unknown else "unusable-component",
                suggestions=close,
            )
            return None
        return concrete, layers

    def report(
        self,
        origin: Origin,
        where: Path,
        message: str,
        *,
        code: str,
        key: bool = False,
        suggestions: Sequence[str] = (),
    ) -> None:
        problem = origin.document.problem(
            origin.path,
            self.tree.name(where),
            message,
            key=key,
            code=code,
            suggestions=suggestions,
            origin=origin.note,
        )
        self.tree.problems.append(problem)


def _stacked_key(
    children: dict[str, list[tuple[int, Layer]]],
    key: str,
    raw: Any,
    number: int,
    spec: Mapping[str, Any],
) -> str:
    """Return the key under which a layer's child joins those of the layers below.

    It is laid over the same child of a base, or takes the place of another where one may stand.
    """
    full = _named(key, raw)
    if not is_module(full):
        return full
    parsed = parse_key(full)
    lower = [k for k, versions in children.items() if versions[-1][0] < number]
    alike = [k for k in lower if is_module(k) and parse_key(k).type == parsed.type]
    same = [k for k in alike if parse_key(k).alias == parsed.alias]
    if not parsed.name and len(same) == 1:
        return same[0]  # "@encoder" speaks of the encoder that a base has put there
    if full not in children and parsed.type in spec and spec[parsed.type].maximum == 1:
        for other in alike:
            del children[other]
    return full


def spec_of(type_name: str, name: str) -> Mapping[str, Any] | None:
    """Return the children that a config class declares; None where it leaves them open."""
    found = getattr(_registry().config(type_name, name), "children", None)
    return found if isinstance(found, Mapping) else None


def _registry() -> Any:
    from dlk.registry import register

    return register


def _named(key: str, raw: Any) -> str:
    """Return a child's key with the name that stands in its value, where the key has none."""
    if not is_module(key) or parse_key(key).name:
        return key
    if isinstance(raw, dict):
        raw = raw.get("_base") or raw.get("_name")
    parsed = parse_key(key)
    full = str(ModuleKey(parsed.type, raw, parsed.alias)) if isinstance(raw, str) and raw else key
    return full if is_module(full) else key


def _is_component(path: Path) -> bool:
    return bool(path) and all(is_module(part) for part in path)


def _part(holder: Any, part: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(part)
    if isinstance(holder, list) and isinstance(part, int) and part < len(holder):
        return holder[part]
    return None


def _walk(values: dict[str, Any], path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for key, value in list(values.items()):
        if key.startswith("@") and isinstance(value, dict):
            yield (*path, key), value
            yield from _walk(value, (*path, key))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)
