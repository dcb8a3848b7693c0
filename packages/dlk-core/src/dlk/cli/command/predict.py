"""``dlk predict``: a bundle over any amount of data."""

from __future__ import annotations

import argparse
import json

from dlk.cli._arguments import UsageError, add_bundle, predict_of
from dlk.cli._terminal import Terminal
from dlk.errors import redact

ENDINGS = (".jsonl", ".ndjson", ".parquet")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="a .jsonl or .parquet file, one prediction per row (default: jsonl to stdout)",
    )


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    if args.output and not args.output.endswith(ENDINGS):
        raise UsageError(
            f"--output {args.output}: expected a name that ends in {', '.join(ENDINGS)}"
        )

    predict = predict_of(args)
    if args.output:
        predict.run(args.data, output=args.output)
        terminal.note(f"predictions in {redact(args.output)}")
        return
    for prediction in predict.stream(args.data):
        terminal.result(json.dumps(prediction, ensure_ascii=False))
