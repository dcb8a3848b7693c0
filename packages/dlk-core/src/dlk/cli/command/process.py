"""``dlk process``: raw data to what training reads."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from dlk.cli._arguments import add_data, add_set, splits_of
from dlk.cli._terminal import Terminal
from dlk.errors import ConfigError, DlkError, Problem

if TYPE_CHECKING:
    from dlk.data.processor._explain import Explained


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="process.jsonc")
    parser.add_argument(
        "--stage",
        choices=("train", "predict"),
        default="train",
        help="train (default) learns on the train split, then writes all splits; "
        "predict writes data without labels, with what was learnt",
    )
    add_data(parser)
    add_set(parser)
    add_work(parser)
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show the plan and process nothing: steps, columns, what is kept from before, sizes",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="how --explain shows the plan (default: text)",
    )


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how processing is done, not what comes of it."""
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes that run the steps; 0: this one alone (default: as configured, else "
        "others join where much is left to do and cores are idle)",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep results of steps"
    )
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where results of steps are kept (default: .dlk-cache beside the processed data)",
    )


def work_of(args: argparse.Namespace) -> list[str]:
    """Return the overrides of a process config that the options of `add_work` stand for."""
    found = []
    if args.workers is not None:
        found.append(f"processor.num_workers={args.workers}")
    if args.no_cache:
        found.append("processor.cache=false")
    if args.cache_dir:
        found.append(f"processor.cache_dir={os.path.abspath(args.cache_dir)}")
    return found


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


_count.__name__ = "number >= 0"  # argparse says: invalid number >= 0 value


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.preprocess import Process

    _refuse_others(args.config)
    data = splits_of(args.data, config=args.config, stage=args.stage)
    process = Process(args.config, stage=args.stage, overrides=[*args.set, *work_of(args)])
    if not args.data:
        terminal.note("data: " + ", ".join(path for paths in data.values() for path in paths))
    if args.explain:
        _explain(process.explain(data), args.format, terminal)
        return
    done = process.run(data)
    terminal.result(done.dir if terminal.quiet else str(done))


def _refuse_others(config: str) -> None:
    """Say of a config that is of no processor what it is, rather than what is wrong in it.

    Raises:
        ConfigError: another component stands at the top.
    """
    from dlk.config.jsonc import read

    if os.path.exists(config) and not os.path.isfile(config):
        return  # such as a pipe, which is read once
    try:
        top = read(config).value
    except (OSError, DlkError):
        return  # told when it is read
    keys = [key for key in top if key.startswith("@")] if isinstance(top, dict) else []
    if keys and not any(key.startswith("@processor") for key in keys):
        message = (
            f'expected one "@processor" at the top, got {", ".join(keys)}: name the config that '
            "data is processed by, such as process.jsonc"
        )
        raise ConfigError([Problem("", message, config, code="top-level")])


def _explain(plan: Explained, style: str, terminal: Terminal) -> None:
    if style == "json":
        terminal.json(plan.to_dict())
        return
    for line in (*plan.head(), ""):
        terminal.result(line)
    terminal.table(plan.columns(), plan.rows())
    for note in plan.notes:
        terminal.note(note)
