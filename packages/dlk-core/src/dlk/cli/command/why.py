"""``dlk why``: which distribution, file and line supply a name. Imports no component."""

from __future__ import annotations

import argparse
from typing import Any

from dlk.cli._arguments import UsageError
from dlk.cli._terminal import Terminal
from dlk.errors import PluginError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", help="component type, such as embedding; or type.name")
    parser.add_argument("name", nargs="?", help="component, such as static")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    from dlk.cli.command.list import add_local

    add_local(terminal)
    type_name, name = args.type, args.name
    if name is None:
        type_name, _, name = type_name.partition(".")
    facts = _facts(type_name, name)
    if args.json:
        terminal.json(facts)
    else:
        _write(facts, terminal)
    return 0 if facts["used"] else 1


def _facts(type_name: str, name: str) -> dict[str, Any]:
    """Return all that is known of a name; every row that claims it, the one that is used first.

    Raises:
        UsageError: nothing claims it.
    """
    from dlk._override import overrides
    from dlk.registry import register

    claims = register.claims(type_name, name)
    problem = register.refusal(type_name, name)
    if not claims:
        try:
            register.primary(type_name, name)
        except PluginError as error:
            raise UsageError(str(error)) from error
    chosen = register.chosen(type_name, name)
    claims.sort(key=lambda claim: claim is not chosen)
    return {
        "type": type_name,
        "name": name,
        "used": chosen is not None,
        "problem": problem,
        "override": overrides().get((type_name, name), ""),
        "claims": [{**_claim(claim), "used": claim is chosen} for claim in claims],
    }


def _claim(entry: Any) -> dict[str, Any]:  # Any: dlk.registry.Entry, not imported for the help
    from dlk._sources import place_of

    row = entry.component
    return {
        "name": row.name,
        "distribution": entry.origin,
        "version": entry.version,
        "table": entry.table,
        "config": {"address": row.config, **_place(place_of(row.config))},
        "class": {"address": row.cls, **_place(place_of(row.cls))} if row.cls else None,
        "help": row.help,
        "aliases": list(row.aliases),
        "needs": list(row.needs),
    }


def _place(place: Any) -> dict[str, Any]:  # Any: dlk._sources.Place
    return {"file": place.file, "line": place.line, "problem": place.problem}


def _write(facts: dict[str, Any], terminal: Terminal) -> None:
    for number, claim in enumerate(facts["claims"]):
        if number:
            terminal.result("")
        local = claim["distribution"] == "local"
        origin = "this project (local)" if local else claim["distribution"]
        title = f'{facts["type"]} "{claim["name"]}" of {origin} {claim["version"]}'.rstrip()
        if not facts["used"]:
            title += ": not used"
        elif not claim["used"]:
            title += ": overridden"
        terminal.result(title)
        for label, value in _lines(facts, claim):
            terminal.result(f"  {label:<9} {value}")
    if facts["problem"]:
        terminal.error(facts["problem"])


def _lines(facts: dict[str, Any], claim: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("is", claim["help"])]
    if claim["name"] != facts["name"]:
        lines.append(("asked as", f"{facts['name']}, an alias"))
    for label in ("config", "class"):
        about = claim[label]
        if about is None:
            lines.append((label, "none: it is a config only"))
            continue
        lines.append((label, f"{about['file']}:{about['line']}" if about["line"] else ""))
        if not about["line"]:
            lines[-1] = (label, about["problem"] or about["file"])
        if claim["distribution"] != "local":
            lines.append(("", about["address"]))
    lines.append(("table", claim["table"]))
    lines.append(("aliases", ", ".join(claim["aliases"])))
    lines.append(("needs", ", ".join(claim["needs"])))
    if facts["override"] and claim["used"]:
        lines.append(("chosen by", f"DLK_OVERRIDE ({facts['override']})"))
    return [line for line in lines if line[1]]
