"""Columns of numbers that are too long to hold, block by block in a temporary file."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Blocks"]

Column = NDArray[Any]  # Any: each column has a number type of its own


class _Written(NamedTuple):
    """Where a column of a block stands in the file."""

    offset: int
    dtype: np.dtype[Any]  # Any: as above
    size: int


class Blocks:
    """Blocks of columns; a column of one block is read at a time.

    The file stands in the folder of temporary files without a name, and goes with this object. What
    it does not take, as on a full disk, stays in memory, so nothing is lost.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._blocks: list[tuple[_Written, ...] | tuple[Column, ...]] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def append(self, *columns: Column) -> None:
        """Add a block of columns."""
        try:
            self._blocks.append(self._write(columns))
        except OSError:
            self._blocks.append(columns)

    def read(self, block: int, column: int) -> Column:
        """Return a column of a block."""
        found = self._blocks[block][column]
        if not isinstance(found, _Written):
            return found
        assert self._file is not None
        values: Column = np.empty(found.size, found.dtype)
        self._file.seek(found.offset)
        view = values.data.cast("B")
        while view:
            count = self._file.readinto(view)  # type: ignore[attr-defined]  # a raw file
            if not count:
                raise OSError("a temporary file has become shorter")
            view = view[count:]
        return values

    def _write(self, columns: tuple[Column, ...]) -> tuple[_Written, ...]:
        if self._file is None:
            # unbuffered: what a full disk refuses is told here, not when the file is closed
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see finalize
            weakref.finalize(self, self._file.close)
        self._file.seek(self._end)
        end, written = self._end, []
        for column in columns:
            values = np.ascontiguousarray(column)
            view = values.data.cast("B")
            while view:
                view = view[self._file.write(view) :]
            written.append(_Written(end, values.dtype, values.size))
            end += values.nbytes
        self._end = end
        return tuple(written)
