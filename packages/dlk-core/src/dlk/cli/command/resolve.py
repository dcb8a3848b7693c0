"""``dlk resolve``: a config as a run sees it, on request with where each value comes from."""

from __future__ import annotations

import argparse
import textwrap

from dlk.cli._arguments import add_set
from dlk.cli._terminal import Terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Prints the config as JSON, all defaults, references and expressions filled in; "
        "of a config with _search a list, one for each run in the order of the runs."
    )
    parser.add_argument("config", metavar="CONFIG", help="process.jsonc or fit.jsonc")
    parser.add_argument(
        "--origins",
        action="store_true",
        help="say of each value where it comes from: JSON with comments",
    )
    parser.add_argument("--json", action="store_true", help="with --origins: plain JSON instead")
    add_set(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.cli._configs import read
    from dlk.config import thaw
    from dlk.config.origins import annotated, sources

    config = read(args.config, args.set)
    points = list(config.loaded)
    for number, point in enumerate(points, start=1):
        if point.choice:
            chosen = ", ".join(f"{path}={value}" for path, value in point.choice.items())
            terminal.note(f"run {number} of {len(points)}: {chosen}")
    if not config.processed:
        terminal.note("no processed data yet, so numbers of _G.meta are made up")
    if args.origins and not args.json:
        texts = [annotated(point) for point in points]
        inside = ",\n".join(textwrap.indent(text, "  ") for text in texts)
        terminal.result(texts[0] if len(texts) == 1 else f"[\n{inside}\n]")
        return
    found: list[object] = []
    for point in points:
        resolved = thaw(point.resolved)
        if args.origins:
            origins = [source.plain() for source in sources(point)]
            found.append({"choice": point.choice, "config": resolved, "origins": origins})
        else:
            found.append(resolved)
    terminal.json(found[0] if len(found) == 1 else found)
