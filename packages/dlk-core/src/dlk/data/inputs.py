"""Any input as chunks of columns.

Data frames, dicts of lists, lists of dicts, `datasets.Dataset`, files and globs.

Neither pandas nor datasets is imported: their objects are known by what they offer. Chunks hold
plain Python values. Files with other endings are read by components of the family `reader`, which
packages bring.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import secrets
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from dlk.data.texts import flaw_of
from dlk.errors import DataError, PluginError, did_you_mean
from dlk.io import is_remote, local_path, open_file

__all__ = ["Columns", "Source", "endings", "open_input"]

Columns = dict[str, list[Any]]

_TEXT = "utf-8-sig"  # UTF-8, with or without the mark that some editors put in front
_TOO_DEEP = "lists or objects stand in one another too deeply"
_KEYLESS = "have no column at all: leave them out, or give them the columns with null"
_READERS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")


class Source(ABC):
    """Rows that can be gone through again and again, chunk by chunk.

    Attributes:
        column_names: the columns of the first chunk; a later chunk may bring more.
        num_rows: how many rows there are; None where only reading would tell.
    """

    column_names: tuple[str, ...]
    num_rows: int | None

    @abstractmethod
    def chunks(self, size: int) -> Iterator[Columns]:
        """Yield the rows in order, at most `size` at a time, as columns of equal length."""

    def place(self, row: int) -> str:
        """Return where a row stands that was read: its file, and its number there where it differs.

        Empty for rows in memory.
        """
        return ""


def open_input(data: Any, *, name: str = "data") -> Source:
    """Return the source behind any kind of input.

    A column of csv files is one of numbers (or booleans, or dates) where all its values are, in all
    the files, and else one of texts; also where a whole number would lose digits beside a fraction.

    Args:
        data: a DataFrame, a dict of lists, a list of dicts, a `datasets.Dataset`, an Arrow table,
            a path or glob (or a list of them) of files that `endings` names, or a function that
            gives an iterator over dicts, each time anew: rows that need not be in memory.
        name: what the input is called in errors, such as the split.

    Raises:
        DataError: the input is of no known kind, a file is missing, a glob finds nothing, columns
            differ in length.
    """
    if isinstance(data, str | os.PathLike):
        return _Files([os.fspath(data)], name)
    if isinstance(data, Mapping):
        return _Lists(data, name)
    if hasattr(data, "column_names") and hasattr(data, "to_pydict") and hasattr(data, "slice"):
        return _Sliced(
            data.column_names,
            data.num_rows,
            lambda start, stop: _plain(_from_arrow(data.slice(start, stop - start), name, start)),
            name,
        )
    if (
        hasattr(data, "column_names")
        and hasattr(data, "with_format")
        and hasattr(data, "__getitem__")
    ):
        if not hasattr(data, "__len__"):
            raise DataError(
                f"{name}: a stream cannot be read twice, and learning needs that: save it as files"
            )
        rows = data.with_format(None)
        return _Sliced(
            rows.column_names,
            len(rows),
            lambda start, stop: _plain(_from_dataset(rows, start, stop, name)),
            name,
        )
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _Sliced(
            list(data.columns),
            len(data),
            lambda start, stop: _from_frame(data.iloc[start:stop]),
            name,
        )
    if (
        isinstance(data, Sequence)
        and len(data)
        and all(isinstance(item, str | os.PathLike) for item in data)
    ):
        return _Files([os.fspath(item) for item in data], name)
    if isinstance(data, Sequence) and all(isinstance(item, Mapping) for item in data):
        names = list(dict.fromkeys(key for row in data for key in row))
        return _Sliced(
            names, len(data), lambda start, stop: _from_records(data[start:stop], names), name
        )
    if isinstance(data, Sequence):
        found = next(item for item in data if not isinstance(item, Mapping))
        raise DataError(
            f"{name}: expected a list of dicts, one per row, found {type(found).__name__} in it"
        )
    if isinstance(data, Iterator):
        raise DataError(
            f"{name}: {type(data).__name__} can be gone through once, and rows are read more than "
            "once: give the function that makes it, as rows instead of rows()"
        )
    if callable(data) and not isinstance(data, type):
        return _Iterated(data, name)
    raise DataError(
        f"{name}: cannot read {type(data).__name__}; expected a DataFrame, a dict of lists, "
        f"a list of dicts, a datasets.Dataset, paths of {', '.join(endings())} files, or a "
        "function that gives an iterator over dicts"
    )


class _Sliced(Source):
    """Rows in memory (or mapped), given by slices."""

    def __init__(
        self, names: Iterable[Any], num_rows: int, read: Callable[[int, int], Columns], name: str
    ) -> None:
        self.column_names = tuple(_check_names(names, name))
        self.num_rows = num_rows
        self._read = read

    def chunks(self, size: int) -> Iterator[Columns]:
        assert self.num_rows is not None
        for start in range(0, self.num_rows, size):
            yield self._read(start, min(start + size, self.num_rows))


class _Lists(_Sliced):
    """A dict of columns: lists, arrays, series, anything with a length and slices."""

    def __init__(self, data: Mapping[Any, Any], name: str) -> None:
        lengths = {}
        for key, values in data.items():
            if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
                raise DataError(
                    f'{name}: column "{key}" should be a list, got {type(values).__name__}'
                )
            lengths[key] = len(values)
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"{name}: columns differ in length: "
                + ", ".join(f"{k} {n}" for k, n in lengths.items())
            )
        columns = {
            key: getattr(values, "array", values) for key, values in data.items()
        }  # a series slices by label
        rows = next(iter(lengths.values()), 0)
        super().__init__(
            columns,
            rows,
            lambda start, stop: _plain({k: v[start:stop] for k, v in columns.items()}),
            name,
        )


class _Iterated(Source):
    """Rows of a function that gives an iterator over them, however often it is asked."""

    def __init__(self, make: Callable[[], Iterable[Any]], name: str) -> None:
        self._make = make
        self._name = name
        self.num_rows: int | None = None  # known once all were gone through
        self._least = 0
        first: Columns = next(self.chunks(4096), {})
        self._least = len(next(iter(first.values()), ()))
        self.column_names = tuple(_check_names(first, name))

    def chunks(self, size: int) -> Iterator[Columns]:
        seen: dict[str, None] = {}
        done = 0
        rows = iter(self._make())
        while some := list(islice(rows, size)):
            for number, row in enumerate(some, start=done):
                if not isinstance(row, Mapping):
                    raise DataError(
                        f"{self._name}: row {number}: expected a dict, got {type(row).__name__}"
                    )
            seen.update(_keys_of(some))
            if not seen:
                raise DataError(f"{self._name}: the first {len(some)} rows {_KEYLESS}")
            done += len(some)
            yield _from_records(some, list(seen))
        if self.num_rows not in {None, done} or done < self._least:
            before = self._least if self.num_rows is None else self.num_rows
            raise DataError(
                f"{self._name}: the function gave {before} rows at first and {done} now: it must "
                "give them all, however often it is asked"
            )
        self.num_rows = done


class _Files(Source):
    """Files of one or several formats, one after the other."""

    def __init__(self, patterns: Sequence[str], name: str) -> None:
        self._name = name
        self.paths = [path for pattern in patterns for path in _expand(pattern, name)]
        for path in self.paths:
            _suffix(path, name)
        self._starts: list[int] = []  # the number of the first row of each file read so far
        self._types = _csv_types([path for path in self.paths if _is_csv(path)], name)
        self.num_rows = self._count()
        first: Columns = next(self.chunks(4096), {})
        self.column_names = tuple(_check_names(first, name))

    def _count(self) -> int | None:
        """Return the number of rows where the formats tell it without reading."""
        total = 0
        for path in self.paths:
            if _suffix(path, self._name) != ".parquet":
                return None
            import pyarrow.parquet as pq

            with _Reading(path, self._name), open_file(path, "rb") as handle:
                total += pq.read_metadata(handle).num_rows
        return total

    def chunks(self, size: int) -> Iterator[Columns]:
        seen: dict[str, None] = {}
        starts: list[int] = []
        done = 0
        for path in self.paths:
            starts.append(done)
            for chunk in _read(path, size, self._name, self._types):
                if not chunk:  # nobody could count them
                    before = done - starts[-1]
                    raise DataError(
                        f"{self._name}: {path}: rows after its first {before} {_KEYLESS}"
                    )
                rows = len(next(iter(chunk.values()), []))
                seen.update(dict.fromkeys(chunk))
                done += rows
                self._starts = max(self._starts, starts, key=len)
                yield {key: chunk[key] if key in chunk else [None] * rows for key in seen}

    def place(self, row: int) -> str:
        """Return the row's file, and with several files its number there; see `Source.place`."""
        if len(self.paths) == 1:
            return self.paths[0]
        number = bisect_right(self._starts, row) - 1
        return f"{self.paths[number]}, its row {row - self._starts[number]}" if number >= 0 else ""


def _expand(pattern: str, name: str) -> list[str]:
    if is_remote(pattern):
        from dlk._remote import protocol_of
        from dlk.io import glob as remote_glob

        if protocol_of(pattern) in {"http", "https"}:  # lists nothing, and has "?" in its names
            return [pattern]
        found = remote_glob(pattern)
        if not found:
            raise DataError(f'{name}: no file fits "{pattern}"')
        return found
    pattern = local_path(pattern)
    if os.path.isfile(pattern):
        return [pattern]
    if glob.has_magic(pattern):
        found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        if not found:
            raise DataError(f'{name}: no file fits "{pattern}"')
        return found
    if os.path.isdir(pattern):
        inside = {Path(each).suffix.lower() for each in os.listdir(pattern)}
        ending = next((each for each in endings() if each in inside), ".jsonl")
        example = os.path.join(pattern, f"*{ending}")
        raise DataError(f'{name}: "{pattern}" is a folder; give a glob such as "{example}"')
    folder = Path(pattern).parent
    beside = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    close = did_you_mean(Path(pattern).name, beside).partition(" Known:")[0]
    raise DataError(
        f'{name}: there is no file "{pattern}". {close if close.startswith("Did") else ""}'.rstrip()
    )


def endings() -> tuple[str, ...]:
    """Return the endings of the files that can be read here: dlk's own, then those of readers."""
    from dlk.registry import register

    rows = [entry.component for entry in register.entries() if entry.component.type == "reader"]
    names = {*register.names("reader"), *(alias for row in rows for alias in row.aliases)}
    brought = {f".{name}" for name in names}
    return (*_READERS, *sorted(brought.difference(_READERS)))


def _suffix(path: str, name: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        from dlk._known import KNOWN
        from dlk.registry import register

        names = "reader", suffix.removeprefix(".")
        if not suffix or names not in register:
            hint = f"expected one of {', '.join(endings())}"
            if names in KNOWN:
                try:
                    register.primary(*names)
                except PluginError as error:  # it says what to install
                    hint = str(error)
            raise DataError(f'{name}: cannot tell the format of "{path}"; {hint}')
    return suffix


class _Reading:
    """Turns what a reader raises about a file into a DataError that names the file."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, RecursionError):
            raise DataError(f"{self.name}: cannot read {self.path}: {_TOO_DEEP}") from error
        if isinstance(error, OSError | ValueError):  # Arrow's errors and json's are ValueErrors
            is_foreign = isinstance(error, UnicodeDecodeError) or "invalid UTF8" in str(error)
            reason = (is_foreign and _no_utf8(self.path)) or str(error)
            raise DataError(f"{self.name}: cannot read {self.path}: {reason}") from error


def _no_utf8(path: str) -> str:
    """Return which line of a file is no UTF-8, and what to do; nothing where all are."""
    with open_file(path, "rb") as handle:
        for number, line in enumerate(handle, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"0x{line[error.start]:02x}"
                return f"line {number} is no utf-8 text (byte {byte}): save the file as UTF-8"
    return ""


def _read(
    path: str,
    size: int,
    name: str,
    types: Mapping[str, Any],  # Any: Arrow's types
) -> Iterator[Columns]:
    suffix = _suffix(path, name)
    if suffix == ".json":
        with _Reading(path, name), open_file(path, encoding=_TEXT) as handle:
            content = json.load(handle)
        if not isinstance(content, list | dict):
            raise DataError(f"{name}: {path} should hold a list of objects, or an object of lists")
        yield from open_input(content, name=f"{name}: {path}").chunks(size)
    elif suffix in {".jsonl", ".ndjson"}:
        yield from _read_lines(path, size, name)
    elif suffix not in _READERS:
        yield from _read_by(suffix, path, size)
    else:
        batches = _batches(path, suffix, size, types)
        done = 0
        while True:
            with _Reading(path, name):
                batch = next(batches, None)
            if batch is None:
                return
            _refuse_twice(batch.schema.names, f"{name}: {path}")
            for start in range(0, batch.num_rows, size):
                yield _from_arrow(batch.slice(start, size), f"{name}: {path}", done + start)
            done += batch.num_rows


def _read_by(suffix: str, path: str, size: int) -> Iterator[Columns]:
    """Yield the rows of a file that a component reads."""
    from dlk.config import make
    from dlk.registry import register

    config = make("reader", register.primary("reader", suffix.removeprefix(".")))
    rows = iter(register.build(config).read(path))
    while some := list(islice(rows, size)):
        yield _from_records(some, list(dict.fromkeys(key for each in some for key in each)))


def _read_lines(path: str, size: int, name: str) -> Iterator[Columns]:
    lines: list[str] = []
    numbers: list[int] = []
    start = 1
    with _Reading(path, name), open_file(path, encoding=_TEXT) as handle:
        while some := list(islice(handle, size - len(lines))):
            here: Iterable[int] = range(start, start + len(some))
            start += len(some)
            if not all(map(str.strip, some)):
                here = [number for number, line in zip(here, some, strict=True) if line.strip()]
                some = [line for line in some if line.strip()]
            lines += some
            numbers += here
            if len(lines) == size:
                yield _from_objects(_objects(lines, numbers, path, name))
                lines, numbers = [], []
    if lines:
        yield _from_objects(_objects(lines, numbers, path, name))


def _from_objects(rows: Sequence[Mapping[str, Any]]) -> Columns:
    if len(set(map(tuple, rows))) == 1:  # the keys of all rows, in one order
        return _plain({name: list(map(itemgetter(name), rows)) for name in rows[0]})
    return _from_records(rows, list(_keys_of(rows)))


def _keys_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, None]:
    return dict.fromkeys(key for row in rows for key in row)


def _objects(
    lines: Sequence[str], numbers: Sequence[int], path: str, name: str
) -> list[Mapping[str, Any]]:
    """Return the objects of lines of JSON.

    Args:
        lines: none of them empty.
        numbers: of the lines in their file.
        path: of their file.
        name: what the input is called in errors.
    """
    # Parsed as one list, which is several times faster than line by line. A number that no file can
    # foresee stands between the lines, so that no two lines can be one value, nor one line two.
    mark = secrets.randbits(62)
    try:
        found = json.loads(f"[{f',{mark},'.join(lines)}]")
    except (ValueError, RecursionError):
        found = []
    rows: list[Mapping[str, Any]] = found[::2]
    if (
        len(rows) == len(lines)
        and len(found) == 2 * len(lines) - 1
        and set(map(type, rows)) == {dict}
        and found[1::2] == [mark] * (len(lines) - 1)
    ):
        return rows
    rows = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}: {path}:{number} is no JSON: {error}") from error
        except RecursionError as error:
            raise DataError(f"{name}: {path}:{number} cannot be read: {_TOO_DEEP}") from error
        if not isinstance(row, dict):
            raise DataError(f"{name}: {path}:{number} should hold an object, one row a line")
        rows.append(row)
    return rows


def _batches(path: str, suffix: str, size: int, types: Mapping[str, Any]) -> Iterator[Any]:
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        with open_file(path, "rb") as handle, pq.ParquetFile(handle) as file:
            yield from file.iter_batches(batch_size=size)
    elif suffix == ".arrow":
        from pyarrow import ipc

        with open_file(path, "rb") as source:
            if source.read(6) == b"ARROW1":
                batches = ipc.open_file(source)
                for number in range(batches.num_record_batches):
                    yield batches.get_batch(number)
            else:
                source.seek(0)
                yield from ipc.open_stream(source)
    else:
        with _open_csv(path, types) as reader:
            if any(field.type == "binary" for field in reader.schema):
                raise ValueError("invalid UTF8")
            yield from reader


_BLOCK = 1 << 20
"""Bytes of a csv file from which Arrow takes the types of its columns."""
_MISFIT = re.compile(r"In CSV column #(\d+): .*conversion error")


def _is_csv(path: str) -> bool:
    return Path(path).suffix.lower() in {".csv", ".tsv"}


@contextmanager
def _open_csv(
    path: str, types: Mapping[str, Any], only: Sequence[str] = ()
) -> Iterator[Any]:  # Any: Arrow's reader
    """Open a csv file with the types given; all columns, or only those named."""
    from pyarrow import csv

    # an empty text stays a text, and a line break inside quotes is part of it
    parsing = csv.ParseOptions(
        delimiter="\t" if path.lower().endswith(".tsv") else ",", newlines_in_values=True
    )
    options = {
        "read_options": csv.ReadOptions(block_size=_BLOCK),
        "parse_options": parsing,
        "convert_options": csv.ConvertOptions(column_types=types, include_columns=only),
    }
    with open_file(path, "rb") as handle, csv.open_csv(handle, **options) as reader:
        yield reader


def _csv_types(paths: Sequence[str], name: str) -> dict[str, Any]:
    """Return the type of each column in all of the files: a number where all values are, or a text.

    A column is one of texts, too, where it holds fractions (or numbers beyond 64 bits) and a whole
    number that would lose digits among them, as ids of 17 digits and more do.
    """
    if not paths:
        return {}
    import pyarrow as pa

    types: dict[str, Any] = {}
    large: set[str] = set()
    for path in paths:
        with _Reading(path, name):
            mine = _csv_types_of(path, types, large)
        for column, kind in mine.items():
            before = types.get(column, kind)
            if {before, kind} <= {pa.int64(), pa.float64()}:
                types[column] = pa.float64() if pa.float64() in {before, kind} else kind
            else:
                types[column] = kind if pa.types.is_null(before) or before == kind else pa.string()
    doubtful = [column for column in large if types[column] == pa.float64()]
    for path in paths if doubtful else ():
        with _Reading(path, name):
            types.update(dict.fromkeys(_losing(path, doubtful), pa.string()))
    return types


def _csv_types_of(path: str, types: Mapping[str, Any], large: set[str]) -> dict[str, Any]:
    """Return the types of the columns of one file; wider than those given where values need it.

    Columns that hold a number which a fraction may not hold exactly are added to `large`.
    """
    import pyarrow as pa

    found = {name: kind for name, kind in types.items() if not pa.types.is_null(kind)}
    while True:
        try:
            with _open_csv(path, found) as reader:
                for batch in reader:
                    large.update(_large(batch))
                return {field.name: field.type for field in reader.schema}
        except pa.ArrowInvalid as error:
            misfit = _MISFIT.search(str(error))
            if misfit is None:
                raise
            with _open_csv(path, {}) as reader:
                field = reader.schema.field(int(misfit[1]))
            kind = found.get(field.name, field.type)
            if kind == pa.string():  # there is no wider one
                raise
            if pa.types.is_null(kind):
                found[field.name] = _first_type(path, field.name)
            else:
                found[field.name] = pa.float64() if kind == pa.int64() else pa.string()


def _first_type(path: str, column: str) -> Any:
    """Return the type that Arrow gives the first values of a column which is empty for long."""
    import io

    import pyarrow as pa
    from pyarrow import csv

    with _open_csv(path, {column: pa.string()}, [column]) as reader:
        for batch in reader:
            values = (value.replace('"', '""') for value in batch.column(0).unique().to_pylist())
            lines = "\n".join(["x", *(f'"{value}"' for value in values)])
            options = csv.ParseOptions(newlines_in_values=True)
            kind = csv.read_csv(io.BytesIO(lines.encode()), parse_options=options).schema[0].type
            if not pa.types.is_null(kind):
                return kind
    return pa.string()


def _large(batch: Any) -> Iterator[str]:
    """Yield the columns of numbers that hold one from 2**53 on: fractions are exact up to there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.type in {pa.int64(), pa.float64()}:
            bounds = pc.min_max(column).as_py()
            if any(abs(bound) >= 1 << 53 for bound in bounds.values() if bound is not None):
                yield field.name


def _losing(path: str, columns: Sequence[str]) -> Iterator[str]:
    """Yield those columns of a file that hold a whole number which a fraction does not."""
    import pyarrow as pa

    with _open_csv(path, dict.fromkeys(columns, pa.string())) as reader:
        there = [name for name in columns if name in reader.schema.names]
    with _open_csv(path, dict.fromkeys(there, pa.string()), there) as reader:
        for batch in reader if there else ():
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                if any(_loses(text) for text in values.unique().to_pylist()):
                    yield name


def _loses(text: str) -> bool:
    """Return whether a text is a whole number with other digits than the fraction nearest to it."""
    digits = text.strip()
    if not digits.lstrip("+-").isdecimal():
        return False
    near = float(digits)
    return math.isinf(near) or int(near) != int(digits)


def _refuse_twice(names: Sequence[Any], name: str) -> None:
    if len(set(names)) < len(names):
        twice = dict.fromkeys(str(each) for each in names if names.count(each) > 1)
        raise DataError(f"{name}: two columns have the same name: {', '.join(twice)}")


def _check_names(names: Iterable[Any], name: str) -> Iterator[str]:
    names = list(names)
    _refuse_twice(names, name)
    for each in names:
        if not isinstance(each, str):
            raise DataError(f"{name}: column names must be texts, got {each!r}")
        if flaw := flaw_of(each):
            raise DataError(f"{name}: the column name {each!r}: {flaw}")
        if each in {"_row", "_part", "_index"}:
            raise DataError(f'{name}: the column name "{each}" is taken: dlk numbers rows by it')
        yield each


def _from_records(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Columns:
    return _plain({name: [row.get(name) for row in rows] for name in names})


def _from_arrow(data: Any, name: str, first: int) -> Columns:
    """Return Arrow's rows as columns.

    Args:
        data: a table or a batch.
        name: what the input is called in errors.
        first: the number of its first row in the input.

    Raises:
        DataError: a text is no UTF-8, which Arrow does not look at.
    """
    try:
        return data.to_pydict()  # type: ignore[no-any-return]  # of Arrow, which has no types
    except UnicodeDecodeError:
        for column in data.column_names if hasattr(data, "column_names") else data.schema.names:
            for row, value in enumerate(data.column(column)):
                try:
                    value.as_py()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f'{name}: row {first + row}, column "{column}": {error.object[:80]!r} is '
                        "no UTF-8 text: write the data anew from texts, or such bytes as binary"
                    ) from error
        raise


def _from_dataset(rows: Any, start: int, stop: int, name: str) -> Columns:
    """Return rows of a `datasets.Dataset` as columns; raises as `_from_arrow`."""
    try:
        return rows[start:stop]  # type: ignore[no-any-return]  # of datasets, which is not imported
    except UnicodeDecodeError:
        return _from_arrow(rows.with_format("arrow")[start:stop], name, start)


def _from_frame(frame: Any) -> Columns:
    return _plain({name: frame[name] for name in frame.columns})


def _plain(columns: Mapping[str, Any]) -> Columns:
    return {name: _plain_column(values) for name, values in columns.items()}


def _plain_column(values: Any) -> list[Any]:
    """Return a column as a list of plain values.

    NaN is a number in a column of numbers; among texts, lists or dicts it is how pandas says
    "missing": None.
    """
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    to_list = getattr(values, "tolist", None) or getattr(values, "to_pylist", None)
    listed: list[Any] = to_list() if to_list is not None else list(values)
    if kind in "biufU" and _is_numpy(values):
        return listed
    if set(map(type, listed)) <= _EXACT:
        return listed
    plain = [item if type(item) in _PLAIN else _plain_value(item) for item in listed]
    numeric = all(item is None or isinstance(item, int | float) for item in plain)
    if numeric and not str(getattr(values, "dtype", "")).startswith("str"):
        return plain
    return [None if isinstance(item, float) and math.isnan(item) else item for item in plain]


_PLAIN = frozenset({str, int, float, bool, type(None)})
_EXACT = frozenset({str, int, bool, type(None)})
"""What is plain, and cannot be how pandas says "missing"."""


def _is_numpy(values: Any) -> bool:
    """Return whether the values lie in a numpy array, where only a float can be missing."""
    return type(getattr(values, "dtype", None)).__module__.startswith("numpy")


def _plain_value(value: Any) -> Any:
    """Return a value as plain Python: numbers and lists for numpy's, None for a missing one."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple):
        return [item if type(item) in _PLAIN else _plain_value(item) for item in value]
    if type(value) is dict or isinstance(value, Mapping):  # the look at Mapping is slow
        return {
            key: item if type(item) in _PLAIN else _plain_value(item) for key, item in value.items()
        }
    if type(value).__name__ in {"NAType", "NaTType"}:  # pandas.NA, pandas.NaT
        return None
    if hasattr(value, "tolist"):  # numpy scalar or array
        return _plain_value(value.tolist())
    if hasattr(value, "to_pylist"):
        return _plain_value(value.to_pylist())
    return value
