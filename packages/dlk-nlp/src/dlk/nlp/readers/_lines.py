"""Lines of a file with their numbers, and blocks of them between empty lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dlk.errors import DataError
from dlk.io import open_file

__all__ = ["Line", "Path", "Row", "blocks", "lines"]

Path = str | os.PathLike[str]
Line = tuple[int, str]
"""Number, from 1, and text."""
Row = dict[str, Any]
"""A row of data: its values are plain, and of many kinds."""


def lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a UTF-8 file, without their ends.

    Lines end at line feeds alone: a word may hold any other separator of Unicode. A byte order mark
    in front is no part of the first line.

    Raises:
        DataError: the file cannot be read, or a line is no UTF-8.
    """
    name = os.fspath(path)
    try:
        with open_file(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                try:
                    text: str = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"{name}:{number} is no UTF-8: {error}") from error
                yield number, text.rstrip("\r\n")
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from error


def blocks(path: Path) -> Iterator[list[Line]]:
    """Yield the runs of lines between empty ones (nothing, or spaces)."""
    block: list[Line] = []
    for number, text in lines(path):
        if text.strip(" \t"):
            block.append((number, text))
        elif block:
            yield block
            block = []
    if block:
        yield block
