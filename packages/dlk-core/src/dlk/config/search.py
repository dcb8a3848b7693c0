"""``_search``: the grid of configs that one file spans.

A component's ``_search`` maps a path below it to a list of values, or to ``"@lambda _: list"``. A path may name a
value at any depth or a whole component, whose values are then names or objects. The grid is walked lazily in the
order of the text: the last path changes fastest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dlk.config.expression import compile_lambda
from dlk.config.tree import Origin, Path, Tree
from dlk.errors import ConfigError, Problem

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


@dataclass(frozen=True, slots=True)
class Grid:
    """A tree without its ``_search`` keys, and the axes they spanned."""

    tree: Tree
    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def __iter__(self) -> Iterator[tuple[Tree, dict[str, Any]]]:
        """Yield each point: a tree of its own, and the values chosen by path."""
        if not self.axes:
            yield self.tree.copy(), {}
            return
        for choice in itertools.product(*(range(len(axis.values)) for axis in self.axes)):
            tree, chosen = self.tree.copy(), {}
            for axis, number in zip(self.axes, choice, strict=True):
                value = axis.values[number]
                origin = Origin(axis.origin.document, (*axis.origin.path, number))
                try:
                    tree.assign(axis.path, value, origin, below=axis.below)
                except ConfigError as error:
                    raise ConfigError(
                        [tree.problem(axis.below, f'_search: {p.message}') for p in error.problems]
                    ) from None
                chosen[f"{tree.name(axis.below)}.{axis.path}" if len(axis.below) > 1 else axis.path] = value
            yield tree, chosen


def take_search(tree: Tree) -> Grid:
    """Take the ``_search`` keys out of a tree; mistakes in them are added to the tree's problems."""
    axes: list[Axis] = []
    for path, values in tree.modules():
        block = values.pop("_search", None)
        if block is None:
            continue
        here = (*path, "_search")
        if not isinstance(block, dict):
            tree.problems.append(tree.problem(here, "expected an object of paths and their lists of values"))
            continue
        for target, options in block.items():
            origin = tree.origin((*here, target))
            try:
                listed = _options(options)
            except ConfigError as error:
                message = error.problems[0].message
                tree.problems.append(_problem(tree, here, target, message))
                continue
            if origin is not None:
                axes.append(Axis(path, target, tuple(listed), origin))
    return Grid(tree, tuple(axes))


def _options(options: Any) -> list[Any]:
    if isinstance(options, str) and options.startswith("@lambda"):
        options = compile_lambda("lambda " + options.removeprefix("@lambda").strip())(None)
    if not isinstance(options, list) or not options:
        raise ConfigError(f'expected a list of values or "@lambda _: list", got {options!r}')
    return options


def _problem(tree: Tree, here: Path, target: str, message: str) -> Problem:
    return tree.problem((*here, target), message)
