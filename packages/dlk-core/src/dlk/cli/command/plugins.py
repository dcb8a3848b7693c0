"""``dlk plugins``: what brings components and commands, and what is wrong with it."""

from __future__ import annotations

import argparse

from dlk.cli import _app
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.cli.command.list import add_local
    from dlk.registry import register

    add_local(terminal)
    rows: list[dict[str, object]] = [
        {
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": plugin.state,
            "components": len(plugin.components),
            "error": plugin.error,
        }
        for plugin in register.plugins
    ]
    rows += [
        {
            "plugin": f"dlk {point.name}",
            "distribution": _app.distribution_of(point),
            "version": point.dist.version if point.dist else "",
            "state": "hidden" if point.name in _app.COMMANDS else "command",
            "components": 0,
            "error": "dlk has a command of this name" if point.name in _app.COMMANDS else "",
        }
        for point in _app.commands_of_plugins()
    ]
    if args.json:
        terminal.json(rows)
    else:
        columns = ("plugin", "distribution", "version", "state", "components", "error")
        terminal.table(columns, [[row[column] for column in columns] for row in rows])
