"""``dlk bundle``: verify, inspect and zip bundles. Imports torch only for ``verify --predict``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.cli._arguments import UsageError, device_of
from dlk.cli._terminal import Terminal
from dlk.errors import redact
from dlk.io import is_remote

if TYPE_CHECKING:
    from dlk.bundle.contents import Contents
    from dlk.bundle.golden import Difference

_SHOWN = 20
_CHOICES = 8
_LABEL = 40


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Looks at bundles and packs them. Nothing in a bundle is run, but by verify --predict the "
        "components that it names, which are installed here."
    )
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    verify = _action(actions, "verify", "check every byte, name and header of a bundle")
    verify.add_argument(
        "--predict",
        action="store_true",
        help="then load it, predict its golden rows, and compare (imports torch)",
    )
    verify.add_argument("--device", default="cpu", help="where to predict (default: cpu)")
    verify.add_argument(
        "--src",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with the project's own components that it needs; may be repeated",
    )
    verify.add_argument(
        "--trust-code",
        action="store_true",
        help="run the copy of the project's own components in the bundle: code of its maker",
    )
    inspect = _action(actions, "inspect", "say what a bundle is, reads, gives and needs")
    for made in (verify, inspect):
        made.add_argument("--format", choices=("table", "json"), default="table")
    zipped = _action(actions, "zip", "write a bundle as one file; equal bundles, equal bytes")
    zipped.add_argument(
        "-o", "--output", metavar="FILE", help="the file (default: BUNDLE.zip beside it)"
    )
    code = _action(
        actions, "pack-code", "add a copy of the project's own components that a bundle needs"
    )
    code.add_argument(
        "--src", action="append", required=True, metavar="DIR", help="where they are; repeatable"
    )
    code.add_argument(
        "-o", "--output", metavar="DIR", help="folder to write (default: the bundle itself)"
    )


# Any: argparse does not export the type of subparsers
def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = actions.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False
    )
    made.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or its zip")
    return made


def run(args: argparse.Namespace, terminal: Terminal) -> int | None:
    actions = {"verify": _verify, "inspect": _inspect, "zip": _zip, "pack-code": _pack_code}
    return actions[args.action](args, terminal)


def _verify(args: argparse.Namespace, terminal: Terminal) -> int | None:
    from dlk.bundle.contents import Contents
    from dlk.errors import DlkError

    if (args.src or args.trust_code) and not args.predict:
        raise UsageError("--src and --trust-code are of use with --predict only")
    found: dict[str, Any] = {"bundle": redact(args.bundle), "ok": False}
    try:
        contents = Contents(args.bundle)
        found |= {
            "schema": contents.manifest["schema"],
            "digest": contents.manifest["digest"],
            "files": len(contents.sizes),
            "bytes": sum(contents.sizes.values()),
            "tensors": len(contents.tensors.shapes),
            "numbers": contents.tensors.numbers,
            "other_versions": _other_versions(contents.manifest),
        }
        differences = _predicted(args, contents, found) if args.predict else []
    except DlkError as error:
        if args.format == "table":
            raise
        terminal.json({**found, "error": str(error)})
        return 1
    found["ok"] = not differences
    if args.format == "json":
        terminal.json(found)
    else:
        _show(found, differences, terminal, golden=len(contents.golden))
    return 1 if differences else None


def _predicted(
    args: argparse.Namespace, contents: Contents, found: dict[str, Any]
) -> list[Difference]:
    from dlk.bundle import Bundle
    from dlk.bundle.golden import compare
    from dlk.errors import BundleError
    from dlk.inference import answer_of
    from dlk.postprocessor import plain

    device = device_of(args.device)
    bundle = Bundle(contents, src=args.src, trust_code=args.trust_code)
    golden = bundle.golden()
    inputs: list[dict[str, Any]] = [each.get("input", {}) for each in golden]
    if not all(isinstance(each.get("input"), dict) and "prediction" in each for each in golden):
        raise BundleError(f"{args.bundle}: golden.jsonl holds a line without input or prediction")
    columns = {name: [row.get(name) for row in inputs] for name in (inputs[0] if inputs else ())}
    answers = bundle.engine(device=device).predict(columns)
    tolerance = float(bundle.manifest.get("tolerance", 0.0))
    differences = list(
        compare(
            [each["prediction"] for each in golden],
            [plain(answer_of(answer)) for answer in answers],
            tolerance=tolerance,
        )
    )
    found["golden"] = {
        "rows": len(golden),
        "tolerance": tolerance,
        "differences": [
            {"row": d.row, "field": d.field, "expected": d.expected, "got": d.got}
            for d in differences
        ],
    }
    return differences


def _show(
    found: Mapping[str, Any], differences: list[Difference], terminal: Terminal, *, golden: int
) -> None:
    rows = [
        ("files", "ok", f"{found['files']} files, {_size(found['bytes'])}, as written"),
        ("weights", "ok", f"{found['tensors']} tensors, {found['numbers']} numbers"),
    ]
    if "golden" not in found:
        rows.append(("golden rows", "not run", f"{golden} rows; --predict runs them"))
    elif differences:
        wrong = len({each.row for each in differences})
        rows.append(("golden rows", "differ", f"{wrong} of {golden} rows"))
    else:
        within = f"within {found['golden']['tolerance']:g}"
        rows.append(("golden rows", "ok", f"{golden} rows predicted as they were, {within}"))
    other = found["other_versions"]
    for name, (then, now) in other.items():
        rows.append((name, "other", f"made with {then}, here {now}"))
    terminal.table(("what", "state", "found"), rows)
    if differences:
        terminal.result("")
        shown = [(d.row, d.field, d.expected, d.got) for d in differences[:_SHOWN]]
        terminal.table(("row", "field", "expected", "got"), shown)
        if len(differences) > _SHOWN:
            terminal.note(f"and {len(differences) - _SHOWN} more; --format json gives all")


def _other_versions(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return distributions of which another version is here than the bundle was made with."""
    found = {}
    for name, version in manifest.get("distributions", {}).items():
        try:
            here = importlib.metadata.version(str(name))
        except (importlib.metadata.PackageNotFoundError, ValueError):
            here = "none"
        if here != version:
            found[str(name)] = [str(version), here]
    return found


def _inspect(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.bundle import schema
    from dlk.bundle.contents import Contents

    contents = Contents(args.bundle)
    manifest = contents.manifest
    prediction = manifest.get("prediction", {})
    if args.format == "json":
        terminal.json(
            {
                "bundle": redact(args.bundle),
                **{key: value for key, value in manifest.items() if key != "digests"},
                "prediction": {
                    "from": prediction.get("from", "golden"),
                    "schema": schema.prediction_of(manifest),
                },
                "golden_rows": len(contents.golden),
                "tensors": len(contents.tensors.shapes),
                "numbers": contents.tensors.numbers,
                "types": sorted(set(contents.tensors.types.values())),
                "files": {
                    name: {"bytes": size, "sha256": contents.digests.get(name)}
                    for name, size in contents.sizes.items()
                },
            }
        )
        return
    numbers = f"{contents.tensors.numbers} in {len(contents.tensors.shapes)} tensors"
    types = ", ".join(sorted(set(contents.tensors.types.values())))
    environment = manifest.get("environment", {})
    facts: dict[str, object] = {
        "bundle": redact(args.bundle),
        "schema": manifest["schema"],
        "task": manifest.get("task", ""),
        "weights": f"{numbers}, {types}",
        "golden rows": len(contents.golden),
        "made on": ", ".join(map(str, environment.values())) or None,
        "size": _size(sum(contents.sizes.values())),
    }
    terminal.table(("what", "value"), facts.items())
    _section(terminal, ("input", "type", "null"), _inputs(manifest))
    how = "declared" if prediction.get("from") == "declared" else "seen in golden rows"
    _section(terminal, (f"prediction ({how})", "type"), _fields(schema.prediction_of(manifest)))
    _section(terminal, ("metric", "value"), list(manifest.get("metrics", {}).items()))
    _section(terminal, ("needs", "name", "of"), _needs(manifest))
    _section(terminal, ("made with", "version"), list(manifest.get("distributions", {}).items()))
    files = [(name, _size(size)) for name, size in contents.sizes.items()]
    _section(terminal, ("file", "size"), files)


def _section(terminal: Terminal, columns: tuple[str, ...], rows: list[Any]) -> None:
    if rows:
        terminal.result("")
        terminal.table(columns, rows)


def _inputs(manifest: Mapping[str, Any]) -> list[tuple[object, ...]]:
    words = {True: "allowed", False: "refused"}
    return [
        (each["name"], each.get("type") or "?", words.get(each.get("nullable"), "not known"))
        for each in manifest.get("inputs", [])
    ]


def _needs(manifest: Mapping[str, Any]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for need in manifest.get("needs", []):
        origin = f"{need.get('distribution', '')} {need.get('version', '')}".strip()
        if need.get("distribution") == "local":
            origin = f"the project's {need.get('file', '?')}"
        found.append((need["type"], need["name"], origin))
    return found


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields of a JSON Schema, nested ones by their path: ``entities[].start``."""
    named = schema.get("$defs")
    return list(_below(schema, "", named if isinstance(named, Mapping) else {}))


def _below(
    described: Mapping[str, Any], above: str, named: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    properties = described.get("properties")
    required = described.get("required")
    for name, part in (properties if isinstance(properties, Mapping) else {}).items():
        path, inner = (f"{above}.{name}" if above else str(name)), part
        absent = isinstance(required, list) and name not in required
        yield path, _type_of(part, named) + (", or missing" if absent else "")
        while isinstance(inner, Mapping) and isinstance(inner.get("items"), Mapping):
            path, inner = f"{path}[]", inner["items"]
        if isinstance(inner, Mapping):
            yield from _below(inner, path, named)


def _type_of(described: object, named: Mapping[str, Any]) -> str:
    """Return what a schema allows, in words; what it refers to is looked at once."""
    if isinstance(described, Mapping) and "$ref" in described:
        described = named.get(str(described["$ref"]).removeprefix("#/$defs/"))
        named = {}  # so that a circle of references ends
    if not isinstance(described, Mapping):
        return "nothing" if described is False else "?"
    if isinstance(described.get("enum"), list):
        return _choice(described["enum"])
    either = described.get("anyOf")
    if "type" not in described and isinstance(either, list) and either:
        return " or ".join(_type_of(each, named) for each in either[:_SHOWN])
    if "type" not in described:
        return "anything" if set(described) <= {"description"} else "?"
    kind = described["type"]
    text = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    low, high = described.get("minimum"), described.get("maximum")
    if low is not None or high is not None:
        text += f" ({'' if low is None else low}..{'' if high is None else high})"
    return f"{text} of {_type_of(described['items'], named)}" if "items" in described else text


def _choice(values: Sequence[Any]) -> str:
    """Return some of the values that a field may have, and how many more there are."""
    shown = [_shortly("null" if value is None else str(value)) for value in values[:_CHOICES]]
    more = f" and {len(values) - _CHOICES} more" if len(values) > _CHOICES else ""
    return f"one of {', '.join(shown)}{more}"


def _shortly(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[:_LABEL]}…"


def _zip(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.bundle.pack import zip_bundle

    if is_remote(args.bundle) and not args.output:
        raise UsageError(f"{args.bundle} is a URL: name the zip with -o")
    output = args.output or f"{os.path.abspath(args.bundle).removesuffix('.zip')}.zip"
    if os.path.isdir(output):
        raise UsageError(f"-o {output}: this is a folder, expected a file such as bundle.zip")
    if os.path.realpath(output) == os.path.realpath(args.bundle):
        raise UsageError(f"{args.bundle} is a zip already: name another file with -o")
    if os.path.realpath(output).startswith(os.path.realpath(args.bundle) + os.sep):
        raise UsageError(f"-o {output}: this is in the bundle, which holds nothing else")
    contents = zip_bundle(args.bundle, output)
    terminal.result(output)
    terminal.note(f"{len(contents.sizes)} files, {_size(os.path.getsize(output))}")


def _pack_code(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.bundle.pack import pack_code

    output = args.output or args.bundle
    if os.path.isfile(output):
        raise UsageError(f"{output} is a file: name a folder to write with -o")
    for name in pack_code(args.bundle, output, src=args.src):
        terminal.result(name)
    terminal.note(f"{output} brings its code; it is run with --trust-code only")


def _size(count: int) -> str:
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{count} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
