"""``dlk plugins``: what brings components and commands, and what is wrong with it."""

from __future__ import annotations

import argparse
from typing import Any

from dlk.cli import _app
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk._override import shown_overrides
    from dlk.cli.command.list import add_local
    from dlk.registry import register

    add_local(terminal)
    rows: list[dict[str, Any]] = [
        {
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": plugin.state,
            "components": len(plugin.components),
            "hooks": list(plugin.hooks),
            "error": plugin.error,
            "place": plugin.place,
            "advice": plugin.advice,
        }
        for plugin in register.plugins
    ]
    rows += [_command(point) for point in _app.commands_of_plugins()]
    if args.json:
        terminal.json(rows)
        return
    columns = ("plugin", "distribution", "version", "state", "components", "hooks", "error")
    shown = [{**row, "hooks": len(row["hooks"])} for row in rows]
    terminal.table(columns, [[row[column] for column in columns] for row in shown])
    for row in rows:
        if row["advice"]:
            name = f"{row['distribution']} {row['version']}".rstrip()
            at = f" ({row['place']})" if row["place"] else ""
            terminal.note(f"{name} {row['state']}{at}. To do: {row['advice']}")
    for name, distribution in shown_overrides().items():
        terminal.note(f"DLK_OVERRIDE: {name} is that of {distribution}")


def _command(point: Any) -> dict[str, Any]:  # Any: importlib.metadata.EntryPoint
    hidden = point.name in _app.COMMANDS
    return {
        "plugin": f"dlk {point.name}",
        "distribution": _app.distribution_of(point),
        "version": point.dist.version if point.dist else "",
        "state": "hidden" if hidden else "command",
        "components": 0,
        "hooks": [],
        "error": "dlk has a command of this name" if hidden else "",
        "place": "",
        "advice": "",
    }
