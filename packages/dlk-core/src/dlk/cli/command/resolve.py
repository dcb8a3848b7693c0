"""``dlk resolve``: a config as a run sees it."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_set
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the config as JSON, all defaults, references and expressions filled in; "
        "of a config with _search a list, one for each run in the order of the runs."
    )
    parser.add_argument("config", metavar="CONFIG", help="process.jsonc or fit.jsonc")
    add_set(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.cli._configs import read
    from dlk.config import thaw

    config = read(args.config, args.set)
    points = list(config.loaded)
    for number, point in enumerate(points, start=1):
        if point.choice:
            chosen = ", ".join(f"{path}={value}" for path, value in point.choice.items())
            terminal.note(f"run {number} of {len(points)}: {chosen}")
    if not config.processed:
        terminal.note("no processed data yet, so numbers of _G.meta are made up")
    resolved = [thaw(point.resolved) for point in points]
    terminal.json(resolved[0] if len(resolved) == 1 else resolved)
