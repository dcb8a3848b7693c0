"""``dlk diff``: what differs between two configs once they are resolved."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dlk.cli._arguments import UsageError, add_set
from dlk.cli._terminal import Terminal

if TYPE_CHECKING:
    from dlk.config.difference import Difference

EQUAL, DIFFERENT = 0, 1
_ARROW = " -> "


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compares two configs after defaults, bases, references and expressions are filled in. "
        "Leaves with 0 where they are equal, 1 where they differ, 2 where one cannot be read."
    )
    what = "a config's file, the folder of a run, or a bundle"
    parser.add_argument("before", metavar="A", help=what)
    parser.add_argument("after", metavar="B", help=what)
    add_set(parser, option="--set-a", file="A")
    add_set(parser, option="--set-b", file="B")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    from dlk.config.difference import differences

    before = _resolved(args.before, args.set_a, terminal)
    after = _resolved(args.after, args.set_b, terminal)
    found = differences(*_common(args.before, before, args.after, after))
    if args.json:
        terminal.json([asdict(difference) for difference in found])
    else:
        for difference in found:
            terminal.result(f"{difference.kind:<9}  {difference.path}: {_shown(difference)}")
        if not found:
            terminal.note("no difference")
    return DIFFERENT if found else EQUAL


def _resolved(source: str, overrides: Sequence[str], terminal: Terminal) -> dict[str, Any]:
    """Return the resolved components of a file or folder, by key.

    Raises:
        UsageError: the folder is neither a run's nor a bundle.
        ConfigError: the config has mistakes, or searches.
    """
    from dlk.cli._configs import read
    from dlk.config import jsonc, thaw

    if not os.path.isdir(source):
        config = read(source, overrides)
        if not config.processed:
            terminal.note(f"{source}: no processed data yet, so numbers of _G.meta are made up")
        return dict(thaw(config.loaded.one().resolved))
    if overrides:
        raise UsageError(f"{source} is a folder of resolved configs: --set changes files only")
    bundle = os.path.join(source, "bundle.json")
    names = ("process.json", "fit.json") if os.path.isfile(bundle) else ("config.json",)
    files = [os.path.join(source, name) for name in names]
    missing = next((file for file in files if not os.path.isfile(file)), None)
    if missing:
        raise UsageError(f"{source} is neither a run nor a bundle: there is no {missing}")
    found: dict[str, Any] = {}
    for file in files:
        found |= jsonc.read(file).value
    return found


def _common(
    name_a: str, before: dict[str, Any], name_b: str, after: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is compared: of a bundle, which holds two configs, the one that the other is.

    Raises:
        UsageError: one is a process config, the other a fit config.
    """
    from dlk.config.keys import parse_key

    types_a, types_b = ({parse_key(key).type for key in side} for side in (before, after))
    both = types_a & types_b
    if not both:
        a, b = (" and ".join(sorted(types)) for types in (types_a, types_b))
        raise UsageError(f"nothing to compare: {name_a} holds {a}, {name_b} holds {b}")
    folders = (os.path.isdir(name_a), os.path.isdir(name_b))
    if not any(folders):
        return before, after
    return (
        {k: v for k, v in before.items() if not folders[0] or parse_key(k).type in both},
        {k: v for k, v in after.items() if not folders[1] or parse_key(k).type in both},
    )


def _shown(difference: Difference) -> str:
    before, after = difference.before, difference.after
    if difference.kind == "added":
        return _value(after)
    if difference.kind == "removed":
        return _value(before)
    return f"{_value(before)}{_ARROW}{_value(after)}"


def _value(value: Any) -> str:
    """Return a value on one line; a component as its name."""
    if isinstance(value, Mapping) and isinstance(value.get("_name"), str):
        return str(value["_name"])
    return json.dumps(value, ensure_ascii=False)
