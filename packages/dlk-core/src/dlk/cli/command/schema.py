"""``dlk schema``: the JSON Schema of configs, for editors."""

from __future__ import annotations

import argparse
import json
import os

from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal
from dlk.errors import PluginError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the JSON Schema (2020-12) of process.jsonc and fit.jsonc with the components that "
        "are installed and those of the project around here. With TYPE and NAME: the schema of a "
        "module file TYPE@….jsonc."
    )
    parser.add_argument("type", metavar="TYPE", nargs="?", default="", help="component type")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="component")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.config.project import find_project
    from dlk.config.schema import make_schema
    from dlk.registry import register

    project = find_project(os.getcwd())
    register.add_local(project.sources)
    try:
        schema = make_schema(args.type, args.name, modules=project.modules)
    except PluginError as error:
        raise UsageError(str(error)) from error
    for type_name, name, why in schema.unread:
        terminal.note(f'{type_name} "{name}" may hold anything, since it cannot be read: {why}')
    if args.output:
        with open(args.output, "w", encoding="utf-8") as handle:
            handle.write(json.dumps(schema.value, ensure_ascii=False, indent=2) + "\n")
        terminal.result(args.output)
    else:
        terminal.json(schema.value)
