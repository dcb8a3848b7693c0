"""JSON with comments as a tree that keeps the comments, can be changed, and is written again.

Where a file is Hjson beyond that (texts and keys without quotes), the `hjson` package reads it,
which keeps neither comments nor positions.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dlk.config import jsonc
from dlk.errors import ConfigError

__all__ = ["Entry", "Node", "has_positions", "node_of", "parse", "write"]

_INDENT = "    "
_WIDTH = 100
_TOKEN = re.compile(
    r"(?P<blank>[ \t\r\n]+)"
    r"|(?P<comment>//[^\n]*|\#[^\n]*|/\*.*?\*/)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<sign>[{}\[\]:,])"
    r"|(?P<word>[^\s{}\[\]:,/#]+)",
    re.DOTALL,
)


@dataclass(slots=True)
class Node:
    """An object, a list or a plain value.

    Attributes:
        entries: of an object or list what it holds; None for a plain value.
        is_object: whether it is an object.
        raw: text of a plain value.
        tail: comments in front of the closing bracket.
        is_inline: it stood on one line.
    """

    entries: list[Entry] | None = None
    is_object: bool = False
    raw: str = ""
    tail: list[str] = field(default_factory=list)
    is_inline: bool = False

    @property
    def value(self) -> Any:
        """The plain value that the tree stands for."""
        if self.entries is None:
            return json.loads(self.raw)
        if self.is_object:
            return {entry.key: entry.node.value for entry in self.entries}
        return [entry.node.value for entry in self.entries]

    def find(self, key: str) -> Entry | None:
        """Return the entry of an object under a key."""
        return next((e for e in self.entries or () if e.key == key and self.is_object), None)

    def items(self) -> Iterator[Entry]:
        """Yield the entries of an object; none of anything else. It may be changed meanwhile."""
        yield from list(self.entries or ()) if self.is_object else ()

    def put(self, key: str, value: Any, comment: str = "") -> Entry:
        """Set a value of an object; a new one goes to the end, with a comment above it."""
        assert self.entries is not None  # an object
        entry = self.find(key)
        if entry is None:
            entry = Entry(Node(), key)
            self.entries.append(entry)
        entry.node = node_of(value)
        if comment:
            entry.above.append(f"// {comment}")
            self.is_inline = False
        return entry

    def drop(self, entry: Entry) -> None:
        """Take an entry out."""
        assert self.entries is not None
        self.entries.remove(entry)


@dataclass(slots=True)
class Entry:
    """A member of an object, or an item of a list.

    Attributes:
        node: the value.
        key: the key; empty in a list.
        above: comments in the lines above it.
        behind: comment in the same line.
        line: where it starts, from 1; 0 where that is unknown.
        column: the column, from 1.
    """

    node: Node
    key: str = ""
    above: list[str] = field(default_factory=list)
    behind: str = ""
    line: int = 0
    column: int = 0


def node_of(value: Any) -> Node:
    """Return the tree of a plain value."""
    if isinstance(value, Node):
        return value
    if isinstance(value, dict):
        return Node([Entry(node_of(v), k) for k, v in value.items()], True, is_inline=True)
    if isinstance(value, list):
        return Node([Entry(node_of(v)) for v in value], is_inline=True)
    return Node(raw=json.dumps(value, ensure_ascii=False))


def parse(text: str, file: str) -> Entry:
    """Return the tree of a file; the comments in front of it and behind it are the entry's.

    Raises:
        ConfigError: it is neither JSON with comments nor Hjson.
    """
    try:
        jsonc.parse(text, file)
    except ConfigError:
        value = _as_hjson(text)
        if value is None:
            raise
        return Entry(node_of(value))
    return _Reader(text).document()


def has_positions(document: Entry) -> bool:
    """Return whether the file could be read with its comments and positions."""
    return document.line > 0


def _as_hjson(text: str) -> Any:
    """Return the value of Hjson, None where it is none."""
    import hjson

    try:
        return json.loads(hjson.dumpsJSON(hjson.loads(text)))
    except (hjson.HjsonDecodeError, ValueError):
        return None


class _Reader:
    """Reads text that is known to be good."""

    def __init__(self, text: str) -> None:
        self.tokens = [(m.lastgroup, m.group(), m.start()) for m in _TOKEN.finditer(text)]
        self.at = 0
        self.starts = [0, *(match.end() for match in re.finditer(r"\n", text))]

    def document(self) -> Entry:
        above, first = self.comments()
        entry = Entry(Node(), "", [*([first] if first else []), *above])
        entry.line, entry.column = self.place()
        entry.node = self.node()
        tail, behind = self.comments()
        entry.behind = "\n".join([*([behind] if behind else []), *tail])
        return entry

    def place(self) -> tuple[int, int]:
        at = self.tokens[self.at][2] if self.at < len(self.tokens) else 0
        line = bisect.bisect_right(self.starts, at)
        return line, at - self.starts[line - 1] + 1

    def comments(self) -> tuple[list[str], str]:
        """Return the comments up to the next sign or value, and the one in the same line first."""
        found: list[str] = []
        behind = ""
        is_same_line = True
        while self.at < len(self.tokens):
            kind, text, _ = self.tokens[self.at]
            if kind == "blank":
                is_same_line = is_same_line and "\n" not in text
            elif kind != "comment":
                break
            elif is_same_line and not found and not behind:
                behind = text.rstrip()
            else:
                found.append(text.rstrip())
            self.at += 1
        return found, behind

    def node(self) -> Node:
        _, text, _ = self.tokens[self.at]
        first, _ = self.place()
        self.at += 1
        if text not in ("{", "["):
            return Node(raw=text)
        node = Node([], text == "{")
        assert node.entries is not None
        above, behind = self.comments()
        above = [*([behind] if behind else []), *above]
        while self.tokens[self.at][1] not in ("}", "]"):
            entry = Entry(Node(), "", above)
            entry.line, entry.column = self.place()
            if node.is_object:
                entry.key = json.loads(self.tokens[self.at][1])
                self.at += 1
                inner, behind = self.comments()
                self.at += 1  # the colon
                more, other = self.comments()
                entry.above += [c for c in (*inner, behind, *more, other) if c]
            entry.node = self.node()
            above, behind = self.comments()
            if self.tokens[self.at][1] == ",":
                self.at += 1
                more, other = self.comments()
                behind, above = (
                    behind or other,
                    [*above, *([other] if behind and other else []), *more],
                )
            entry.behind = behind
            node.entries.append(entry)
        node.tail = above
        last, _ = self.place()
        node.is_inline = first == last
        self.at += 1
        return node


def write(document: Entry) -> str:
    """Return the text of a tree, laid out as dlk's own examples are."""
    head = [line for comment in document.above for line in comment.split("\n")]
    body = _lines(document.node, 0, "")
    tail = document.behind.split("\n") if document.behind else []
    return "\n".join([*head, *body, *tail]) + "\n"


def _lines(node: Node, depth: int, label: str) -> list[str]:
    """Return the lines of a value, without a comma behind it."""
    pad = _INDENT * depth
    if node.entries is None:
        return [f"{pad}{label}{node.raw}"]
    flat = _flat(node)
    if flat is not None and len(pad) + len(label) + len(flat) < _WIDTH:
        return [f"{pad}{label}{flat}"]
    opener, closer = ("{", "}") if node.is_object else ("[", "]")
    made = [f"{pad}{label}{opener}"]
    inner = _INDENT * (depth + 1)
    for entry in node.entries:
        made += [f"{inner}{line.strip()}" for c in entry.above for line in c.split("\n")]
        name = f"{json.dumps(entry.key, ensure_ascii=False)}: " if node.is_object else ""
        lines = _lines(entry.node, depth + 1, name)
        made += [*lines[:-1], f"{lines[-1]},{f'  {entry.behind}' if entry.behind else ''}"]
    made += [f"{inner}{line.strip()}" for c in node.tail for line in c.split("\n")]
    return [*made, f"{pad}{closer}"]


def _flat(node: Node) -> str | None:
    """Return a value on one line; None where it has comments, or stood on several lines."""
    if node.entries is None:
        return node.raw
    if not node.entries and not node.tail:
        return "{}" if node.is_object else "[]"
    if not node.is_inline or node.tail:
        return None
    parts = []
    for entry in node.entries:
        inner = _flat(entry.node)
        if inner is None or entry.above or entry.behind:
            return None
        name = f"{json.dumps(entry.key, ensure_ascii=False)}: " if node.is_object else ""
        parts.append(name + inner)
    joined = ", ".join(parts)
    return f"{{{joined}}}" if node.is_object else f"[{joined}]"
