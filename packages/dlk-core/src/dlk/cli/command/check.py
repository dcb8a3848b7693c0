"""``dlk check``: all mistakes of configs, found without data, torch or a run."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dlk.cli._arguments import UsageError, add_data, add_set, find_splits, splits_of
from dlk.cli._problems import FORMATS, json, sarif
from dlk.cli._terminal import Terminal
from dlk.config.keys import parse_key
from dlk.config.reading import RulesError, in_order
from dlk.errors import ConfigError, Problem
from dlk.flow.columns import Raw, Stored

if TYPE_CHECKING:
    from dlk.cli._configs import Read
    from dlk.config import Point

LIMIT = 100
"""So many points of a search are checked; each value of it was checked when it was read."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configs", metavar="CONFIG", nargs="+", help="process.jsonc, fit.jsonc, or both together"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="text", help="of the mistakes (default: text)"
    )
    add_data(parser)
    add_set(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.set and len(args.configs) > 1:
        raise UsageError("--set changes one config: check one at a time with it")
    configs = [(path, args.set) for path in args.configs]
    data = splits_of(args.data, config="", stage="train") if args.data else None
    if args.format == "text":
        check(configs, terminal, data=data)
        return 0
    problems: Sequence[Problem] = ()
    try:
        check(configs, Terminal(quiet=True), data=data)
    except ConfigError as error:
        problems = error.problems
    terminal.json(sarif(problems) if args.format == "sarif" else json(problems))
    return 2 if problems else 0


def check(
    configs: Sequence[tuple[str, Sequence[str]]],
    terminal: Terminal,
    *,
    data: Mapping[str, Sequence[str]] | None = None,
    roots: Sequence[str] = (),
) -> None:
    """Check configs, each with its overrides, and that they fit together.

    Args:
        configs: path and overrides of each.
        terminal: what is told to.
        data: files of each split; None: those in the folder data beside a process config, if any.
        roots: the type of component that each config must have at its top; any where left out.

    Raises:
        ConfigError: the mistakes of all the configs.
    """
    checked = [_Checked(path, overrides) for path, overrides in configs]
    for each, root in zip(checked, roots, strict=False):
        each.expect(root)
    _follow(checked, terminal, data)
    problems = [problem for each in checked for problem in each.problems]
    for each in checked:
        if each.config is not None and not each.problems and not terminal.quiet:
            terminal.result(f"{each.path}: ok{each.runs()}")
        if each.config is not None and not each.config.processed:
            terminal.note(f"{each.path}: no processed data yet, so numbers of _G.meta are made up")
    if problems:
        raise ConfigError(in_order(problems))


class _Checked:
    """A config that was read: its first points, or what is wrong with it."""

    def __init__(self, path: str, overrides: Sequence[str]) -> None:
        from dlk.cli._configs import read

        self.path = path
        self.config: Read | None = None
        self.points: list[Point] = []
        self.problems: list[Problem] = []
        try:
            self.config = read(path, overrides)
        except ConfigError as error:
            self.problems += error.problems
            return
        for number in spread(len(self.config.loaded)):
            try:
                self.points.append(self.config.loaded[number])
            except RulesError as error:  # the rest of it can be followed all the same
                self.problems += error.problems
                self.points.append(error.point)
            except ConfigError as error:
                self.problems += error.problems

    def runs(self) -> str:
        """Return how many runs the config spans, where it searches."""
        count = len(self.config.loaded) if self.config is not None else 1
        if count <= 1:
            return ""
        return f", {count} runs" + (f" ({LIMIT} of them were checked)" if count > LIMIT else "")

    def expect(self, type_name: str) -> None:
        """Note a config that holds something else at its top."""
        if self.points and not self.of(type_name):
            got = ", ".join(self.points[0].configs)
            message = f'expected one "@{type_name}" at the top, got {got}'
            self.problems.append(Problem("", message, self.path, code="top-level"))

    def of(self, type_name: str) -> list[Point]:
        """Return the points whose one component at the top is of a type."""
        return [
            point
            for point in self.points
            if [parse_key(key).type for key in point.configs] == [type_name]
        ]


def _follow(
    checked: Sequence[_Checked], terminal: Terminal, data: Mapping[str, Sequence[str]] | None
) -> None:
    """Follow names, files and sizes from the steps of processors to the metrics of runs.

    What is wrong is added to the problems of the config that it is wrong in.
    """
    from dlk.flow.experiment import follow_fit, follow_process

    made: dict[str, _Made] = {}
    needed: dict[str, None] = {}
    for each in checked:
        found: list[tuple[Problem, Point]] = []
        for point in each.of("processor"):
            raw = _raw(each.path, data)
            followed, stored = follow_process(point, raw)
            made.setdefault(_folder(point, "processor"), _Made(each.path, stored, raw))
            found += [(problem, point) for problem in followed.problems]
            needed |= followed.needed
            for note in followed.notes:
                terminal.note(f"{each.path}: {note}")
        each.problems += _told_once(found, len(each.of("processor")))
    _compare_folders(made, checked)
    for each in checked:
        found = []
        for point in each.of("fit"):
            source = made.get(_folder(point, "fit"))
            if source is None and made:
                found.append((_other_folder(point, made), point))
                source = next(iter(made.values())) if len(made) == 1 else None
            assert each.config is not None  # it has points
            followed = follow_fit(
                point,
                source.stored if source is not None else None,
                source.raw if source is not None else Raw(),
                made_up=each.config.made_up,
                written=each.config.loaded.grid.tree,
            )
            found += [(problem, point) for problem in followed.problems]
            needed |= followed.needed
        each.problems += _told_once(found, len(each.of("fit")))
    if needed:
        terminal.note(f"the data has to bring: {', '.join(needed)}")


def spread(count: int) -> Iterator[int]:
    """Yield the points of a search that are checked: all of few, else some from everywhere."""
    if count <= LIMIT:
        yield from range(count)
        return
    step = round(count * 0.618)  # next to the golden ratio, so that no value is met too often
    while math.gcd(step, count) > 1:
        step += 1
    yield from (number * step % count for number in range(LIMIT))


class _Made(NamedTuple):
    """What a process config stores, and of which data."""

    path: str
    stored: Stored
    raw: Raw


def _told_once(found: Sequence[tuple[Problem, Point]], count: int) -> list[Problem]:
    """Return each problem once; one that not all points of a search have names its first."""
    points: dict[Problem, list[Point]] = {}
    for problem, point in found:
        points.setdefault(problem, []).append(point)
    return [
        problem if len(seen) == count else _at_point(problem, seen[0])
        for problem, seen in points.items()
    ]


def _at_point(problem: Problem, point: Point) -> Problem:
    chosen = ", ".join(f"{path}={value}" for path, value in point.choice.items())
    return replace(problem, message=f"{problem.message} (where the search takes {chosen})")


def _folder(point: Point, type_name: str) -> str:
    return os.path.normpath(str(getattr(point.root(type_name), "processed_data_dir", "")))


def _raw(path: str, data: Mapping[str, Sequence[str]] | None) -> Raw:
    """Return what is known of the data that a process config is for."""
    from dlk.flow.files import raw_of

    if data is None:
        try:
            data = find_splits(Path(path).parent / "data")
        except UsageError:  # no data there, or two files for one split: it is given later
            return Raw()
    return raw_of(data)


def _compare_folders(made: Mapping[str, _Made], checked: Sequence[_Checked]) -> None:
    """Note processors that write to several folders, where no run says which."""
    if len(made) < 2 or any(each.of("fit") for each in checked):
        return
    named = " and ".join(f"{folder} ({of.path})" for folder, of in made.items())
    message = f"the configs name different folders: {named}"
    problem = Problem("processed_data_dir", message, code="folders-differ")
    next(each for each in checked if each.of("processor")).problems.append(problem)


def _other_folder(point: Point, made: Mapping[str, _Made]) -> Problem:
    """Return the problem of a run whose folder none of the processors writes."""
    (key,) = point.configs
    here = _folder(point, "fit")
    written = " and ".join(f"{of.path} writes {folder}" for folder, of in made.items())
    message = f"the configs name different folders: this one reads {here}, and {written}"
    start = os.path.dirname(os.path.abspath(point.tree.document.file or "."))
    close = tuple(os.path.relpath(folder, start) for folder in made)
    problem = point.tree.problem((key, "processed_data_dir"), message)
    return replace(problem, code="folders-differ", suggestions=close)
