"""JSON with comments and trailing commas, read together with the position of every key and value.

Accepted beyond RFC 8259: ``//``, ``#`` and ``/* */`` comments, and a comma before ``]`` or ``}``.
Refused: repeated keys, ``NaN`` and ``Infinity``, bare words, numbers that overflow, halves of
surrogate pairs. Every error names file, line and column.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dlk.errors import ConfigError, Problem

__all__ = ["Document", "Position", "parse", "read"]

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|\#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9A-Za-z_.])")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LITERALS = {"true": True, "false": False, "null": None}
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value or key starts: line and column, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A config's plain value, and where each part of it stands.

    Attributes:
        value: the value: dict, list, str, int, float, bool or None.
        file: name of the file as the user gave it; empty for a dict from code.
        values: position of the value at a path of keys and indices.
        keys: position of the key at a path that ends in a key.
    """

    value: Any
    file: str = ""
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)

    def problem(
        self,
        where: Path,
        path: str,
        message: str,
        *,
        key: bool = False,
        code: str = "",
        suggestions: Sequence[str] = (),
        help: str = "",
        origin: str = "",
    ) -> Problem:
        """Return a `Problem` at the nearest known position at or above `where`."""
        position = self.position(where, key=key) or Position(0, 0)
        return Problem(
            path,
            message,
            self.file,
            position.line,
            position.column,
            code,
            tuple(suggestions),
            help,
            origin,
        )

    def position(self, where: Path, *, key: bool = False) -> Position | None:
        """Return the nearest known position at or above a path, None for a dict from code."""
        position = (self.keys if key else self.values).get(where)
        while position is None and where:
            position = self.values.get(where) or self.keys.get(where)
            where = where[:-1]
        return position


def read(path: str) -> Document:
    """Read and parse the file at `path`; all mistakes are `ConfigError`."""
    from dlk.io import local_path, open_file

    path = local_path(path)
    try:
        with open_file(path, "rb") as handle:
            raw: bytes = handle.read()
    except FileNotFoundError:
        message = "there is no such file"
        raise ConfigError([Problem("", message, path, code="unreadable-file")]) from None
    except (IsADirectoryError, PermissionError) as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem("", message, path, code="unreadable-file")]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        line_start = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[line_start : error.start].decode("utf-8-sig")) + 1
        raise ConfigError(
            [Problem("", "not UTF-8 text", path, line, column, "unreadable-file")]
        ) from None
    return parse(text, path)


def parse(text: str, file: str = "") -> Document:
    """Parse JSONC text."""
    return _Reader(text, file).document()


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.at = 0
        self.out = Document(None, file)
        self.repeated: list[Problem] = []
        self.line_starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def document(self) -> Document:
        self.skip()
        self.out.value = self.value((), 0)
        self.skip()
        if self.at < len(self.text):
            self.fail("expected the end of the file after the first value")
        if self.repeated:
            raise ConfigError(self.repeated)
        return self.out

    def skip(self) -> None:
        match = _BLANK.match(self.text, self.at)
        if match:
            self.at = match.end()
        if self.text.startswith("/*", self.at):
            self.fail("this comment is never closed: expected */")

    def position(self, at: int) -> Position:
        line = bisect.bisect_right(self.line_starts, at)
        return Position(line, at - self.line_starts[line - 1] + 1)

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        raise ConfigError([*self.repeated, self.problem("syntax", message, at)])

    def problem(self, code: str, message: str, at: int | None = None) -> Problem:
        position = self.position(self.at if at is None else at)
        return Problem("", message, self.out.file, position.line, position.column, code)

    def value(self, path: Path, depth: int) -> Any:
        self.out.values[path] = self.position(self.at)
        head = self.text[self.at : self.at + 1]
        if depth >= _MAX_DEPTH and head in ("{", "["):
            self.fail(f"nested deeper than {_MAX_DEPTH} levels")
        if head == "{":
            return self.object(path, depth)
        if head == "[":
            return self.array(path, depth)
        if head == '"':
            return self.string()
        if match := _NUMBER.match(self.text, self.at):
            number = self.number(match.group())
            self.at = match.end()
            return number
        if match := _WORD.match(self.text, self.at):
            word = match.group()
            if word in _LITERALS:
                self.at = match.end()
                return _LITERALS[word]
            if word in _PYTHON:
                self.fail(f"expected a value, got {word}; JSON writes {_PYTHON[word]}")
            self.fail(f'expected a value, got {word}; text stands in double quotes: "{word}"')
        return self.no_value(head)

    def no_value(self, head: str) -> NoReturn:
        if not head:
            self.fail("expected a value, got the end of the file")
        if head == "'":
            self.fail("expected a value, got '; text stands in double quotes")
        if head in "+-.0123456789":
            self.fail("this is no number as JSON writes it, such as 0.5, -2 or 1e-4")
        self.fail(f"expected a value, got {head!r}")

    def number(self, text: str) -> int | float:
        try:
            number = float(text) if any(c in text for c in ".eE") else int(text)
        except ValueError:  # Python limits the digits that it converts
            self.fail(f"a number of {len(text)} digits is too long")
        if isinstance(number, float) and math.isinf(number):
            self.fail(f"{text} is too large a number")
        return number

    def string(self) -> str:
        match = _STRING.match(self.text, self.at)
        if not match:
            self.fail(
                "this text is never closed, or holds a control character: expected a closing quote"
            )
        try:
            text: str = json.loads(match.group())
        except json.JSONDecodeError as error:
            self.fail(f"bad escape in text: {error.msg}", self.at + error.pos)
        if _SURROGATE.search(text):
            self.fail("this text holds half of a surrogate pair, which is no character")
        self.at = match.end()
        return text

    def object(self, path: Path, depth: int) -> dict[str, Any]:
        opened = self.at
        found: dict[str, Any] = {}
        self.at += 1
        while True:
            self.skip()
            head = self.text[self.at : self.at + 1]
            if head == "}":
                self.at += 1
                return found
            if not head:
                self.fail("this { is never closed", opened)
            if match := _WORD.match(self.text, self.at):
                word = match.group()
                self.fail(f'expected a key in double quotes, got {word}: write "{word}"')
            if head != '"':
                self.fail(f"expected a key in double quotes or }}, got {head!r}")
            key_at = self.at
            key = self.string()
            if key in found:
                first = self.out.keys[(*path, key)]
                message = f'the key "{key}" stands already in line {first.line}'
                self.repeated.append(self.problem("repeated-key", message, key_at))
            here = (*path, key)
            self.out.keys[here] = self.position(key_at)
            self.skip()
            if not self.text.startswith(":", self.at):
                self.fail(f'expected : after the key "{key}"')
            self.at += 1
            self.skip()
            found[key] = self.value(here, depth + 1)
            self.comma("}")

    def array(self, path: Path, depth: int) -> list[Any]:
        opened = self.at
        found: list[Any] = []
        self.at += 1
        while True:
            self.skip()
            head = self.text[self.at : self.at + 1]
            if head == "]":
                self.at += 1
                return found
            if not head:
                self.fail("this [ is never closed", opened)
            found.append(self.value((*path, len(found)), depth + 1))
            self.comma("]")

    def comma(self, closer: str) -> None:
        self.skip()
        if self.text.startswith(",", self.at):
            self.at += 1
        elif self.at < len(self.text) and not self.text.startswith(closer, self.at):
            self.fail(f"expected , or {closer}, got {self.text[self.at]!r}")
