"""``dlk run``: process and train in one go."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_data, add_set, splits_of
from dlk.cli._terminal import Terminal
from dlk.cli.command.check import check
from dlk.cli.command.process import add_work, work_of
from dlk.cli.command.train import add_start, report
from dlk.io import is_remote


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("process", metavar="PROCESS", help="process.jsonc")
    parser.add_argument("config", metavar="FIT", help="fit.jsonc")
    add_data(parser)
    add_set(parser, file="FIT")
    add_set(parser, option="--set-process", file="PROCESS")
    add_work(parser)
    add_start(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    # Both configs first: a mistake in FIT is not to be found after an hour of processing.
    data = splits_of(args.data, config=args.process, stage="train")
    set_process = [*args.set_process, *work_of(args)]
    configs = [(args.process, set_process), (args.config, args.set)]
    roots = ("processor", "fit")
    check(configs, Terminal(quiet=True), data=data, roots=roots)

    _check_log_dir(args)

    from dlk.preprocess import Process
    from dlk.train import Train

    processed = Process(args.process, overrides=set_process).run(data)
    terminal.note(str(processed))
    check(configs, Terminal(quiet=True), data=data)  # sizes that only the data tells are known now
    train = Train(
        args.config, overrides=args.set, checkpoint=args.checkpoint, overwrite=args.overwrite
    )
    return report(train.run(tell=terminal.note), terminal)


def _check_log_dir(args: argparse.Namespace) -> None:
    """Refuse a URL where no run can be written, as long as nothing was done."""
    from dlk.cli._configs import read

    urls = {point.root("fit").log_dir for point in read(args.config, args.set).loaded}
    if any(map(is_remote, urls)):
        from dlk._remote_run import RemoteRuns

        for url in sorted(filter(is_remote, urls)):
            RemoteRuns(url).check()
