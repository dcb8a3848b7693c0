"""``dlk list``: what there is to name in a config."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal
from dlk.errors import DlkError, PluginError, did_you_mean


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", nargs="?", help="component type, such as encoder")
    parser.add_argument("name", nargs="?", help="component: its options are listed")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.registry import register

    add_local(terminal)
    if args.type and args.type not in register.types():
        hint = did_you_mean(args.type, register.types())
        raise UsageError(f'there is no component type "{args.type}". {hint}')
    if args.name or (args.type and not register.names(args.type)):  # fit has no further names
        _options(args.type, args.name or "", args, terminal)
        return
    rows = [
        {
            "type": entry.component.type,
            "name": entry.component.name,
            "from": f"{entry.origin} {entry.version}".rstrip(),
            "help": entry.component.help,
        }
        for entry in register.entries()
        if args.type in (None, entry.component.type)
    ]
    if args.json:
        terminal.json(rows)
    else:
        terminal.table(("type", "name", "from", "help"), [list(row.values()) for row in rows])
    for plugin in register.plugins:
        if plugin.state in ("failed", "incompatible"):
            name = plugin.name if plugin.distribution == "local" else str(plugin)
            hint = f". To do: {plugin.advice}" if plugin.distribution != "local" else ""
            cause = plugin.error if plugin.distribution == "local" else plugin.cause
            terminal.note(f"{name} could not be read: {cause}{hint}")


def add_local(terminal: Terminal) -> None:
    """Add the components of the project around here; a broken project is only noted."""
    from dlk.config.project import find_project
    from dlk.registry import register

    try:
        project = find_project(os.getcwd())
        register.add_local(project.sources)
    except DlkError as error:
        terminal.note(f"this project's own components are left out: {error}")


def _options(type: str, name: str, args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.config._intc import MISSING, fields_of
    from dlk.config.check import expected
    from dlk.registry import register

    try:
        register.primary(type, name)
    except PluginError as error:
        raise UsageError(str(error)) from error
    config_class = register.config(type, name)
    defaults: Any = config_class()._to_dict(only_para=True)
    rows = []
    for field, about in fields_of(config_class).items():
        default = defaults.get(field)
        rows.append(
            {
                "option": field,
                "type": about.get("type_name", "").removesuffix("Field"),
                "takes": expected(about),
                "default": "required" if default is MISSING or default == "???" else default,
                "help": about.get("description", ""),
            }
        )
    if args.json:
        terminal.json(rows)
        return
    if config_class.__doc__ and not terminal.quiet:
        terminal.result(config_class.__doc__.strip().split("\n")[0])
    for row in rows:
        if not isinstance(row["default"], str):
            row["default"] = json.dumps(row["default"], ensure_ascii=False)
    columns = ("option", "takes", "default", "help")
    terminal.table(columns, [[row[column] for column in columns] for row in rows])
