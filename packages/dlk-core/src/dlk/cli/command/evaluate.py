"""``dlk evaluate``: the scores of a bundle on labelled data."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_bundle, device_of
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.predict import Predict

    device = device_of(args.device)
    predict = Predict(
        args.bundle,
        device=device,
        batch_size=args.batch_size,
        src=args.src,
        trust_code=args.trust_code,
        packed=args.packed,
    )
    found = predict.evaluate(args.data)
    if args.json:
        terminal.json({"rows": found.rows, "metrics": found.metrics, "table": found.table})
        return
    terminal.metrics({"rows": found.rows, **found.metrics})
    if found.table and not terminal.quiet:
        terminal.result("")
        columns = list(found.table[0])
        terminal.table(columns, [[row.get(name) for name in columns] for row in found.table])
