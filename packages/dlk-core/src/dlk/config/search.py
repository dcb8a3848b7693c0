"""``_search``: the grid of configs that one file spans.

A component's ``_search`` maps a path below it to a list of values, or to ``"@lambda _: list"``. A
path may name a value at any depth or a whole component, whose values are then names or objects;
such an object may hold a ``_search`` of its own, which spans only where it is chosen. The grid is
walked lazily in the order of the text: the last path changes fastest.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dlk.config._intc import fields_of
from dlk.config.check import mistakes_in, mistakes_in_value
from dlk.config.expression import Budget, compile_lambda
from dlk.config.keys import is_module, locate, parse_key
from dlk.config.tree import Origin, Path, Tree, spec_of
from dlk.errors import ConfigError, Problem
from dlk.registry import register

__all__ = ["Axis", "Dimension", "Grid", "take_search"]

_MOST_TRIED = 100
"""How many points of one searched component are tried before the first run."""


@dataclass(frozen=True)
class Axis:
    """One searched path and its values.

    Attributes:
        below: the component whose ``_search`` names the path.
        path: the path, relative to that component.
        values: the values to try, in order.
        origin: where the list of values stands.
        nests: the values are components, which may search inside.
    """

    below: Path
    path: str
    values: tuple[Any, ...]
    origin: Origin
    nests: bool

    @property
    def size(self) -> int:
        """How many points it spans alone, the searches inside of its values included."""
        return self.ends[-1]

    @cached_property
    def ends(self) -> list[int]:
        """Of each value, how many points it and those before it span."""
        sizes = map(_points, self.values) if self.nests else (1 for _ in self.values)
        return list(itertools.accumulate(sizes))

    def value(self, point: int) -> tuple[int, int]:
        """Return the number of the value at a point, and which of that value's points it is."""
        number = bisect.bisect_right(self.ends, point)
        return number, point - (self.ends[number - 1] if number else 0)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of a search space, as an engine that samples it needs to know it.

    Attributes:
        path: config path, as choices name it.
        values: the values, in order; a component is its name, or an object without its ``_search``.
        spaces: for each value, the dimensions that are there only where it is chosen.
    """

    path: str
    values: tuple[Any, ...]
    spaces: tuple[tuple[Dimension, ...], ...]

    def __len__(self) -> int:
        return sum(math.prod(map(len, space)) for space in self.spaces)


@dataclass(frozen=True, slots=True)
class Grid(Sequence[tuple[Tree, dict[str, Any]]]):
    """A tree without its ``_search`` keys, and the axes they spanned.

    A point is a tree of its own, and the values chosen by path. It is made when it is asked for.
    """

    tree: Tree
    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return _size(self.axes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(_size(self.axes))[index]  # an IndexError beyond the end
        problems: list[Problem] = []
        tree, chosen = self.at(number, problems)
        if problems:
            raise ConfigError(problems)
        return tree, chosen

    def at(self, number: int, problems: list[Problem]) -> tuple[Tree, dict[str, Any]]:
        """Return a point; what it searches in vain is left out, and told to `problems`."""
        tree = self.tree.copy()
        chosen: dict[str, Any] = {}
        _choose(tree, self.axes, number, chosen, [], problems)
        return tree, chosen

    def __iter__(self) -> Iterator[tuple[Tree, dict[str, Any]]]:
        return (self[number] for number in range(_size(self.axes)))

    def dimensions(self) -> tuple[Dimension, ...]:
        """Return the space that is searched, in the order of the axes."""
        return _dimensions(self.tree.copy(), self.axes)


def take_search(tree: Tree, *, pinned: Sequence[Path] = ()) -> Grid:
    """Take the ``_search`` keys out of a tree; mistakes in them go to the tree's problems.

    Args:
        tree: the tree, overrides applied.
        pinned: what an override set: it is not searched any more.
    """
    before = len(tree.problems)
    axes = _unpinned(tree, _take(tree, ()), pinned)
    tree.problems += _inside_of_replaced(tree, axes)
    grid = Grid(tree, axes)
    if _size(axes) > sys.maxsize:
        message = "_search spans more points than can be counted"
        tree.problems.append(tree.problem(axes[0].below, message, code="search"))
    elif axes and len(tree.problems) == before:
        tree.problems += _tried(grid)
    return grid


def _size(axes: Sequence[Axis]) -> int:
    return math.prod(axis.size for axis in axes)


def _tried(grid: Grid) -> list[Problem]:
    """Return what is wrong with the values of each axis, the other axes at their first value.

    So a mistake in the last value is known before the first run, however large the grid is.
    """
    problems: list[Problem] = []
    points = {0: None}
    block = len(grid)
    for axis in grid.axes:
        block //= axis.size
        field = _field_of(grid.tree, axis)
        if field is None:
            points |= dict.fromkeys(range(0, min(axis.size, _MOST_TRIED) * block, block))
            continue
        name = grid.tree.name(_target(grid.tree, axis) or axis.below)
        for number, value in enumerate(axis.values):
            origin = _origin(axis, number)
            problems += [
                origin.document.problem(
                    (*origin.path, *m.path),
                    ".".join(map(str, (name, *m.path))),
                    m.message,
                    key=m.key,
                    code=m.code,
                    suggestions=m.suggestions,
                    help=m.help,
                    origin=origin.note,
                )
                for m in mistakes_in_value(field, value)
            ]
    for point in points:
        tree, _ = grid.at(point, problems)
        problems += tree.problems
        if point:  # the first one is checked with all the rest
            problems += [m.problem(tree) for m in mistakes_in(tree, resolved=False)]
    return problems


def _field_of(tree: Tree, axis: Axis) -> Mapping[str, Any] | None:
    """Return the field whose whole value an axis searches, None where it searches anything else."""
    target = _target(tree, axis)
    if target is None or len(target) < 2 or is_module(target[-1]) or not is_module(target[-2]):
        return None
    holder = tree.values(target[:-1])
    config_class = register.config(parse_key(str(target[-2])).type, holder.get("_name", ""))
    field: Mapping[str, Any] | None = fields_of(config_class).get(str(target[-1]))
    return field


def _unpinned(tree: Tree, axes: Sequence[Axis], pinned: Sequence[Path]) -> tuple[Axis, ...]:
    """Return the axes whose values no override chose; note overrides that an axis would undo."""
    kept: list[Axis] = []
    for axis in axes:
        target = _target(tree, axis)
        for path in pinned:
            if target is not None and path[: len(target)] == target and path != target:
                message = f'"{axis.path}" is searched and replaces this; set {axis.path} itself'
                tree.problems.append(tree.problem(path, message, code="search-conflict"))
        if target not in pinned:
            kept.append(axis)
    return tuple(kept)


def _inside_of_replaced(tree: Tree, axes: Sequence[Axis]) -> list[Problem]:
    """Return a problem for each search inside of a component that another axis replaces."""
    problems: list[Problem] = []
    replaced: list[tuple[Path, Axis]] = []
    for axis in axes:
        for path, other in replaced:
            if axis.below[: len(path)] == path:
                message = (
                    f'_search: "{other.path}" replaces this component whole; '
                    "search inside of its values"
                )
                problems.append(tree.problem(axis.below, message, code="search-conflict"))
        target = _target(tree, axis)
        if target is not None and is_module(target[-1]):
            replaced.append((target, axis))
    return problems


def _take(tree: Tree, top: Path) -> tuple[Axis, ...]:
    """Take the ``_search`` of the component at `top` and of those below it."""
    axes: list[Axis] = []
    for path, values in tree.modules():
        if path[: len(top)] != top or "_search" not in values:
            continue
        block, here = values.pop("_search"), (*path, "_search")
        if not isinstance(block, dict):
            message = "expected an object of paths and their lists of values"
            tree.problems.append(tree.problem(here, message, code="search"))
            continue
        for target, options in block.items():
            origin = tree.origin((*here, target))
            assert origin is not None  # the root has one
            try:
                nests = _nests(tree, path, target)
                listed = tuple(_options(options, tree.budget))
                axes.append(Axis(path, target, listed, origin, nests))
            except ConfigError as error:
                problem = error.problems[0]
                tree.problems.append(
                    tree.problem(
                        (*here, target),
                        problem.message,
                        code=problem.code,
                        suggestions=problem.suggestions,
                    )
                )
    return tuple(axes)


def _nests(tree: Tree, below: Path, path: str) -> bool:
    """Return whether a path names a component: one that stands there, or may."""
    try:
        found, rest = locate(tree.values(below), path)
    except ConfigError:
        return False  # it is reported where a value is assigned
    where = (*below, *found)
    if not rest:
        return is_module(where[-1])
    if len(rest) > 1 or not all(map(is_module, where)):
        return False
    key = f"@{rest[0].removeprefix('@')}"
    spec = spec_of(parse_key(str(where[-1])).type, tree.values(where).get("_name", "")) or {}
    return is_module(key) and parse_key(key).type in spec


def _choose(
    tree: Tree,
    axes: Sequence[Axis],
    point: int,
    chosen: dict[str, Any],
    done: list[tuple[Path, Axis]],
    problems: list[Problem],
) -> None:
    """Set the values of one point in a tree.

    Args:
        tree: the tree; it is changed.
        axes: what is still to choose.
        point: which of the points that `axes` span.
        chosen: gets the values chosen, by path.
        done: what was set by which axis.
        problems: gets what is wrong with an axis, which is left out then.
    """
    if not axes:
        return
    axis, *others = axes
    rest = _size(others)
    number, inside = axis.value(point // rest)
    value, origin = axis.values[number], _origin(axis, number)
    before = _target(tree, axis)
    try:
        if not _is_there(tree, axis.below):
            message = "this search is inside of what another one replaces"
            raise ConfigError(message, code="search-conflict")
        where = tree.assign(axis.path, value, origin, below=axis.below)
        _refuse_undoing({path for path in (before, where) if path}, axis, done)
    except ConfigError as error:
        if not _leads_to_refused(tree, axis):
            problems += [_placed(tree, axis, problem) for problem in error.problems]
        _choose(tree, others, point % rest, chosen, done, problems)
        return
    done.append((where, axis))
    inner = _take(tree, where) if axis.nests and isinstance(value, dict) else ()
    tree.problems += _inside_of_replaced(tree, inner)
    chosen[tree.name(where)] = _plain(value) if axis.nests else value
    if inner and _size(inner) != _points(value):  # a mistake, which the tree knows by now
        inside = 0
    below = (*inner, *others)
    _choose(tree, below, inside * rest + point % rest, chosen, done, problems)


def _is_there(tree: Tree, path: Path) -> bool:
    try:
        tree.values(path)
    except KeyError:
        return False
    return True


def _leads_to_refused(tree: Tree, axis: Axis) -> bool:
    """Return whether a path ends where a component was refused: it may be right."""
    try:
        found, rest = locate(tree.values(axis.below), axis.path)
    except (ConfigError, KeyError):
        return False
    if not rest:
        return False
    part, holder = rest[0], (*axis.below, *found)
    types = {type_name for path, type_name in tree.unplaced if path == holder}
    by_name = bool(types) and part.startswith(("@@", "#"))
    return by_name or re.split("[@#]", part.removeprefix("@"))[0] in types


def _placed(tree: Tree, axis: Axis, problem: Problem) -> Problem:
    """Return a mistake in the path of an axis at the path, which is a key of ``_search``."""
    return axis.origin.document.problem(
        axis.origin.path,
        tree.name((*axis.below, "_search", axis.path)),
        problem.message,
        key=True,
        code=problem.code,
        suggestions=problem.suggestions,
        origin=axis.origin.note,
    )


def _refuse_undoing(targets: set[Path], axis: Axis, done: Sequence[tuple[Path, Axis]]) -> None:
    for path, other in done:
        for target in targets:
            if path == target:
                message = f'"{axis.path}" is searched twice'
                raise ConfigError(message, code="search-conflict")
            if path[: len(target)] == target:
                message = f'"{axis.path}" replaces what "{other.path}" searches; name it first'
                raise ConfigError(message, code="search-conflict")


def _origin(axis: Axis, number: int) -> Origin:
    """Return where a value of an axis stands: in the list, or where the list is computed."""
    origin = axis.origin.below(number)
    words = f"value {number + 1} of _search {axis.path}"
    return replace(origin, note=", ".join(part for part in (words, origin.note) if part))


def _plain(value: Any) -> Any:
    """Return a component's object without the searches in it."""
    if not isinstance(value, Mapping):
        return value
    return {k: _plain(v) if str(k)[:1] == "@" else v for k, v in value.items() if k != "_search"}


def _dimensions(tree: Tree, axes: Sequence[Axis]) -> tuple[Dimension, ...]:
    """Return the dimensions of axes; the tree is changed to the first value of each."""
    found: list[Dimension] = []
    for axis in axes:
        spaces: list[tuple[Dimension, ...]] = []
        for number, value in enumerate(axis.values):
            inner: tuple[Dimension, ...] = ()
            if axis.nests and isinstance(value, dict):
                branch = tree.copy()
                where = branch.assign(axis.path, value, _origin(axis, number), below=axis.below)
                inner = _dimensions(branch, _take(branch, where))
            spaces.append(inner)
        where = tree.assign(axis.path, axis.values[0], _origin(axis, 0), below=axis.below)
        _take(tree, where)
        values = tuple(map(_plain, axis.values)) if axis.nests else axis.values
        found.append(Dimension(tree.name(where), values, tuple(spaces)))
    return tuple(found)


def _target(tree: Tree, axis: Axis) -> Path | None:
    """Return the path of what an axis replaces, None where there is nothing yet."""
    try:
        found, rest = locate(tree.values(axis.below), axis.path)
    except (ConfigError, KeyError):
        return None
    return None if rest else (*axis.below, *found)


def _options(options: Any, budget: Budget | None = None) -> list[Any]:
    if isinstance(options, str) and options.startswith("@lambda"):
        source = "lambda " + options.removeprefix("@lambda").strip()
        options = compile_lambda(source, budget)(None)
    if not isinstance(options, list) or not options:
        message = f'expected a list of values or "@lambda _: list", got {options!r}'
        raise ConfigError(message, code="search")
    return options


def _points(value: Any) -> int:
    """Return how many points the searches inside of a value span; 1 where there is none."""
    if not isinstance(value, Mapping):
        return 1
    own = 1
    for key, part in value.items():
        if key == "_search" and isinstance(part, Mapping):
            own *= math.prod(sum(map(_points, _quiet(options))) for options in part.values())
        elif str(key).startswith("@"):
            own *= _points(part)
    return own


def _quiet(options: Any) -> list[Any]:
    """Return the options, one that stands for any mistake: it is reported where it is taken."""
    try:
        return _options(options)
    except ConfigError:
        return [None]
