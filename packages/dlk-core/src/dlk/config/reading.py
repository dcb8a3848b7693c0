"""Reading configs: text to tree, overrides, search, intc's parser, checks, frozen objects."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlk import registry
from dlk.config import jsonc
from dlk.config._intc import FAILED, Computed, IntcBase, set_resolver, solve_references
from dlk.config.check import (
    Mistake,
    check_tree,
    mistakes_in,
    mistakes_in_anchors,
    mistakes_in_children,
)
from dlk.config.expression import is_expression, short
from dlk.config.keys import is_module, parse_key
from dlk.config.node import Unsound, freeze, node_of, thaw, to_dict, trail
from dlk.config.project import FoundProject, find_project
from dlk.config.search import Dimension, Grid, take_search
from dlk.config.tree import Origin, Path, Project, Tree, build_tree, folder_of
from dlk.errors import ConfigError, DlkError, EqualPointsWarning, PluginError, Problem
from dlk.io import local_path

__all__ = ["Loaded", "Point", "changed", "from_resolved", "load", "make", "parse_override"]

Source = str | os.PathLike[str] | Mapping[str, Any]
Globals = Callable[[Tree], Mapping[str, Any]]


def _resolve_config(type_name: str, name: str) -> None:
    """Import the config class that intc looks up; a name that is unknown stays unknown to it."""
    try:
        registry.register.config(type_name, name)
    except PluginError:
        return


set_resolver(_resolve_config)


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
        found = [c for k, c in self.configs.items() if parse_key(k).type == type_name]
        if len(found) != 1:
            file, got = self.tree.document.file, ", ".join(self.configs)
            message = f'expected one "@{type_name}" at the top, got {got}'
            raise ConfigError([Problem("", message, file, code="top-level")])
        return found[0]


class RulesError(ConfigError):
    """A config whose values are sound alone and do not fit together.

    Attributes:
        point: the config, for checks that can do with what is wrong in it, and for nothing else.
    """

    def __init__(self, problems: Sequence[Problem], point: Point) -> None:
        super().__init__(problems)
        self.point = point


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config as read: one point, or the grid that its ``_search`` spans.

    `len` counts the points, equal ones included; ``loaded[i]`` is one of them.
    """

    grid: Grid
    global_values: Mapping[str, Any]
    document: jsonc.Document

    def __len__(self) -> int:
        return len(self.grid)

    def __iter__(self) -> Iterator[Point]:
        """Resolve and check each point in turn; a `ConfigError` names all that is wrong with one.

        A point that equals an earlier one is named in a warning, and left out.
        """
        import hashlib  # costs milliseconds, and most configs search nothing

        seen: dict[bytes, int] = {}
        for number in range(len(self.grid)):
            point = self[number]
            if self.grid.axes:
                text = json.dumps(point.resolved, sort_keys=True)
                digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
                first = seen.setdefault(digest, number)
                if first != number:
                    _, choice = self.grid[first]
                    message = f"point {number} of the search ({_shown(point.choice)}) equals point "
                    message += f"{first} ({_shown(choice)}) and is left out"
                    warnings.warn(message, EqualPointsWarning, stacklevel=2)
                    continue
            yield point

    def __getitem__(self, number: int) -> Point:
        """Resolve and check one point of the grid, counted as its order says."""
        tree, choice = self.grid[number]
        try:
            return _resolve(tree, self.global_values, choice)
        except ConfigError as error:
            raise _at_point(error, choice) from None

    @property
    def space(self) -> tuple[Dimension, ...]:
        """The space that is searched: paths, values, and what is inside of the values."""
        return self.grid.dimensions()

    def one(self) -> Point:
        """Return the only point; a search is a `ConfigError` here."""
        if len(self) != 1:
            axes = ", ".join(axis.path for axis in self.grid.axes)
            message = f"this config searches ({axes}) where one config is expected"
            raise ConfigError([Problem("", message, self.document.file, code="several-runs")])
        return next(iter(self))


def load(
    source: Source,
    *,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    global_values: Globals | None = None,
) -> Loaded:
    """Read a config.

    Args:
        source: path or URL of a JSONC file, or the config as a dict.
        overrides: ``"imodel.optimizer.lr=1e-4"`` texts (values are JSON, else text), or a mapping
            of path to value.
        global_values: gives what is added under ``_G``, from the tree as written (names resolved,
            overrides applied).

    Raises:
        ConfigError: all mistakes that can be seen in the text, with their positions.
    """
    document, project = _texts(source)
    registry.register.add_local(project.sources)
    tree, user_globals = build_tree(document, Project(project.modules))
    grid = take_search(tree, pinned=_override(tree, overrides))
    problems = tree.problems + check_tree(tree, resolved=False, chosen=not grid.axes)
    added: Mapping[str, Any] | None = {}
    if global_values:
        try:
            added = dict(global_values(tree))
        except DlkError:
            if not problems:
                raise
            added = None
    for name in added or {}:
        if name in user_globals:
            message = "dlk fills this in; rename it"
            problems.append(
                document.problem(("_G", name), f"_G.{name}", message, key=True, code="globals")
            )
    for path, _ in _unresolved(added, ()):
        where, message = f"_G.{'.'.join(map(str, path))}", "data may not bring an expression"
        _refuse([Problem(where, message, document.file, code="globals")])
    everything = {**user_globals, **(added or {})}
    if problems:
        quiet = () if added is not None else ("_G", "~")
        _refuse([*problems, *_further(grid, everything, quiet)])
    return Loaded(grid, everything, document)


def _further(
    grid: Grid, global_values: Mapping[str, Any], quiet: Collection[str]
) -> Sequence[Problem]:
    """Return what else is wrong with a config that has mistakes already: at its first point."""
    try:
        tree, choice = next(iter(grid))
    except ConfigError:
        return ()  # a mistake in a search, which is known by now
    try:
        _resolve(tree, global_values, choice, quiet=quiet)
    except ConfigError as error:
        return error.problems
    return ()


def make(
    type_name: str, name: str = "", values: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    """Return the frozen config object of one component, defaults filled in and all checked."""
    key = f"@{type_name}@{name}" if name else f"@{type_name}"
    return load({key: {**(values or {}), **more}}).one().root(type_name)


def from_resolved(resolved: Mapping[str, Any], *, folder: str) -> Mapping[str, IntcBase]:
    """Return the config objects of values that are resolved already; nothing is computed.

    Args:
        resolved: what `Point.resolved` or `to_dict` gave.
        folder: where relative file names start.

    Raises:
        ConfigError: something in it would have to be computed, or does not fit what is installed.
    """
    document = jsonc.Document(dict(resolved), file=os.path.join(folder, "<resolved>"))
    _refuse(
        [
            Problem(".".join(map(str, path)), message, code="not-resolved")
            for path, message in _unresolved(resolved, ())
        ]
    )
    tree, _ = build_tree(document, Project())
    return _frozen(tree, [])


def changed(root: IntcBase, part: IntcBase, values: Mapping[str, Any]) -> tuple[IntcBase, IntcBase]:
    """Return a config object with other values of some fields of one of its parts, and that part.

    Args:
        root: the whole; it stays as it is.
        part: the very object below it, or itself.
        values: by name of the field; checked as all values are.

    Raises:
        ConfigError: a value is refused.
    """
    keys = trail(root, part)
    resolved = to_dict(root)
    fields = resolved
    for key in keys:
        fields = fields[key]
    fields.update({name: thaw(value) for name, value in values.items()})
    # File names are absolute by now. Those of a hub stay as they are: nothing is in this folder.
    (made,) = from_resolved(resolved, folder=os.devnull).values()
    found = made
    for key in keys[1:]:
        found = node_of(found).children[key]
    return made, found


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``path=value``; the value is JSON where it can be read as JSON, else text."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        message = f"--set {text}: expected path=value, such as imodel.optimizer.lr=1e-4"
        raise ConfigError(message, code="override")
    try:
        return path.strip(), json.loads(value, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, _NotJsonError) as error:
        if value.lstrip()[:1] in ("{", "[", '"'):
            message = f"--set {text}: the value is no JSON: {error}"
            raise ConfigError(message, code="override") from None
        return path.strip(), value


class _NotJsonError(ValueError):
    pass


def _refuse_constant(name: str) -> None:
    raise _NotJsonError(f"{name} is no number")


def _texts(source: Source) -> tuple[jsonc.Document, FoundProject]:
    """Read the config and its project; what is wrong with the texts of both is one error."""
    document = jsonc.Document(dict(source) if isinstance(source, Mapping) else None)
    project = FoundProject()
    problems: list[Problem] = []
    if not isinstance(source, Mapping):
        document.file = local_path(source)
        try:
            document = jsonc.read(document.file)
        except ConfigError as error:
            problems += error.problems
    folder = folder_of(document.file)
    try:
        project = find_project(folder if "://" not in folder else os.getcwd())
    except ConfigError as error:
        problems += error.problems
    _refuse(problems)
    return document, project


def _override(tree: Tree, overrides: Sequence[str] | Mapping[str, Any]) -> list[Path]:
    """Apply the overrides; return where they stand."""
    changed: list[Path] = []
    given: list[tuple[str, Any, str]] = []
    if isinstance(overrides, Mapping):
        given = [(path, value, _text(path, value)) for path, value in overrides.items()]
    else:
        for text in overrides:
            try:
                given.append((*parse_override(text), text))
            except ConfigError as error:
                tree.problems += error.problems
    for path, value, text in given:
        document, note = jsonc.Document(value, file="<--set>"), f"--set {text}"
        try:
            changed.append(tree.assign(path, value, Origin(document, (), note)))
        except ConfigError as error:
            tree.problems += [
                replace(p, path=path, file=document.file, origin=note) for p in error.problems
            ]
    return changed


def _text(path: str, value: Any) -> str:
    return f"{path}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _resolve(
    tree: Tree,
    global_values: Mapping[str, Any],
    choice: Mapping[str, Any],
    *,
    quiet: Collection[str] = (),
) -> Point:
    """Compute, check and freeze one point; all that is wrong with it is one `ConfigError`.

    Args:
        tree: a tree of its own, nothing left to search.
        global_values: what stands under ``_G``.
        choice: what a search chose.
        quiet: anchors of which it is not known what they lead to.
    """
    anchors = mistakes_in_anchors(tree)
    problems = [*tree.problems, *(mistake.problem(tree) for mistake in anchors)]
    for mistake in anchors:
        tree.values(mistake.path[:-1]).pop("_anchor", None)
    unplaced = {path for path, _ in tree.unplaced}
    unplaced |= {m.path[:-1] for m in mistakes_in_children(tree)}
    solved = solve_references(
        tree.root,
        global_values,
        unplaced=unplaced,
        quiet={*quiet, *(["*"] if anchors or tree.unplaced else [])},
    )
    given = {path: _given(tree, computed) for path, computed in solved.computed.items()}
    unsound = Unsound()
    wrong = [m.path for m in mistakes_in(tree, resolved=False)] if solved.problems else []
    following = _following(solved.computed, wrong)
    for path, found in solved.problems:
        _mark(unsound, path)
        if path in following:
            continue
        problem = tree.problem(path, found.message, code=found.code, suggestions=found.suggestions)
        source = f"computed{given[path]}" if given.get(path) else ""
        words = ", ".join(part for part in (source, problem.origin) if part)
        problems.append(replace(problem, origin=words))
    tree.computed = {
        path: f'computed by "{short(computed.text)}"{given[path]}'
        for path, computed in solved.computed.items()
    }
    tree.root = solved.tree
    broken: list[Problem] = []
    configs = _frozen(tree, problems, unsound, broken, computed=solved.computed)
    values = {key: thaw(node_of(config).values) for key, config in configs.items()}
    point = Point(values, configs, dict(choice), tree)
    if broken:
        raise RulesError(in_order(broken), point)
    return point


def _given(tree: Tree, computed: Computed) -> str:
    """Return in words what a value was computed from: paths, values, and where they stand."""
    parts = []
    for path, value in computed.given:
        if value is FAILED:
            continue
        origin = tree.origin(path)
        if path[:1] == ("_G",) and origin is not None and origin.written() is None:
            place = "filled in by dlk"
        else:
            place = tree.note(path) or str(origin or "")
        shown = _briefly(value)
        parts.append(f"{tree.name(path)} = {shown}{f' ({place})' if place else ''}")
    return f" from {', '.join(parts)}" if parts else ""


def _briefly(value: Any) -> str:
    if isinstance(value, (list, dict)) and len(value) > 20:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)} items"
    return short(json.dumps(value, ensure_ascii=False, default=str), 60)


def _frozen(
    tree: Tree,
    problems: Sequence[Problem],
    unsound: Unsound | None = None,
    rules: list[Problem] | None = None,
    *,
    computed: Mapping[Path, Computed] | None = None,
) -> Mapping[str, IntcBase]:
    """Check a tree in which nothing is left to compute, and return its frozen config objects.

    Args:
        tree: the tree.
        problems: the mistakes known already.
        unsound: and where they are.
        rules: gets the rules that are broken, where nothing else is wrong; None: they are refused.
        computed: what was computed from what; nothing is said of what comes of a mistake.
    """
    unsound = unsound or Unsound()
    tree.root.pop("_anchor", None)
    for path, values in tree.modules():
        values.pop("_anchor", None)
        unsound.fields.setdefault(path, set()).update(
            key for key, value in values.items() if not key.startswith("@") and _is_failed(value)
        )
    mistakes = mistakes_in(tree, resolved=True)
    unsound.shape |= {path for path, _ in tree.unplaced}
    for mistake in mistakes:
        _mark(unsound, mistake.path, mistake)
    following = _following(computed or {}, [mistake.path for mistake in mistakes])
    for path in following:
        _mark(unsound, path)
    mistakes = [m for m in mistakes if not any(m.path[:n] in following for n in _lengths(m.path))]
    problems = [*problems, *tree.problems, *(mistake.problem(tree) for mistake in mistakes)]
    broken: list[Problem] = []
    configs = {key: freeze(tree, (key,), broken, unsound) for key in tree.root}
    if rules is None or problems or any(problem.code != "rule" for problem in broken):
        _refuse([*problems, *broken])
    else:
        rules += broken
    return configs


def _lengths(path: Path) -> range:
    return range(len(path) + 1)


def _following(computed: Mapping[Path, Computed], wrong: Sequence[Path]) -> set[Path]:
    """Return the paths of all values that were computed from one with a mistake."""
    if not wrong:
        return set()
    above = {path[:n] for path in wrong for n in _lengths(path)}
    at, found = set(wrong), set[Path]()
    more = True
    while more:
        more = False
        for path, source in computed.items():
            given = [g for g, _ in source.given if g != path]
            if path not in found and any(
                g in above or any(g[:n] in at for n in _lengths(g)) for g in given
            ):
                found.add(path)
                at.add(path)
                more = True
    return found


def _mark(unsound: Unsound, path: Path, mistake: Mistake | None = None) -> None:
    """Note which field, or which component's children, a mistake is about."""
    above = next((path[:n] for n in range(len(path), -1, -1) if all(map(is_module, path[:n]))), ())
    code = mistake.code if mistake else ""
    if code in ("missing-child", "nesting"):
        unsound.shape.add(above)
    elif code in ("too-many-children", "child-not-allowed"):
        unsound.shape.add(above[:-1])
    elif len(path) > len(above):
        fields = {str(path[len(above)])}
        if mistake and code == "unknown-field" and len(path) == len(above) + 1:
            fields |= set(mistake.suggestions)  # it may be meant for one of these
        unsound.fields.setdefault(above, set()).update(fields)


def _is_failed(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_failed, value.values()))
    if isinstance(value, list):
        return any(map(_is_failed, value))
    return value is FAILED


def _at_point(error: ConfigError, choice: Mapping[str, Any]) -> ConfigError:
    """Return the error with the point of the search at which it was met, if there is a search."""
    if not choice:
        return error
    where = f"where the search takes {_shown(choice)}"
    problems = [replace(p, message=f"{p.message} ({where})") for p in error.problems]
    if isinstance(error, RulesError):
        return RulesError(problems, error.point)
    return ConfigError(problems)


def _shown(choice: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={value}" for path, value in choice.items())


def _unresolved(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if is_expression(value):
        yield path, "an expression; only resolved values are allowed here"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key in ("_search", "_anchor", "_G", "_base"):
                yield (*path, key), f'"{key}" is not allowed here; only resolved values are'
            yield from _unresolved(part, (*path, key))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _unresolved(part, (*path, number))


def _refuse(problems: Sequence[Problem]) -> None:
    """Raise the problems, each once, those of a file in the order of its text."""
    if problems:
        raise ConfigError(in_order(problems))


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, each once, those of a file in the order of its text."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    distinct: dict[Any, Problem] = {}
    for problem in problems:
        key = (problem.file, problem.line, problem.column, problem.path, problem.message)
        distinct.setdefault(key, problem)
    return sorted(distinct.values(), key=lambda p: (files.index(p.file), p.line, p.column))
