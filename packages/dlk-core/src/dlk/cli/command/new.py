"""``dlk new``: starts of projects, components and plugins."""

from __future__ import annotations

import argparse
import os

from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal
from dlk.scaffold import KINDS, new_component, new_plugin, new_project

_NEXT = {
    "project": "next: cd {folder} && dlk run process.jsonc fit.jsonc && pytest",
    "component": "next: pytest {test}; in a config it is called @{type}@{name}",
    "plugin": "next: cd {folder} && pip install -e '.[test]' && pytest",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Makes a project (configs, a sample, tests), a component in the project around here, or a "
        "plugin (a distribution with a component). Its own tests pass as it is. Files that are "
        "there are never changed."
    )
    parser.add_argument("what", choices=("project", "component", "plugin"))
    parser.add_argument("name", metavar="NAME", help="its name; of a component, as in configs")
    parser.add_argument(
        "--type",
        choices=KINDS,
        default="encoder",
        help="of a component or a plugin's component (default: encoder)",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", default=".", help="folder to make it in (default: here)"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    words = {"type": args.type, "name": args.name}
    if args.what == "component":
        from dlk.config.project import find_project
        from dlk.registry import register

        project = find_project(args.output)
        if not project.file:
            raise UsageError(
                "there is no .intc.json here or above, so no project: dlk new project NAME"
            )
        register.add_local(project.sources)
        made = new_component(args.type, args.name, project.file, project.sources)
        root = os.path.relpath(os.path.dirname(project.file))
        made = [os.path.normpath(os.path.join(root, path)) for path in made]
        words["test"] = next(path for path in made if path.endswith(f"test_{args.name}.py"))
    else:
        if not os.path.isdir(args.output):
            raise UsageError(f"-o {args.output}: there is no such folder")
        if args.what == "project":
            made = new_project(args.name, args.output)
        else:
            made = new_plugin(args.type, args.name, args.output)
        made = [os.path.normpath(os.path.join(args.output, path)) for path in made]
        words["folder"] = os.path.commonpath(made)
    for path in made:
        terminal.result(path)
    terminal.note(_NEXT[args.what].format(**words))
