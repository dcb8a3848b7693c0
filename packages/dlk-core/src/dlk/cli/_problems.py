"""Mistakes in configs as text for people, and as JSON and SARIF for machines.

Text is one line for each mistake; on a terminal the line of the file follows, with a caret under
the column. Colours only there, and not where ``NO_COLOR`` is set.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from dlk.cli._terminal import is_terminal
from dlk.errors import CODES, Problem, redact

__all__ = ["FORMATS", "json", "sarif", "text"]

FORMATS = ("text", "json", "sarif")
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_BOLD, _RED, _DIM, _OFF = "\x1b[1m", "\x1b[1;31m", "\x1b[2m", "\x1b[0m"
_INDENT = "    "
_NARROWEST = 20
_GAP = "\0"  # stands for a blank that may not become the end of a line


def text(problems: Sequence[Problem], stream: TextIO) -> str:
    """Return the mistakes as the stream can show them."""
    if not is_terminal(stream):
        return "\n".join(_visible(str(problem)) for problem in problems)
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    painter = _Painter(width, coloured=not os.environ.get("NO_COLOR"))
    return "\n".join(painter.problem(problem) for problem in problems)


class _Painter:
    """Draws mistakes for a terminal of some width."""

    def __init__(self, width: int, *, coloured: bool) -> None:
        self.width = width
        self.coloured = coloured
        self.lines: dict[str, list[str]] = {}

    def problem(self, problem: Problem) -> str:
        position = _visible(problem.position)
        where = " ".join(part for part in (position, _visible(problem.path)) if part)
        message = _visible(problem.message)
        drawn = self.wrapped(f"{where.replace(' ', _GAP)}: {message}" if where else message)
        drawn = self.paint(drawn, _BOLD, upto=len(position))
        parts = [drawn, *self.source(problem)]
        if problem.origin:
            parts.append(self.wrapped(f"{_INDENT}= {_visible(problem.origin)}"))
        return "\n".join(parts)

    def wrapped(self, words: str) -> str:
        """Return words on lines that fit; a word alone on its line may be longer."""
        lines = textwrap.wrap(
            words,
            self.width,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        return "\n".join(lines).replace(_GAP, " ")

    def paint(self, drawn: str, colour: str, *, upto: int) -> str:
        if not self.coloured or not upto:
            return drawn
        return f"{colour}{drawn[:upto]}{_OFF}{drawn[upto:]}"

    def source(self, problem: Problem) -> list[str]:
        """Return the line of the file and a caret under the column; nothing where it has none."""
        if not problem.line:
            return []
        lines = self.read(problem.file)
        if problem.line > len(lines):
            return []
        number = str(problem.line)
        gutter = f"{_INDENT}{number} | "
        room = self.width - len(gutter) - 1
        if room < _NARROWEST // 2:
            return []
        shown, before = _window(redact(lines[problem.line - 1]), problem.column, room)
        pad = f"{_INDENT}{' ' * len(number)} | {' ' * before}"
        caret = f"{_RED}^{_OFF}" if self.coloured else "^"
        return [f"{self.paint(gutter, _DIM, upto=len(gutter))}{shown}", f"{pad}{caret}"]

    def read(self, file: str) -> list[str]:
        if file not in self.lines:
            try:
                self.lines[file] = Path(file).read_bytes().decode("utf-8-sig").split("\n")
            except (OSError, ValueError):  # gone, on another machine, or not UTF-8
                self.lines[file] = []
        return self.lines[file]


def _window(line: str, column: int, room: int) -> tuple[str, int]:
    """Return the part of a line around a column that fits, and how many cells stand before it."""
    raw = line.rstrip("\r").replace("\t", " ")
    line, start = _visible(raw), len(_visible(raw[: column - 1]))
    if len(line) <= room and _cells(line) <= room:
        return line, _cells(line[:start])
    line = line[: start + room]
    first = max(0, start - room)
    while _cells(line[first:start]) > room * 2 // 3:
        first += 1
    shown = f"…{line[first + 1 :]}" if first else line
    before = _cells(shown[: start - first])
    while _cells(shown) > room:
        shown = f"{shown[:-2]}…"
    return shown, before


def _cells(shown: str) -> int:
    """Return how many cells of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in shown)
    return len(shown) + wide - sum(bool(unicodedata.combining(c)) for c in shown)


def _visible(words: str) -> str:
    """Return a text in which nothing speaks to the terminal: a config may hold any character."""
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in words)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def json(problems: Sequence[Problem]) -> dict[str, Any]:  # Any: JSON
    """Return the mistakes as JSON: ``ok``, and a list with all that is known of each."""
    return {
        "ok": not problems,
        "problems": [
            {
                "code": problem.code,
                "path": problem.path,
                "message": problem.message,
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "suggestions": list(problem.suggestions),
                "help": problem.help,
                "origin": problem.origin,
            }
            for problem in problems
        ],
    }


def sarif(problems: Sequence[Problem]) -> dict[str, Any]:  # Any: JSON
    """Return the mistakes as a SARIF 2.1.0 log, as code hosts and editors read it."""
    import importlib.metadata

    codes = list(dict.fromkeys(problem.code or "config" for problem in problems))
    rules = [
        {"id": code, "shortDescription": {"text": CODES.get(code, "a mistake in a config")}}
        for code in codes
    ]
    driver = {
        "name": "dlk",
        "version": importlib.metadata.version("dlk-core"),
        "rules": rules,
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, codes) for problem in problems],
            }
        ],
    }


def _result(problem: Problem, codes: Sequence[str]) -> dict[str, Any]:  # Any: JSON
    code = problem.code or "config"
    message = f"{problem.message} [{problem.origin}]" if problem.origin else problem.message
    location: dict[str, Any] = {}
    if problem.file and not problem.file.startswith("<"):
        location["physicalLocation"] = {"artifactLocation": {"uri": _uri(problem.file)}}
        if problem.line:
            region = {"startLine": problem.line, "startColumn": problem.column}
            location["physicalLocation"]["region"] = region
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.path}]
    return {
        "ruleId": code,
        "ruleIndex": codes.index(code),
        "level": "error",
        "message": {"text": message},
        "locations": [location] if location else [],
    }


def _uri(file: str) -> str:
    if "://" in file:
        return file
    return Path(file).as_uri() if os.path.isabs(file) else quote(Path(file).as_posix())
