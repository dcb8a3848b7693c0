"""``dlk process``: raw data to what training reads."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_data, add_set, splits_of
from dlk.cli._terminal import Terminal


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


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.preprocess import Process

    data = splits_of(args.data, config=args.config, stage=args.stage)
    process = Process(args.config, stage=args.stage, overrides=args.set)
    if not args.data:
        terminal.note("data: " + ", ".join(path for paths in data.values() for path in paths))
    done = process.run(data)
    terminal.result(done.dir if terminal.quiet else str(done))
