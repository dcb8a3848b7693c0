"""``dlk migrate``: a config of dlk 0.1 as ours."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal
from dlk.errors import ConfigError

if TYPE_CHECKING:
    from dlk.migrate.rules import Migrated

_HEADINGS = {
    "lost": "could not be carried over; see to these:",
    "changed": "says the same in other words:",
    "gone": "left out, nothing to do:",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Rewrites configs of dlk 0.1 as process.jsonc, fit.jsonc or display.jsonc (a module file "
        "type@name keeps its name), comments included, and lists what changed with its place in "
        "the old file. What could not be carried over stands in the new file as a comment. "
        "Relative names of files start from the config's folder now. Leaves with 1 where dlk check "
        "refuses what came out."
    )
    parser.add_argument("old", metavar="OLD", nargs="+", help="configs of dlk 0.1")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder to write to (default: the old file's)"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument("--json", action="store_true", help="print the notes as JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    from dlk.migrate.rules import migrate

    made: dict[str, Migrated] = {}
    for old in args.old:
        migrated = migrate(_read(old), old)
        target = os.path.join(args.output or os.path.dirname(old) or "", migrated.target)
        if target in made:
            raise UsageError(f"two of the files become {target}: migrate one at a time, with -o")
        if os.path.exists(target) and not args.force:
            raise UsageError(f"{target} is there already: name another folder with -o, or --force")
        made[target] = migrated
    for target, migrated in made.items():
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        with open(target, "w", encoding="utf-8") as handle:
            handle.write(migrated.text)
    refused = _check(list(made))
    if args.json:
        files = [
            {"file": target, "notes": [asdict(note) for note in migrated.notes]}
            for target, migrated in made.items()
        ]
        terminal.json({"files": files, "refused": refused})
    else:
        for target, migrated in made.items():
            _tell(target, migrated, terminal)
        if refused:
            terminal.result("dlk check refuses what came out:")
            for problem in refused:
                terminal.result(f"  {problem}")
        elif not terminal.quiet and any("@" not in os.path.basename(target) for target in made):
            terminal.result("dlk check accepts what came out")
    return 1 if refused else 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as handle:
            return handle.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error


def _check(paths: list[str]) -> list[str]:
    """Return the mistakes that are left in the configs, alone and together."""
    from dlk.cli.command.check import check

    configs = [path for path in paths if "@" not in os.path.basename(path)]
    if not configs:
        return []  # module files are checked with a config that names them
    try:
        check([(path, ()) for path in configs], Terminal(quiet=True))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def _tell(target: str, migrated: Migrated, terminal: Terminal) -> None:
    terminal.result(target)
    for kind, heading in _HEADINGS.items():
        notes = [note for note in migrated.notes if note.kind == kind]
        if notes and (kind == "lost" or not terminal.quiet):
            terminal.result(f"  {heading}")
            for note in notes:
                terminal.result(f"    {note}")
