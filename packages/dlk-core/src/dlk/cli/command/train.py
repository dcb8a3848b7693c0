"""``dlk train``: the runs of a fit config."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from dlk.cli._arguments import add_set
from dlk.cli._terminal import Terminal

if TYPE_CHECKING:
    from dlk.train import TrainResult


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="FIT", nargs="?", help="fit.jsonc")
    parser.set_defaults(refuse=parser.error)
    add_set(parser)
    add_start(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="go on with a run that was stopped, to the very result it would have had; RUN: its "
        "folder or URL, or its name below the log folder; without RUN: the newest that is not "
        "done, and of a search all that are not; what is not at its URL yet is sent there",
    )


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a run starts from."""
    parser.add_argument(
        "--checkpoint",
        default="",
        metavar="FILE",
        help="weights to start from, or to test where there is no training data",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder of a run that is there already"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    config, resume = _meant(args)
    from dlk.train import Train

    train = Train(
        config,
        overrides=args.set,
        checkpoint=args.checkpoint,
        overwrite=args.overwrite,
        resume=resume,
    )
    try:
        result = train.run(tell=terminal.note)
    except KeyboardInterrupt as stop:
        goes_on = f"{stop} (dlk train {config} --resume goes on)"
        raise KeyboardInterrupt(goes_on.lstrip()) from None
    return report(result, terminal)


def _meant(args: argparse.Namespace) -> tuple[str, bool | str]:
    """Return FIT and RUN also where ``--resume`` stands in front of FIT."""
    config, resume = args.config, args.resume
    if not isinstance(resume, str) or not _is_config(resume):
        if config is None:
            args.refuse("the following arguments are required: FIT")
        return config, resume
    if config is None:
        return resume, True
    if _is_config(config):
        args.refuse(f"argument --resume: expected a run, and {resume} is a config")
    return resume, config


def _is_config(path: str) -> bool:
    return path.endswith((".jsonc", ".json")) or os.path.isfile(path)


def report(result: TrainResult, terminal: Terminal) -> int:
    """Show what came of the runs; return 1 where one failed."""
    bundles = [run.bundle for run in result.runs if run.bundle]
    if terminal.quiet:
        for bundle in bundles:
            terminal.result(bundle)
    elif len(result.runs) == 1:
        (run,) = result.runs
        terminal.metrics(run.metrics)
        terminal.result(f"run     {run.dir}")
        if run.weights:
            terminal.result(f"weights {run.weights}")
        for path, value in run.found.items():
            terminal.result(f"found   {path}={json.dumps(value)}")
        if run.bundle:
            terminal.result(f"bundle  {run.bundle}")
            terminal.note(f"next: dlk predict {run.bundle} DATA -o predictions.jsonl")
    else:
        rows = result.table()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        terminal.table(columns, [[row.get(name) for name in columns] for row in rows])
        for bundle in bundles:
            terminal.result(f"bundle {bundle}")
    for run in result.failed:
        terminal.error(f"error: run {run.name} {run.state}: {run.error}")
    return 1 if result.failed else 0
