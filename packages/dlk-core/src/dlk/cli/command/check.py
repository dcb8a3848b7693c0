"""``dlk check``: all mistakes of configs, found without data, torch or a run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from dlk.cli._arguments import UsageError, add_set
from dlk.cli._problems import FORMATS, json, sarif
from dlk.cli._terminal import Terminal
from dlk.errors import ConfigError, Problem


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configs", metavar="CONFIG", nargs="+", help="process.jsonc, fit.jsonc, or both together"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="text", help="of the mistakes (default: text)"
    )
    add_set(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.set and len(args.configs) > 1:
        raise UsageError("--set changes one config: check one at a time with it")
    configs = [(path, args.set) for path in args.configs]
    if args.format == "text":
        check(configs, terminal)
        return 0
    problems: Sequence[Problem] = ()
    try:
        check(configs, Terminal(quiet=True))
    except ConfigError as error:
        problems = error.problems
    terminal.json(sarif(problems) if args.format == "sarif" else json(problems))
    return 2 if problems else 0


def check(configs: Sequence[tuple[str, Sequence[str]]], terminal: Terminal) -> None:
    """Check configs, each with its overrides, and that all name one folder of processed data.

    Raises:
        ConfigError: the mistakes of all the configs.
    """
    problems: list[Problem] = []
    folders: dict[str, str] = {}
    for path, overrides in configs:
        try:
            folders |= dict.fromkeys(_check(path, overrides, terminal), path)
        except ConfigError as error:
            problems += error.problems
    if not problems and len(folders) > 1:
        named = " and ".join(f"{folder} ({path})" for folder, path in folders.items())
        message = f"the configs name different folders: {named}"
        problems.append(Problem("processed_data_dir", message))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _check(path: str, overrides: Sequence[str], terminal: Terminal) -> set[str]:
    """Check all points of a config; return the folders of processed data that it names."""
    from dlk.cli._configs import read

    config = read(path, overrides)
    folders = set()
    for point in config.loaded:
        for root in point.configs.values():
            folder = getattr(root, "processed_data_dir", None)
            if isinstance(folder, str):
                folders.add(os.path.normpath(folder))
    runs = f", {len(config.loaded)} runs" if len(config.loaded) > 1 else ""
    if not terminal.quiet:
        terminal.result(f"{path}: ok{runs}")
    if not config.processed:
        terminal.note(f"{path}: no processed data yet, so numbers of _G.meta are made up")
    return folders
