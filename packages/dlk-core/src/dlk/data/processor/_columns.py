"""Chunks as columns of equal length: numbered, given to a step, joined with what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.data.held import plain
from dlk.data.inputs import Source
from dlk.data.subprocessor.base import Columns
from dlk.errors import ConfigError, Problem, RowError

if TYPE_CHECKING:
    from dlk.data.processor._steps import Step

__all__ = ["checked", "from_bytes", "given", "merged", "numbered", "to_bytes", "without"]


def numbered(source: Source, size: int) -> Iterator[Columns]:
    """Yield the chunks with `_row`, the number of each input row."""
    start = 0
    for columns in source.chunks(size):
        rows = len(next(iter(columns.values()), []))
        yield {**columns, "_row": list(range(start, start + rows))}
        start += rows


def given(step: Step, stage: str, columns: Columns) -> Columns:
    """Return the columns that a step reads."""
    try:
        return {name: plain(columns[name]) for name in step.reads(stage)}
    except KeyError as error:
        message = (
            f"reads the column {error}, which the step that writes it makes of the truth: it is "
            f"not there in the stage {stage}. Switch this step off there ({stage}_data_set)"
        )
        raise ConfigError([Problem(step.path, message)]) from error


def checked(new: Columns, columns: Columns, step: Step) -> Columns:
    """Return what a step wrote for records, once it is what its signature says."""
    unknown = [name for name in new if name not in step.run.writes and name != "_row"]
    if unknown:
        raise ValueError(
            f"{step.path} writes {', '.join(unknown)}, which its signature does not say"
        )
    if ("_row" in new) != ("_part" in new):
        raise ValueError(f"{step.path} splits rows: it writes both _row and _part, or neither")
    if "_part" not in new:
        expected = len(columns["_row"])
        wrong = {name: len(values) for name, values in new.items() if len(values) != expected}
        if wrong:
            raise ValueError(
                f"{step.path} was given {expected} records and wrote columns of {wrong}"
            )
    return new


def merged(columns: Columns, new: Columns) -> Columns:
    """Return the columns with those that a step wrote; repeat the others where it split rows."""
    if "_part" not in new:
        return {**columns, **new}
    place = {row: position for position, row in enumerate(columns["_row"])}
    chosen = [place[row] for row in new["_row"]]
    return {**_taken(columns, chosen), **new}


def without(columns: Columns, bad: Mapping[int, RowError]) -> Columns:
    """Return the columns without any record of the bad rows."""
    return _taken(columns, [at for at, row in enumerate(columns["_row"]) if row not in bad])


def _taken(columns: Columns, positions: Sequence[int]) -> Columns:
    return {
        name: [rows[position] for position in positions]
        for name, values in columns.items()
        for rows in (list(plain(values)),)
    }


def to_bytes(columns: Columns) -> Any:  # Any: Arrow's buffers and tables have no types
    """Return columns as an Arrow stream."""
    import pyarrow as pa
    from pyarrow import ipc

    from dlk.data.store import to_table

    table = to_table(columns, {})
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(data: bytes) -> Any:  # Any: as above
    """Return the table of an Arrow stream."""
    from pyarrow import ipc

    with ipc.open_stream(data) as reader:
        return reader.read_all()
