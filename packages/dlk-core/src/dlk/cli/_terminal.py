"""Results on stdout, everything else on stderr; colours and drawn tables only on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from dlk.errors import Problem

__all__ = ["Terminal", "without_bars"]


class Terminal:
    """Where a command writes.

    Attributes:
        quiet: results and errors only.
        debug: a failure shows its traceback.
    """

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        self.quiet = quiet
        self.debug = debug

    def result(self, text: str) -> None:
        """Write a line of the result to stdout."""
        print(text, file=sys.stdout)

    def json(self, value: object) -> None:
        """Write a result as indented JSON to stdout."""
        text = json.dumps(value, ensure_ascii=False, indent=2)
        self.result(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def note(self, text: str) -> None:
        """Tell what goes on, on stderr; not when quiet."""
        if not self.quiet:
            print(seen(text), file=sys.stderr)

    def error(self, text: str) -> None:
        """Say on stderr what went wrong."""
        print(seen(text), file=sys.stderr)

    def problems(self, problems: Sequence[Problem]) -> None:
        """Say on stderr what is wrong with configs."""
        from dlk.cli._problems import text

        print(text(problems, sys.stderr), file=sys.stderr)  # with colours

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write a table to stdout: drawn on a terminal, else aligned text without control codes."""
        cells = [[shown(cell) for cell in row] for row in rows]
        if is_terminal(sys.stdout):
            self._draw(columns, cells)
            return
        lines = [list(columns), *cells]
        widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
        for line in lines:
            padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            self.result("  ".join(padded).rstrip())

    def _draw(self, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            drawn.add_column(column, overflow="fold")
        for row in cells:
            drawn.add_row(*row)
        # No markup: a label such as "[bold]" is a label.
        Console(file=sys.stdout, markup=False, emoji=False, highlight=False).print(drawn)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Write metrics as a table, in their order."""
        self.table(("metric", "value"), values.items())


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person reads the stream on a terminal that can draw."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def shown(cell: object) -> str:
    """Return a table cell as one line of text; floats with four digits after the point."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.4f}" if 1e-3 <= abs(cell) < 1e5 or cell == 0 else f"{cell:.4g}"
    return seen(" ".join(str(cell).split()))


# Texts of a stranger's bundle or data may not move the cursor, colour what follows, or turn the
# direction in which it is read; half a character cannot be written at all.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def seen(text: str) -> str:
    """Return a text with an escape such as ``\\x1b`` for each character that would act instead."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


class _NoTerminal:
    """A stream that passes everything on and says that it is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Show no progress bars: they are drawn only where stderr is a terminal."""
    with contextlib.redirect_stderr(_NoTerminal(sys.stderr)):  # type: ignore[type-var]  # a stream by its attributes
        yield
