"""Processed splits on disk.

Arrow IPC stream files, written in chunks and read through a memory map.

A split is a folder with one or more ``data-00000.arrow`` and a ``split.json``. Hugging Face
`datasets` opens the files as they are (``Dataset.from_file``). Types come from the data: integers
inside lists are stored as narrow as they fit, and a later chunk that needs a wider type (or brings
a new column) widens the whole split.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from dlk.data._kinds import difference, kind_of_all, kind_of_arrow
from dlk.data.held import Held, plain
from dlk.data.ragged import Pieces, Ragged, no_numbers_in
from dlk.data.texts import flaw_in
from dlk.errors import DataError, RowError, did_you_mean
from dlk.io import sha256_of

__all__ = ["Split", "SplitWriter", "array_of", "is_split", "open_split", "to_table"]

INFO = "split.json"
IN_MEMORY_BYTES = 1 << 30
"""Columns of numbers up to this size are joined in memory, where a batch is one gather."""
_IN_ORDER = ("valid", "test", "predict")
_SCHEMA = "dlk.split/1"
_NARROW = (pa.uint8(), pa.int8(), pa.uint16(), pa.int16(), pa.int32())


class SplitWriter:
    """Writes chunks of columns into a folder, which is whole once `close` returned.

    Meant for a folder that is renamed into place afterwards. As a context manager it closes where
    its block ends well.

    Args:
        folder: where the files go; made where it is missing.
        file_rows: rows after which a new file begins.

    Attributes:
        records: how many were written so far.
        info: plain data that goes into ``split.json``.
    """

    def __init__(self, folder: str | os.PathLike[str], *, file_rows: int = 1 << 20) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file_rows = file_rows
        self.records = 0
        self.info: dict[str, Any] = {}
        self._schema: pa.Schema | None = None
        self._files: list[tuple[Path, pa.Schema]] = []
        self._writer: Any = None
        self._in_file = 0

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Append one chunk.

        Raises:
            DataError: columns differ in length, or one mixes types that Arrow cannot hold together,
                here or with the chunks before.
            RowError: so does one, and there is a column `_row` to tell where; `unfit` tells all
                rows of which that is so.
        """
        if columns:
            self._append(to_table(columns, self._types()), columns)

    def append(self, table: pa.Table) -> bool:
        """Append one chunk that `to_table` made, and return true.

        Where its types do not go together with those before, return false, and write nothing:
        `write` tells of the columns why.
        """
        return self._append(table, None)

    def _append(self, table: pa.Table, columns: Mapping[str, Sequence[Any]] | None) -> bool:
        schema = table.schema
        if self._schema is None:
            self._schema = schema
        elif schema != self._schema:
            try:
                wider = pa.unify_schemas([self._schema, schema], promote_options="permissive")
                table = _cast(table, wider)
            except _UNFIT as error:
                if columns is None:
                    return False
                for unfit in self.unfit(columns):
                    raise unfit from error
                last = self.records + table.num_rows - 1
                raise DataError(
                    f"records {self.records} to {last} hold other types than those before: {error}"
                ) from error
            if wider != self._schema:
                self._end_file()
                self._schema = wider
        if self._in_file >= self.file_rows:
            self._end_file()
        if self._writer is None:
            path = self.folder / f"data-{len(self._files):05d}.arrow"
            self._writer = ipc.new_stream(str(path), self._schema)
            self._files.append((path, self._schema))
        self._writer.write_table(table)
        self._in_file += table.num_rows
        self.records += table.num_rows
        return True

    def unfit(self, columns: Mapping[str, Sequence[Any]]) -> list[RowError]:
        """Return an error for each row that cannot stand in one column with the others.

        Args:
            columns: a chunk that `write` refused, with the column `_row`.
        """
        rows = columns.get("_row")
        if rows is None:
            return []
        known = self._types()
        found: dict[int, RowError] = {}
        for name, given in columns.items():
            values = plain(given)
            for place, reason in _misfits(values, known.get(name)):
                error = RowError(rows[place], name, values[place], reason)
                found.setdefault(rows[place], error)
        return [found[row] for row in sorted(found)]

    def _types(self) -> dict[str, pa.DataType]:
        """Return the types of the columns written so far."""
        return {} if self._schema is None else {field.name: field.type for field in self._schema}

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._in_file = None, 0

    def close(self) -> None:
        """End the last file, give all files the final types, write ``split.json``.

        Raises:
            DataError: a value cannot have the type that later values of its column need.
        """
        self._end_file()
        schema = self._schema if self._schema is not None else pa.schema([])
        if not self._files:
            path = self.folder / "data-00000.arrow"
            with ipc.new_stream(str(path), schema):
                pass
            self._files.append((path, schema))
        for path, written in self._files:
            if written != schema:
                try:
                    _rewrite(path, schema)
                except _UNFIT as error:  # such as 2**60 where fractions came later
                    raise DataError(
                        f"{_first_unheld(path, schema)}a value does not fit the type that later "
                        f"ones need: {error}. {_AS_TEXTS}"
                    ) from error
        described = {
            "schema": _SCHEMA,
            "records": self.records,
            "files": [path.name for path, _ in self._files],
            "sha256": {path.name: sha256_of(path) for path, _ in self._files},
            "columns": {field.name: str(field.type) for field in schema},
            **self.info,
        }
        (self.folder / INFO).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._end_file()


def to_table(columns: Mapping[str, Sequence[Any]], before: Mapping[str, pa.DataType]) -> pa.Table:
    """Return columns as they are stored.

    Args:
        columns: all of one length.
        before: types of the columns in the chunks before, which decide what is wrong where values
            do not go together.

    Raises:
        DataError: as `SplitWriter.write`.
        RowError: as `SplitWriter.write`.
    """
    rows = columns.get("_row")
    arrays = [_to_array(name, values, rows, before.get(name)) for name, values in columns.items()]
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns differ in length: {lengths}")
    return pa.table(arrays, names=list(columns))


_UNFIT = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    OverflowError,
    UnicodeEncodeError,  # of half a surrogate
)


def _to_array(
    name: str, values: Sequence[Any], rows: Sequence[int] | None, before: pa.DataType | None
) -> pa.Array:
    if isinstance(values, Held):
        return values.array
    if isinstance(values, Ragged):
        return _narrow(values.to_arrow())
    try:
        made = _array_of(values)
    except _UNFIT as error:
        reason = f"mixes types or holds something that is no plain data: {error}"
        if rows is None or len(rows) != len(values):
            raise DataError(f'column "{name}" {reason}') from error
        place, reason = _misfits(values, before)[0]
        raise RowError(rows[place], name, values[place], reason) from error
    return _narrow(made)


def array_of(values: Sequence[Any]) -> pa.Array | None:
    """Return a column as it is stored; None where its values are of several types."""
    try:
        return _to_array("", values, None, None)
    except (DataError, RowError):
        return None


def _array_of(values: Sequence[Any]) -> pa.Array:
    """Return the array of values; one that neighbours share, as windows of a text do, is read once.

    Raises:
        ArrowException: the values are of several types, or no plain data.
    """
    if 2 * len(set(map(id, values))) > len(values):  # few neighbours can be the same
        return pa.array(values)
    starts = [n for n, value in enumerate(values) if not n or value is not values[n - 1]]
    if 2 * len(starts) > len(values):
        return pa.array(values)
    made = pa.array([values[start] for start in starts])
    lengths = np.diff([*starts, len(values)])
    try:
        return made.take(pa.array(np.repeat(np.arange(len(starts)), lengths)))
    except pa.ArrowInvalid:  # more text than one array holds
        return pa.array(values)


def _misfits(values: Sequence[Any], before: pa.DataType | None) -> list[tuple[int, str]]:
    """Return the places of the values that do not go together with the others, and why.

    Values of the kind before are right, or else those of the most frequent kind: the first row may
    be the one that is wrong. Of two that are as frequent, the first is right.

    Args:
        values: of a column.
        before: the type of the values before these; None where there are none.
    """
    before = pa.null() if before is None else before
    if _go_together(values, before):
        return []
    usual = kind_of_all(_by_frequency(values), kind_of_arrow(before))
    found: list[tuple[int, str]] = []
    wider: dict[tuple[str, str], pa.DataType | None] = {}  # of two types, by their names
    for place, value in enumerate(values):
        if why := difference(usual, value):
            found.append((place, f"{_OTHER}: {why}"))
            continue
        try:
            mine = pa.array([value]).type
        except _UNFIT as error:
            reason = flaw_in(value) or f"{_OTHER}, or no plain data ({error})"
            found.append((place, reason))
            continue
        key = str(before), str(mine)
        if key not in wider:
            wider[key] = _unified(before, mine)
        together = wider[key]
        if together is None:
            found.append((place, f"{_OTHER}: those before are {before}, this is {mine}"))
        else:
            before = together
    return found or _unheld(values, before)


_OTHER = "is of another type than the others"


def _go_together(values: Sequence[Any], before: pa.DataType) -> bool:
    """Return whether one column holds the values, and those before them."""
    try:
        made = pa.array(values)
    except _UNFIT:
        return False
    wider = _unified(before, made.type)
    return wider is not None and not _unheld(values, wider)


def _by_frequency(values: Sequence[Any]) -> list[Any]:
    """Return the values, those of the most frequent kind first."""
    kinds = [str(kind_of_all([value])) for value in values]
    counts = Counter(kinds)  # in the order in which they came, which a sort keeps
    order = {kind: place for place, (kind, _) in enumerate(counts.most_common())}
    return [
        value for _, value in sorted(zip(kinds, values, strict=True), key=lambda x: order[x[0]])
    ]


def _unified(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds values of both types; None where there is none."""
    schemas = [pa.schema([("x", kind)]) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except _UNFIT:
        return None


def _unheld(values: Sequence[Any], kind: pa.DataType) -> list[tuple[int, str]]:
    """Return the place of the first value that `kind` does not hold, such as 2**60 with fractions.

    Nothing where it holds all.
    """
    try:
        _cast_column(pa.chunked_array([pa.array(values)]), kind)
    except _UNFIT as error:
        for place, value in enumerate(values):
            try:
                _cast_column(pa.chunked_array([pa.array([value])]), kind)
            except _UNFIT as unheld:
                return [(place, f"{_OTHER}, {kind}: {unheld}. {_AS_TEXTS}")]
        return [(0, f"{_OTHER}, {kind}: {error}. {_AS_TEXTS}")]
    return []


_AS_TEXTS = "Numbers that name something are better kept as texts"


def _narrow(array: pa.Array) -> pa.Array:
    """Return lists of integers with the narrowest integers that hold them.

    Other arrays as they are.
    """
    leaf, depth = array, 0
    while isinstance(leaf.type, pa.ListType):
        leaf, depth = leaf.values, depth + 1
    if not depth or leaf.type != pa.int64():
        return array
    bounds = pc.min_max(leaf).as_py()
    low, high = bounds["min"], bounds["max"]
    if low is None:
        return array
    for narrow in _NARROW:
        bits, signed = narrow.bit_width, pa.types.is_signed_integer(narrow)
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if least <= low and high <= most:
            made: pa.DataType = narrow
            for _ in range(depth):
                made = pa.list_(made)
            return array.cast(made)
    return array


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in table.column_names:
            try:
                columns.append(_cast_column(table.column(field.name), field.type))
            except pa.ArrowInvalid as error:
                raise pa.ArrowInvalid(f'column "{field.name}": {error}') from error
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _cast_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    made = column.cast(kind)
    try:
        made.validate()
    except pa.ArrowInvalid:  # structs in lists with a field that is null only: Arrow loses count
        made = pa.chunked_array([pa.array(column.to_pylist(), kind)], type=kind)
    return made


def _rewrite(path: Path, schema: pa.Schema) -> None:
    aside = path.with_suffix(".part")
    with (
        pa.memory_map(str(path)) as source,
        ipc.open_stream(source) as reader,
        ipc.new_stream(str(aside), schema) as writer,
    ):
        for batch in reader:
            writer.write_table(_cast(pa.Table.from_batches([batch]), schema))
    os.replace(aside, path)


def _first_unheld(path: Path, schema: pa.Schema) -> str:
    """Return which row of a file holds what the types of a wider schema do not, for an error."""
    with pa.memory_map(str(path)) as source, ipc.open_stream(source) as reader:
        for batch in reader:
            for name in batch.schema.names if "_row" in batch.schema.names else ():
                unheld = _unheld(batch.column(name).to_pylist(), schema.field(name).type)
                if unheld:
                    place = unheld[0][0]
                    return f"row {batch.column('_row')[place]}, column {name!r}: "
    return ""


def is_split(folder: str | os.PathLike[str]) -> bool:
    """Return whether the folder holds a split."""
    return (Path(folder) / INFO).is_file()


def open_split(folder: str | os.PathLike[str]) -> Split:
    """Open a split that `SplitWriter` wrote.

    Raises:
        DataError: the folder holds none, or is damaged.
    """
    return Split(folder)


class Split:
    """Records of one split, memory-mapped: opening reads nothing but the files' structure."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            info = json.loads((self.folder / INFO).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                f"{self.folder} holds no processed split ({INFO} is missing)"
            ) from error
        except ValueError as error:
            raise DataError(f"{self.folder / INFO} is damaged: {error}") from error
        if not isinstance(info, dict) or info.get("schema") != _SCHEMA:
            raise DataError(f'{self.folder / INFO}: expected an object with "schema": "{_SCHEMA}"')
        self.info: Mapping[str, Any] = info
        if not all(name == os.path.basename(name) for name in info["files"]):
            raise DataError(f"{self.folder / INFO} names files outside of its folder")
        try:
            tables = [_map(self.folder / name) for name in info["files"]]
            self._table = pa.concat_tables(tables)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{self.folder} is damaged: {error}") from error
        if self._table.num_rows != info["records"]:
            raise DataError(
                f"{self.folder} is damaged: {INFO} tells of {info['records']} records, "
                f"the files hold {self._table.num_rows}"
            )
        self._ragged: dict[str, Ragged] = {}
        # where each chunk starts: files hold whole record batches, so all columns agree
        chunks = self._table.column(0).chunks if self._table.num_columns else []
        self._starts = list(accumulate(map(len, chunks), initial=0))

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        columns = ", ".join(self.column_names)
        return f"Split({str(self.folder)!r}, {len(self)} records, columns {columns})"

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, as they were written."""
        return tuple(self._table.column_names)

    @property
    def table(self) -> pa.Table:
        """The records as an Arrow table over the mapped files."""
        return self._table

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self._table.column_names:
            raise DataError(
                f'{self.folder} has no column "{name}". {did_you_mean(name, self.column_names)}'
            )
        return self._table.column(name)

    def ragged(self, column: str) -> Ragged:
        """Return a column of numbers, or of nested lists of them; read once, then kept.

        One chunk of numbers stays in the mapped file; several are joined in memory.

        Raises:
            DataError: there is no such column, or it holds something else, or nulls.
        """
        found = self._ragged.get(column)
        if found is None:
            try:
                found = self._ragged[column] = Ragged.from_arrow(self._column(column))
            except TypeError as error:
                raise self._no_numbers(column, error) from error
        return found

    def numbers(self, column: str) -> Ragged | Pieces:
        """Return a column of numbers to take batches from, as `ragged` does.

        One larger than `IN_MEMORY_BYTES` stays in the mapped files, and so does one of a split that
        is evaluated: its batches come in the order of the rows, hardly ever from two chunks.
        """
        found = self._column(column)
        is_shuffled = self.info.get("split") not in _IN_ORDER
        if found.num_chunks < 2 or (is_shuffled and found.nbytes <= IN_MEMORY_BYTES):
            return self.ragged(column)
        try:
            return Pieces.from_arrow(found)
        except TypeError as error:
            raise self._no_numbers(column, error) from error

    def _no_numbers(self, column: str, error: TypeError) -> DataError:
        """Return the error of a column that holds no numbers, naming the first row that tells why.

        Where numbers are written as texts, the first text that is no number tells it.
        """
        record, wrong, is_written = -1, None, False
        for place, value in enumerate(_values(self._column(column))):
            others = list(no_numbers_in(value))
            unwritten = [other for other in others if not _is_written(other)]
            if unwritten or (others and record < 0):
                record, wrong, is_written = place, (unwritten or others)[0], not unwritten
            if unwritten:
                break
        if record < 0:
            return DataError(f'{self.folder}, column "{column}": {error}')
        (row,) = self.rows([record], {"_row", "uuid"}.intersection(self.column_names))
        uuid = "" if row.get("uuid") is None else f" (uuid {row['uuid']})"
        if is_written:
            hint = "numbers stand in the data without quotes"
        elif isinstance(wrong, str):
            hint = "texts, such as words and labels, become ids by a step such as token2id"
        else:
            hint = "leave such rows out, or fill them"
        return DataError(
            f"{self.info.get('split', self.folder.name)}: row {row.get('_row', record)}{uuid}, "
            f'column "{column}": {error}, such as {_shown(wrong)} here; {hint} ({self.folder})'
        )

    def rows(
        self, indices: Iterable[int], columns: Iterable[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return records as plain Python values.

        Args:
            indices: numbers of the records, in any order.
            columns: the columns wanted; None: all.
        """
        wanted = list(map(int, indices))
        for index in wanted:
            if not 0 <= index < len(self):
                raise IndexError(f"records 0 to {len(self) - 1} can be read, got {index}")
        places = []
        for index in wanted:
            number = bisect_right(self._starts, index) - 1
            places.append((number, index - self._starts[number]))
        rows: list[dict[str, Any]] = [{} for _ in wanted]
        for name in self.column_names if columns is None else columns:
            column = self._column(name)
            for row, (number, place) in zip(rows, places, strict=True):
                row[name] = column.chunk(number)[place].as_py()
        return rows


def _values(column: pa.ChunkedArray) -> Iterator[Any]:
    """Yield the values of a column as plain Python."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), 1024):
            yield from chunk.slice(start, 1024).to_pylist()


def _is_written(value: Any) -> bool:
    """Return whether a text is a number."""
    try:
        return isinstance(value, str) and bool(float(value) or True)
    except ValueError:
        return False


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _map(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return ipc.open_stream(source).read_all()
