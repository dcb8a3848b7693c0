"""``dlk evaluate``: the scores of a bundle on labelled data."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_bundle, predict_of
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    predict = predict_of(args)
    found = predict.evaluate(args.data)
    if args.json:
        terminal.json({"rows": found.rows, "metrics": found.metrics, "table": found.table})
        return
    terminal.metrics({"rows": found.rows, **found.metrics})
    if found.table and not terminal.quiet:
        terminal.result("")
        columns = list(found.table[0])
        terminal.table(columns, [[row.get(name) for name in columns] for row in found.table])
