"""``_search``: the grid of configs that one file spans.

A component's ``_search`` maps a path below it to a list of values, or to ``"@lambda _: list"``. A
path may name a value at any depth or a whole component, whose values are then names or objects;
such an object may hold a ``_search`` of its own, which spans only where it is chosen. The grid is
walked lazily in the order of the text: the last path changes fastest.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlk.config.expression import compile_lambda
from dlk.config.keys import is_module, locate
from dlk.config.tree import Origin, Path, Tree
from dlk.errors import ConfigError

__all__ = ["Axis", "Grid", "take_search"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One searched path and its values.

    Attributes:
        below: the component whose ``_search`` names the path.
        path: the path, relative to that component.
        values: the values to try, in order.
        origin: where the list of values stands.
    """

    below: Path
    path: str
    values: tuple[Any, ...]
    origin: Origin

    @property
    def size(self) -> int:
        """How many points it spans alone, the searches inside of its values included."""
        return sum(_points(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Grid:
    """A tree without its ``_search`` keys, and the axes they spanned."""

    tree: Tree
    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return math.prod(axis.size for axis in self.axes)

    def __iter__(self) -> Iterator[tuple[Tree, dict[str, Any]]]:
        """Yield each point: a tree of its own, and the values chosen by path."""
        yield from _expand(self.tree.copy(), self.axes, {})


def take_search(tree: Tree, *, pinned: Sequence[Path] = ()) -> Grid:
    """Take the ``_search`` keys out of a tree; mistakes in them go to the tree's problems.

    Args:
        tree: the tree, overrides applied.
        pinned: what an override set: it is not searched any more.
    """
    axes = _unpinned(tree, _take(tree, ()), pinned)
    searched: list[tuple[Path, Axis]] = []
    for axis in axes:
        for path, other in searched:
            if axis.below[: len(path)] == path:
                message = (
                    f'"{other.path}" replaces this component whole; search inside of its values'
                )
                tree.problems.append(tree.problem(axis.below, f"_search: {message}"))
        searched += [(path, axis) for path in _targets(tree, axis)]
    grid = Grid(tree, axes)
    if math.prod(axis.size for axis in axes) > sys.maxsize:
        tree.problems.append(
            tree.problem(axes[0].below, "_search spans more points than can be counted")
        )
    if axes and not tree.problems:
        # One point is tried, so that a path that leads nowhere is known before the first run.
        try:
            trial, _ = next(iter(grid))
        except ConfigError as error:
            tree.problems += error.problems
        else:
            tree.problems += trial.problems
    return grid


def _unpinned(tree: Tree, axes: Sequence[Axis], pinned: Sequence[Path]) -> tuple[Axis, ...]:
    """Return the axes whose values no override chose; note overrides that an axis would undo."""
    kept: list[Axis] = []
    for axis in axes:
        target = _target(tree, axis)
        for path in pinned:
            if target is not None and path[: len(target)] == target and path != target:
                message = f'"{axis.path}" is searched and replaces this; set {axis.path} itself'
                tree.problems.append(tree.problem(path, message))
        if target not in pinned:
            kept.append(axis)
    return tuple(kept)


def _take(tree: Tree, top: Path) -> tuple[Axis, ...]:
    """Take the ``_search`` of the component at `top` and of those below it."""
    axes: list[Axis] = []
    for path, values in tree.modules():
        if path[: len(top)] != top or "_search" not in values:
            continue
        block, here = values.pop("_search"), (*path, "_search")
        if not isinstance(block, dict):
            message = "expected an object of paths and their lists of values"
            tree.problems.append(tree.problem(here, message))
            continue
        for target, options in block.items():
            origin = tree.origin((*here, target))
            assert origin is not None  # the root has one
            try:
                axes.append(Axis(path, target, tuple(_options(options)), origin))
            except ConfigError as error:
                message = error.problems[0].message
                tree.problems.append(tree.problem((*here, target), message))
    return tuple(axes)


def _expand(
    tree: Tree, axes: Sequence[Axis], chosen: dict[str, Any]
) -> Iterator[tuple[Tree, dict[str, Any]]]:
    if not axes:
        yield tree, chosen
        return
    axis, *others = axes
    for number, value in enumerate(axis.values):
        branch = tree.copy()
        origin = axis.origin.below(number)
        try:
            where = branch.assign(axis.path, value, origin, below=axis.below)
        except ConfigError as error:
            place = origin.document.problem
            name = f"{branch.name(axis.below)}._search"
            raise ConfigError(
                [place(origin.path, name, p.message) for p in error.problems]
            ) from None
        inner = _take(branch, where) if isinstance(value, dict) else ()
        plain = {k: v for k, v in value.items() if k != "_search"} if inner else value
        yield from _expand(branch, (*inner, *others), {**chosen, branch.name(where): plain})


def _targets(tree: Tree, axis: Axis) -> list[Path]:
    """Return the component that an axis replaces, where there is one to replace."""
    target = _target(tree, axis)
    return [] if target is None or not is_module(target[-1]) else [target]


def _target(tree: Tree, axis: Axis) -> Path | None:
    """Return the path of what an axis replaces, None where there is nothing yet."""
    try:
        found, rest = locate(tree.values(axis.below), axis.path)
    except ConfigError:
        return None
    return None if rest else (*axis.below, *found)


def _options(options: Any) -> list[Any]:
    if isinstance(options, str) and options.startswith("@lambda"):
        options = compile_lambda("lambda " + options.removeprefix("@lambda").strip())(None)
    if not isinstance(options, list) or not options:
        raise ConfigError(f'expected a list of values or "@lambda _: list", got {options!r}')
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
