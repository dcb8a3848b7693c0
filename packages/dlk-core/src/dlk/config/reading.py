"""Reading configs: text to tree, overrides, search, intc's parser, checks, frozen objects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlk import registry
from dlk.config import jsonc
from dlk.config._intc import IntcBase, parse_tree
from dlk.config.check import check_tree
from dlk.config.node import freeze, node_of, thaw
from dlk.config.project import find_project
from dlk.config.search import Grid, take_search
from dlk.config.tree import Origin, Project, Tree, build_tree
from dlk.errors import ConfigError, Problem

registry._wire()

__all__ = ["Loaded", "Point", "from_resolved", "load", "make", "parse_override"]

Source = str | os.PathLike[str] | Mapping[str, Any]
Globals = Callable[[Tree], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Point:
    """One resolved config of a file.

    Attributes:
        resolved: the whole config as plain values, defaults and expressions filled in.
        configs: frozen config objects of the top-level components by key.
        choice: the values that ``_search`` chose, by path; empty without a search.
        tree: the resolved tree, with the origin of its parts.
    """

    resolved: Mapping[str, Any]
    configs: Mapping[str, IntcBase]
    choice: Mapping[str, Any]
    tree: Tree

    def root(self, type_name: str) -> Any:
        """Return the config object of the one top-level component of a type."""
        found = [c for k, c in self.configs.items() if k.removeprefix("@").split("@")[0].split("#")[0] == type_name]
        if len(found) != 1:
            file = self.tree.document.file
            raise ConfigError([Problem("", f'expected one "@{type_name}" at the top, got {len(found)}', file)])
        return found[0]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config as read: one point, or the grid that its ``_search`` spans."""

    grid: Grid
    global_values: Mapping[str, Any]
    document: jsonc.Document

    def __len__(self) -> int:
        return len(self.grid)

    def __iter__(self) -> Iterator[Point]:
        """Resolve and check each point in turn; a `ConfigError` names all that is wrong with one."""
        for tree, choice in self.grid:
            yield _resolve(tree, self.global_values, choice)

    def one(self) -> Point:
        """Return the only point; a search is a `ConfigError` here."""
        if len(self) != 1:
            axes = ", ".join(axis.path for axis in self.grid.axes)
            raise ConfigError([Problem("", f"this config searches ({axes}) where one config is expected", self.document.file)])
        return next(iter(self))


def load(source: Source, *, overrides: Sequence[str] | Mapping[str, Any] = (), global_values: Globals | None = None) -> Loaded:
    """Read a config.

    Args:
        source: path or URL of a JSONC file, or the config as a dict.
        overrides: ``"imodel.optimizer.lr=1e-4"`` texts (values are JSON, else text), or a mapping of path to value.
        global_values: gives what is added under ``_G``, from the tree as written (names resolved, overrides applied).

    Raises:
        ConfigError: all mistakes that can be seen in the text, with their positions.
    """
    document = _document(source)
    folder = os.path.dirname(os.path.abspath(document.file)) if document.file else os.getcwd()
    project = find_project(folder)
    if project.sources:
        registry.register.add_local(project.sources)
    tree, user_globals = build_tree(document, Project(project.modules))
    _override(tree, overrides)
    grid = take_search(tree)
    problems = tree.problems + check_tree(tree, resolved=False)
    if problems:
        raise ConfigError(_unique(problems))
    added = dict(global_values(tree)) if global_values else {}
    for name in added:
        if name in user_globals:
            raise ConfigError([document.problem(("_G", name), f"_G.{name}", "is filled in by dlk; choose another name", key=True)])
    return Loaded(grid, {**user_globals, **added}, document)


def make(type_name: str, name: str, values: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Return the frozen config object of one component from plain values, defaults filled in and all checked."""
    key = f"@{type_name}@{name}" if name else f"@{type_name}"
    return load({key: {**(values or {}), **more}}).one().root(type_name)


def from_resolved(resolved: Mapping[str, Any], *, folder: str) -> Mapping[str, IntcBase]:
    """Return the config objects of values that are resolved already: no expression, search or base is looked at.

    Args:
        resolved: what `Point.resolved` or `to_dict` gave.
        folder: where relative file names start.

    Raises:
        ConfigError: something in it would have to be computed, or does not fit the installed components.
    """
    document = jsonc.Document(dict(resolved), file=os.path.join(folder, "<resolved>"))
    problems = [
        Problem(".".join(map(str, path)), message) for path, message in _unresolved(resolved, ())
    ]
    if problems:
        raise ConfigError(problems)
    tree, _ = build_tree(document, Project())
    if tree.problems:
        raise ConfigError(_unique(tree.problems))
    _strip(tree.root)
    problems = check_tree(tree, resolved=True)
    if problems:
        raise ConfigError(_unique(problems))
    return {key: freeze(tree, (key,)) for key in tree.root}


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``path=value``; the value is JSON where it can be read as JSON, else text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f'--set {text}: expected path=value, such as imodel.optimizer.lr=1e-4')
    try:
        return path.strip(), json.loads(value)
    except json.JSONDecodeError:
        return path.strip(), value


def _document(source: Source) -> jsonc.Document:
    if isinstance(source, Mapping):
        return jsonc.Document(dict(source))
    return jsonc.read(os.fspath(source))


def _override(tree: Tree, overrides: Sequence[str] | Mapping[str, Any]) -> None:
    pairs = list(overrides.items()) if isinstance(overrides, Mapping) else [parse_override(text) for text in overrides]
    for path, value in pairs:
        document = jsonc.Document(value, file="<--set>")
        try:
            tree.assign(path, value, Origin(document, ()))
        except ConfigError as error:
            tree.problems += [Problem(p.path or path, p.message, "--set") for p in error.problems]


def _resolve(tree: Tree, global_values: Mapping[str, Any], choice: Mapping[str, Any]) -> Point:
    problems = tree.problems + check_tree(tree, resolved=False)
    if problems:
        raise ConfigError(_unique(problems))
    try:
        resolved = parse_tree(tree.root, global_values)
    except ConfigError as error:
        raise ConfigError([_place(tree, problem) for problem in error.problems]) from error
    tree.root = resolved
    problems = check_tree(tree, resolved=True)
    if problems:
        raise ConfigError(_unique(problems))
    _strip(tree.root)
    configs = {key: freeze(tree, (key,)) for key in tree.root}
    resolved = {key: thaw(node_of(config).values) for key, config in configs.items()}
    return Point(resolved, configs, dict(choice), tree)


def _place(tree: Tree, problem: Problem) -> Problem:
    """Give an error of an expression the position of the first value that holds the expression."""
    for path, values in tree.modules():
        for name, value in values.items():
            for inner, text in _expressions(value, (name,)):
                body = text.partition("@lambda")[2].strip()
                if not name.startswith("@") and (text in problem.message or (body and body in problem.message)):
                    return tree.problem((*path, *inner), problem.message)
    return Problem(problem.path, problem.message, tree.document.file)


def _expressions(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str) and "@lambda" in value:
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _expressions(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _expressions(part, (*path, number))


def _unresolved(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        if "@lambda" in value:
            yield path, "an expression; only resolved values are allowed here"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key in ("_search", "_anchor", "_G", "_base"):
                yield (*path, key), f'"{key}" is not allowed here; only resolved values are'
            yield from _unresolved(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _unresolved(part, (*path, number))


def _strip(values: dict[str, Any]) -> None:
    values.pop("_base", None)
    values.pop("_anchor", None)
    for key, value in values.items():
        if key.startswith("@") and isinstance(value, dict):
            _strip(value)


def _unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
