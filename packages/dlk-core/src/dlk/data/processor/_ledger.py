"""Which result of a step is which: keys made of all that decides it, and the results kept by them.

A raw column's key is a digest of its values in a chunk. The key of what a step makes is a digest of
its code, its options, the files it uses, and the keys of the columns it reads; the key of a column
it writes follows from that. So nothing that a step made has to be read to know which it is, and a
step whose options change takes only those with it that read what it writes.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from dlk.config import assets, ident, node_of, thaw
from dlk.data.held import Held, plain
from dlk.data.processor._code import code_of
from dlk.data.subprocessor.base import Columns
from dlk.errors import RowError
from dlk.io import sha256_of

if TYPE_CHECKING:
    from dlk.data.cache import Cache, Entry
    from dlk.data.meta import Meta
    from dlk.data.subprocessor.base import Subprocessor

__all__ = ["Ledger", "Made", "Taught", "error_list", "errors_of", "identity_of", "values_of"]

WORTH_S = 2e-3
"""Seconds that a result must have cost to be kept: less is made again sooner than it is read."""
BYTES_PER_S = 1e8
"""A larger result must have cost more: at this rate, it would be written, read and checked."""
_PLACES = ("train_data_set", "predict_data_set", "online_data_set")

Keys = dict[str, str | None]
"""By column its key; None where nobody can tell what it holds. ``_row`` stands for the records."""


@dataclass(slots=True)
class Made:
    """What a step made of a chunk.

    Attributes:
        columns: those it wrote.
        refused: bad rows that it was not given, or refused at once.
        bad: bad rows that it reported beside the columns.
        counts: what it counted.
    """

    columns: Columns
    refused: dict[int, RowError] = field(default_factory=dict)
    bad: dict[int, RowError] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Taught:
    """What a step that counts takes from a chunk: its counts, and the rows that it refuses."""

    counts: Counter[str]
    bad: dict[int, RowError] = field(default_factory=dict)


def identity_of(step: Subprocessor, meta_files: Sequence[str], meta: Meta) -> str | None:
    """Return a digest of what a step is: code, options, contents of the files it uses.

    Where those files lie, what the step is called and on which splits it runs is no part of it.

    Returns:
        None where its results must not be kept.
    """
    code = code_of(type(step))
    if not step.is_pure or code is None:
        return None
    config = step.config
    values = {
        name: value for name, value in thaw(node_of(config).values).items() if name not in _PLACES
    }
    files: dict[str, str] = {}
    for owner, name, _ in assets(config):
        content = _content(str(getattr(owner, name)))
        if content and owner is config:
            del values[name]
        files[f"{node_of(owner).path}.{name}"] = content
    learnt = {file: _content(os.path.join(meta.dir, file)) for file in meta_files if file in meta}
    about = [list(ident(config)), step.setup.seed, values, files, learnt]
    return _digest(code, json.dumps(about, sort_keys=True, ensure_ascii=True, default=repr))


def _content(path: str) -> str:
    """Return a digest of a file, or of all files of a folder; empty where there is none."""
    if os.path.isdir(path):
        inside = sorted(_files_in(path))
        return _digest(*(f"{os.path.relpath(each, path)}={_content(each)}" for each in inside))
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _files_in(folder: str) -> Iterator[str]:
    """Yield the files of a folder and of those below it, also where a link leads to one; once."""
    seen: set[str] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(top) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(top))
        yield from (os.path.join(top, name) for name in files)


class Ledger:
    """The keys of a chunk's columns as steps write them, and what is kept of the steps' results.

    Args:
        cache: where results lie.
        identities: by the step's name `identity_of` it.
        seed: the processor's seed.
    """

    def __init__(self, cache: Cache, identities: Mapping[str, str | None], seed: int) -> None:
        self.cache = cache
        self.identities = identities
        self.seed = seed

    def raw(self, columns: Columns, read: Collection[str]) -> Keys:
        """Return the keys of a chunk's raw columns, those that are read, and of its row numbers."""
        keys: Keys = {name: _content_key(columns[name]) for name in columns if name in read}
        rows = columns["_row"]
        keys["_row"] = _digest("rows", str(rows[0] if rows else 0), str(len(rows)))
        return keys

    def key(
        self, step: str, what: str, wanted: Collection[str], read: Sequence[str], keys: Keys
    ) -> str | None:
        """Return the key of what a step makes of columns; None where nobody can tell.

        Args:
            step: its name.
            what: stage and split, or what else is made of the columns.
            wanted: the columns wanted of it.
            read: the columns it reads.
            keys: of all columns.
        """
        identity = self.identities.get(step)
        given = [keys.get(name) for name in (*read, "_row")]
        if identity is None or None in given:
            return None
        named = [f"{name}={key}" for name, key in zip((*read, "_row"), given, strict=True)]
        return _digest(identity, what, str(self.seed), *sorted(wanted), "|", *named)

    def after(self, keys: Keys, key: str | None, made: Made | None, writes: Sequence[str]) -> Keys:
        """Return the keys of all columns once a step wrote what it makes.

        Args:
            keys: of the columns before it.
            key: of what it made.
            made: what it made; None where that is not known, and taken to concern all rows.
            writes: the columns that it may write.
        """
        written = [name for name in writes if name != "_part"] if made is None else made.columns
        if made is not None and (made.refused or made.bad or "_part" in made.columns):
            keys = {name: _joined(each, key) for name, each in keys.items()}
        return {**keys, **{n: None if key is None else _digest(key, n) for n in written}}

    # Results of steps -----------------------------------------------------------------------------

    def find(self, key: str) -> Made | None:
        """Return what was kept of a step's result; None where nothing was."""
        entry = self.cache.get(key)
        if entry is None:
            return None
        columns: Columns = {}
        for name in entry.table.column_names:
            held = Held(_one(entry.table.column(name)), entry.info["forms"][name])
            columns[name] = held.plain() if name in {"_row", "_part"} else held
        return Made(
            columns,
            errors_of(entry.info["refused"]),
            errors_of(entry.info["bad"]),
            dict(entry.info["counts"]),
        )

    def keep(self, key: str, made: Made, seconds: float) -> Made:
        """Keep a result that cost so much, where that pays and its values are told exactly.

        Returns:
            the same result; what had to be turned into Arrow for this is not turned again.
        """
        if seconds < WORTH_S:
            return made
        lists = (_plain_errors(made.refused), _plain_errors(made.bad))
        held = {name: _held(values) for name, values in made.columns.items()}
        known = {name: each for name, each in held.items() if each is not None}
        columns: Columns = {
            name: values if name in {"_row", "_part"} else known.get(name, values)
            for name, values in made.columns.items()
        }
        result = Made(columns, made.refused, made.bad, made.counts)
        if len(known) < len(held) or None in lists:
            return result
        import pyarrow as pa

        table = pa.table({name: each.array for name, each in known.items()})
        if seconds < WORTH_S + table.nbytes / BYTES_PER_S:
            return result
        info = {
            "forms": {name: each.dtype for name, each in known.items()},
            "refused": lists[0],
            "bad": lists[1],
            "counts": made.counts,
        }
        self.cache.put(key, table, info)
        return result

    # Counts ---------------------------------------------------------------------------------------

    def find_taught(self, key: str) -> Taught | None:
        """Return what was kept of a chunk's counts; None where nothing was."""
        entry: Entry | None = self.cache.get(key)
        if entry is None:
            return None
        names, numbers = (entry.table.column(name).to_pylist() for name in ("name", "count"))
        return Taught(Counter(dict(zip(names, numbers, strict=True))), errors_of(entry.info["bad"]))

    def keep_taught(self, key: str, taught: Taught, seconds: float) -> None:
        """Keep a chunk's counts that cost so much, where that pays."""
        bad = _plain_errors(taught.bad)
        if seconds < WORTH_S or bad is None:
            return
        import pyarrow as pa

        try:
            names = pa.array(taught.counts.keys(), pa.string())
            numbers = pa.array(taught.counts.values(), pa.int64())
        except (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError):
            return
        table = pa.table({"name": names, "count": numbers})
        if seconds >= WORTH_S + table.nbytes / BYTES_PER_S:
            self.cache.put(key, table, {"bad": bad})


def _digest(*parts: str) -> str:
    made = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        made.update(b"%d:" % len(data))
        made.update(data)
    return made.hexdigest()


def _joined(before: str | None, key: str | None) -> str | None:
    return None if before is None or key is None else _digest(before, key)


def _content_key(values: Sequence[Any]) -> str | None:
    """Return a digest of values with their types; None where they are not plain data."""
    try:
        # version 2 writes the same bytes for equal values, whoever else refers to them
        data = marshal.dumps(list(values), 2)
    except ValueError:
        return None
    return hashlib.sha256(data).hexdigest()


def _one(column: Any) -> Any:  # Any: Arrow's arrays
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks()


def _held(values: Sequence[Any]) -> Held | None:
    """Return a column as it is stored; None where Arrow would not give back the very same."""
    from dlk.data.ragged import Ragged
    from dlk.data.store import array_of

    if isinstance(values, Held):
        return values
    array = array_of(values)
    if array is None:
        return None
    if isinstance(values, Ragged):
        return Held(array, str(values.dtype), values)
    return Held(array, "", values) if _is_exact(array, values) else None


def _is_exact(array: Any, values: Sequence[Any]) -> bool:
    """Return whether Arrow gives back the very same values, types and all."""
    import pyarrow as pa

    kind, level = array.type, list(values)
    while pa.types.is_list(kind):
        if not set(map(type, level)) <= {list, type(None)}:
            return False  # tuples would come back as lists
        kind = kind.value_type
        if pa.types.is_list(kind):
            level = list(chain.from_iterable(each for each in level if each is not None))
        else:  # one of each list tells: looking at all the numbers costs as much as making them
            level = [each[0] for each in level if each]
    plain_type = _plain_type(kind)
    if plain_type is None:
        return _is_same(array.to_pylist(), list(values))
    return set(map(type, level)) <= {plain_type, type(None)}


def _plain_type(kind: Any) -> type | None:
    """Return the one Python type that values of an Arrow type come of; None where there are more.

    A whole number among fractions comes back as a fraction, a key that a dict lacks as None.
    """
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return int
    if pa.types.is_string(kind):
        return str
    if pa.types.is_boolean(kind):
        return bool
    return type(None) if pa.types.is_null(kind) else None


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, and so are the types of all that is in them."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_is_same(one[key], other[key]) for key in one)
    return bool(one == other)


def error_list(bad: Mapping[int, RowError]) -> list[list[Any]]:
    """Return errors as plain data, as `errors_of` takes them."""
    return [[at, e.row, e.column, e.value, e.reason] for at, e in bad.items()]


def _plain_errors(bad: Mapping[int, RowError]) -> list[list[Any]] | None:
    """Return errors as JSON; None where that would not give back the very same."""
    plain_bad = error_list(bad)
    try:
        again = json.loads(json.dumps(plain_bad))
    except (TypeError, ValueError):
        return None
    return plain_bad if _is_same(again, plain_bad) else None


def errors_of(listed: Sequence[Sequence[Any]]) -> dict[int, RowError]:
    """Return the errors of a list that `error_list` gave, by row."""
    return {at: RowError(row, column, value, reason) for at, row, column, value, reason in listed}


def values_of(columns: Columns) -> Columns:
    """Return columns as steps take them."""
    return {name: plain(values) for name, values in columns.items()}
