"""Files and folders that configs name, and what they tell without being processed."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dlk.config import assets
from dlk.errors import nearest
from dlk.flow.columns import Raw
from dlk.flow.finding import Finding, Places, title

__all__ = ["Processed", "columns_of", "missing_files", "raw_of", "read_processed"]

_ROWS = 1000
"""Rows of a file that are looked at for the names of its columns."""


@dataclass(frozen=True, slots=True)
class Processed:
    """What a processed folder tells of itself.

    Attributes:
        folder: the folder.
        columns: what is stored, by split.
        files: files of its meta folder; None where that is not there.
        sizes: sizes of the entries of its meta folder.
        config: the resolved process config that made it; empty where it is not there.
        records: how many are stored, by split.
    """

    folder: str
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[str, ...] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)


def read_processed(folder: str) -> Processed | None:
    """Return what a processed folder tells; None where there is none, or it is damaged."""
    columns: dict[str, tuple[str, ...]] = {}
    records: dict[str, int] = {}
    for split in ("train", "valid", "test"):
        told = _json(os.path.join(folder, split, "split.json"))
        if isinstance(told.get("columns"), dict):
            columns[split] = tuple(told["columns"])
        if type(told.get("records")) is int:
            records[split] = told["records"]
    entries = _json(os.path.join(folder, "meta", "meta.json")).get("entries")
    if not columns and not isinstance(entries, dict):
        return None
    known = entries.items() if isinstance(entries, dict) else ()
    plain = {name: entry for name, entry in known if isinstance(entry, dict)}
    return Processed(
        folder,
        columns,
        tuple(str(entry.get("file")) for entry in plain.values()) if plain else None,
        {name: entry["size"] for name, entry in plain.items() if type(entry.get("size")) is int},
        _json(os.path.join(folder, "process.json")),
        records,
    )


def _json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as handle:
            plain = json.load(handle)
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def raw_of(paths: Mapping[str, Sequence[str]]) -> Raw:
    """Return what the files of each split tell of their columns."""
    columns: dict[str, frozenset[str] | None] = {}
    for split, names in paths.items():
        found = [columns_of(name) for name in names]
        known = [each for each in found if each is not None]
        columns[split] = frozenset().union(*known) if known and len(known) == len(found) else None
    sources = {split: ", ".join(map(_near, names)) for split, names in paths.items()}
    return Raw(columns, tuple(paths), sources)


def columns_of(path: str) -> frozenset[str] | None:
    """Return the columns of a file's first rows; None where only reading it whole would tell.

    So it is of formats other than json, jsonl, csv and tsv, and of files that cannot be read.
    """
    ending = Path(path).suffix.lower()
    try:
        if ending in (".jsonl", ".ndjson"):
            with open(path, encoding="utf-8") as handle:
                rows = [json.loads(line) for line in islice(handle, _ROWS) if line.strip()]
        elif ending in (".csv", ".tsv"):
            with open(path, encoding="utf-8-sig", newline="") as handle:
                header = next(csv.reader(handle, delimiter="\t" if ending == ".tsv" else ","), [])
            rows = [dict.fromkeys(header)]
        elif ending == ".json":
            rows = _rows_of_json(path)
        else:
            return None
    except (OSError, ValueError, csv.Error, RecursionError):
        return None
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    return frozenset(str(name) for row in rows for name in row)


def _rows_of_json(path: str) -> list[Any]:
    if os.path.getsize(path) > 5_000_000:  # it would have to be read whole
        return []
    with open(path, encoding="utf-8") as handle:
        plain = json.load(handle)
    if isinstance(plain, dict):  # columns, by name
        return [dict.fromkeys(plain)] if all(isinstance(v, list) for v in plain.values()) else []
    return plain[:_ROWS] if isinstance(plain, list) else []


def missing_files(root: Any, places: Places) -> Iterator[Finding]:
    """Yield the files that a config names and that are not there.

    A name that may be one of a model hub is left alone, unless its first folder is there: so it is
    meant to be a path.
    """
    for config, name, described in assets(root):
        value = str(getattr(config, name))
        if not described["include"] or "://" in value:  # a folder that is written to, or a URL
            continue
        base = places.folder(config, name)
        if os.path.exists(value) or "://" in base:
            continue
        if described["hub"] and not os.path.isabs(value) and not _is_local(value, base):
            continue
        path = os.path.join(base, value)
        folder, wanted = os.path.split(path)
        near = nearest(wanted, os.listdir(folder)) if os.path.isdir(folder) else []
        above = os.path.dirname(places.written(config, name))
        close = [os.path.join(above, each) for each in near]
        hint = f' Did you mean "{close[0]}"?' if close else ""
        lacking = _first_missing(path)
        why = f" ({_near(lacking)} is not there either)" if lacking != path else ""
        message = f'{title(config)} needs the file or folder "{_near(path)}", which is not there'
        yield Finding(config, f"{message}{why}.{hint}", "missing-file", None, (name,), tuple(close))


def _is_local(value: str, base: str) -> bool:
    """Return whether a name that may be one of a hub is meant to be a path."""
    first = value.partition("/")[0]
    return "/" in value and os.path.isdir(os.path.join(base, first))


def _first_missing(path: str) -> str:
    """Return the uppermost part of a path that is not there."""
    above = os.path.dirname(path)
    while above and above != os.path.dirname(above) and not os.path.exists(above):
        path, above = above, os.path.dirname(above)
    return path


def _near(path: str) -> str:
    """Return a path as a reader sees it: from the working directory where it lies below that."""
    shown = os.path.relpath(path)
    return path if shown.startswith("..") else shown
