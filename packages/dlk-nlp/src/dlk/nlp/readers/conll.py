"""Columns of words and tags, as CoNLL-2003 and its kin have them.

Source: Tjong Kim Sang & De Meulder 2003, "Introduction to the CoNLL-2003 Shared Task", §2.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from dlk.data.reader.base import Reader
from dlk.errors import DataError
from dlk.nlp.readers._lines import Line, Path, Row, blocks
from dlk.nlp.tags import decode
from dlk.registry import register

__all__ = ["ConllReader", "read_conll"]

_DOCUMENT = "-DOCSTART-"


@register("reader", "conll")
class ConllReader(Reader):
    """Columns of words and tags as rows, a sentence each."""

    def read(self, path: str) -> Iterator[Row]:
        """Yield the rows of a file; see `read_conll`."""
        return read_conll(path)


def read_conll(
    path: Path,
    *,
    word_column: int = 0,
    tag_column: int | None = -1,
    columns: Mapping[str, int] | None = None,
    separator: str | None = None,
    comment: str | None = None,
) -> Iterator[Row]:
    """Yield a row per sentence of a file with one word a line and empty lines between sentences.

    The text is the words joined by a space. Tags in BIO (IOB2), IOB1, BIOES or IO become entities,
    read in good will: an ``I-x`` that continues nothing begins a span (`dlk.nlp.tags.decode`).

    Args:
        path: the file, UTF-8.
        word_column: the column of the words, from 0; negative: from the right.
        tag_column: the column of the tags; None: there are none, and no `entities_info` is made.
        columns: further columns to keep, by the names they get: ``{"pos": 1}``.
        separator: what stands between columns; None: any run of spaces and tabs, and then all lines
            have as many columns.
        comment: how lines begin that are no words, such as ``"# "``; None: no line is a comment.
            Words may begin so too, so it must be said.

    Yields:
        `sentence`, `pretokenized_words`, `pretokenized_word_offsets`, `document` (how many
        ``-DOCSTART-`` lines came before, less one; 0 in files without), `entities_info` and the
        `columns`.

    Raises:
        DataError: a line has too few columns, other ones than those before or an empty word, a tag
            is none, or the file cannot be read.
    """
    name = os.fspath(path)
    wanted = dict(columns or {})
    needed = [word_column, *wanted.values(), *([] if tag_column is None else [tag_column])]
    least = max(place + 1 if place >= 0 else -place for place in needed)
    documents = 0
    usual: tuple[int, int] | None = None  # the first line, and how many columns it has
    for block in blocks(path):
        cells: list[tuple[int, list[str]]] = []
        for number, text in block:
            if comment is not None and text.startswith(comment):
                continue
            parts = _split(text, separator)
            if parts[0] == _DOCUMENT:
                documents += 1
                if cells:
                    raise DataError(
                        f"{name}:{number}: {_DOCUMENT} stands inside of a sentence: expected an "
                        "empty line before it"
                    )
                continue
            _check((number, text), parts, least, word_column, name)
            usual = usual or (number, len(parts))
            if separator is None and len(parts) != usual[1]:  # a word with a space in it?
                raise DataError(
                    f"{name}:{number}: expected {usual[1]} columns as in line {usual[0]}, got "
                    f"{len(parts)}: {text!r}. Say what stands between columns "
                    '(separator="\\t"), or how lines begin that are comments (comment="# ")'
                )
            cells.append((number, parts))
        if not cells:
            continue
        words = [parts[word_column] for _, parts in cells]
        row = {**_joined(words), "document": max(documents - 1, 0)}
        if tag_column is not None:
            tags = [(number, parts[tag_column]) for number, parts in cells]
            row["entities_info"] = _entities(tags, row["pretokenized_word_offsets"], name)
        yield row | {key: [parts[at] for _, parts in cells] for key, at in wanted.items()}


def _split(text: str, separator: str | None) -> list[str]:
    # not str.split(): a word may hold the other spaces of Unicode
    return re.split("[ \t]+", text.strip(" \t")) if separator is None else text.split(separator)


def _check(line: Line, parts: list[str], least: int, word_column: int, name: str) -> None:
    number, text = line
    if len(parts) < least:
        raise DataError(
            f"{name}:{number}: expected at least {least} columns, got {len(parts)}: {text!r}. "
            "Lines that are comments are left out where `comment` says how they begin."
        )
    if not parts[word_column].strip():
        raise DataError(f"{name}:{number}: the word is empty: {text!r}")


def _joined(words: list[str]) -> Row:
    offsets, start = [], 0
    for word in words:
        offsets.append([start, start + len(word)])
        start += len(word) + 1
    return {
        "sentence": " ".join(words),
        "pretokenized_words": words,
        "pretokenized_word_offsets": offsets,
    }


def _entities(tags: list[Line], offsets: list[list[int]], name: str) -> list[Row]:
    for number, tag in tags:
        try:
            nameless = any(not span.label for span in decode([tag], "BIO"))
        except ValueError as error:
            reason = str(error).partition(": ")[2]
            raise DataError(
                f"{name}:{number}: {reason} (tag_column says where tags are)"
            ) from error
        if nameless:
            raise DataError(f"{name}:{number}: the tag {tag!r} names no type")
    return [
        {
            "start": offsets[span.start][0],
            "end": offsets[span.end - 1][1],
            "labels": [span.label],
        }
        for span in decode([tag for _, tag in tags], "BIO")
    ]
