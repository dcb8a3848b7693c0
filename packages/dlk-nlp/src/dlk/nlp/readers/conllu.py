"""Sentences of Universal Dependencies.

Source: the CoNLL-U format of Universal Dependencies; Nivre et al. 2020, "Universal Dependencies
v2", arXiv:2004.10643, §3.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dlk.data.reader.base import Reader
from dlk.errors import DataError
from dlk.nlp.readers._lines import Line, Path, Row, blocks
from dlk.registry import register

__all__ = ["ConlluReader", "read_conllu"]

_ID = re.compile(r"(\d+)(?:([-.])(\d+))?")
_COLUMNS = 10


@dataclass(slots=True)
class _Word:
    """A word, or a token that several words stand for."""

    number: int
    """Line in the file."""
    id: str
    form: str
    pos: str
    head: str
    relation: str
    space: bool
    """Whether a space follows."""
    place: list[int] = field(default_factory=list)


@register("reader", "conllu")
class ConlluReader(Reader):
    """Sentences of Universal Dependencies as rows."""

    def read(self, path: str) -> Iterator[Row]:
        """Yield the rows of a file; see `read_conllu`."""
        return read_conllu(path)


def read_conllu(path: Path, *, annotations: bool = True) -> Iterator[Row]:
    """Yield a row per sentence of a CoNLL-U file.

    The text is that of ``# text``; where there is none, the words with a space between them, unless
    ``SpaceAfter=No`` says otherwise. Every word is an entity, labelled by its part of speech
    (UPOS), with its number as `entity_id`; every dependency is a relation from the dependent to its
    head, labelled by DEPREL. The root has none, nor has a word whose HEAD or DEPREL is ``_``.

    Several words that one token stands for (a line such as ``3-4``) are words of their own where
    they spell the token (*can|not*); else (*du* for *de le*) the token is one word with the id
    ``3-4`` and their parts of speech joined (``ADP+DET``): its relations are theirs to words
    outside. Empty nodes (``8.1``) stand for nothing in the text and are left out, enhanced
    dependencies with them.

    Args:
        path: the file, UTF-8.
        annotations: false: give text and words alone, as for data to predict.

    Yields:
        `uuid` (``# sent_id``; where there is none, the number of the sentence's first line),
        `sentence`, `pretokenized_words`, `pretokenized_word_offsets`, `entities_info`,
        `relations_info`.

    Raises:
        DataError: a line has not ten columns, its number does not follow, a head is no word, the
            words do not spell the text, or the file cannot be read.
    """
    name = os.fspath(path)
    for block in blocks(path):
        comments = [text for _, text in block if text.startswith("#")]
        cells = [(number, text) for number, text in block if not text.startswith("#")]
        if not cells:
            continue
        words, names = _words(cells, name)
        sentence = _place(words, _comment(comments, "text"), name)
        row: Row = {
            "uuid": _comment(comments, "sent_id") or str(block[0][0]),
            "sentence": sentence,
            "pretokenized_words": [word.form for word in words],
            "pretokenized_word_offsets": [word.place for word in words],
        }
        if annotations:
            row["entities_info"] = [
                {
                    "start": word.place[0],
                    "end": word.place[1],
                    "labels": [word.pos],
                    "entity_id": word.id,
                }
                for word in words
            ]
            row["relations_info"] = _relations(cells, words, names, name)
        yield row


def _comment(comments: list[str], key: str) -> str | None:
    for text in comments:
        found, equals, value = text[1:].partition("=")
        if equals and found.strip() == key:
            return value.strip()
    return None


def _words(cells: list[Line], name: str) -> tuple[list[_Word], dict[str, str]]:
    """Return the words of a sentence, and the id that each word's own id has become."""
    words: list[_Word] = []
    names: dict[str, str] = {}
    token: tuple[_Word, int] | None = None  # the token that words stand for, and its last word
    parts: list[_Word] = []
    for number, text in cells:
        word, kind, last = _parsed(number, text, name)
        if kind == ".":
            continue
        expected = len(names) + 1
        if int(word.id.partition("-")[0]) != expected:
            raise DataError(f"{name}:{number}: expected word {expected}, got {word.id}")
        if kind == "-":
            if token is not None or last < expected:
                raise DataError(f"{name}:{number}: the words {word.id} overlap others")
            token, parts = (word, last), []
            continue
        names[word.id] = word.id
        if token is None:
            words.append(word)
            continue
        parts.append(word)
        if int(word.id) == token[1]:
            merged = _merged(token[0], parts)
            if len(merged) == 1:
                names.update({part.id: token[0].id for part in parts})
            words += merged
            token = None
    if token is not None:
        raise DataError(f"{name}:{cells[-1][0]}: the words of {token[0].id} are not all there")
    return words, names


def _parsed(number: int, text: str, name: str) -> tuple[_Word, str, int]:
    """Return the word of a line, ``-`` or ``.`` of its number, and what follows that."""
    columns = text.split("\t")
    if len(columns) != _COLUMNS:
        raise DataError(
            f"{name}:{number}: expected {_COLUMNS} columns between tabs, got {len(columns)}: "
            f"{text!r}"
        )
    found = _ID.fullmatch(columns[0])
    if found is None:
        raise DataError(f"{name}:{number}: expected the number of a word, got {columns[0]!r}")
    if not columns[1]:
        raise DataError(f"{name}:{number}: the word is empty")
    word = _Word(
        number=number,
        id=columns[0],
        form=columns[1],
        pos=columns[3],
        head=columns[6],
        relation=columns[7],
        space="SpaceAfter=No" not in columns[9].split("|"),
    )
    return word, found[2] or "", int(found[3] or 0)


def _merged(token: _Word, parts: list[_Word]) -> list[_Word]:
    """Return the parts where they spell the token, as it writes them; else the token alone."""
    if "".join(part.form for part in parts).lower() != token.form.lower():
        token.pos = "+".join(part.pos for part in parts)
        return [token]
    rest = token.form
    for part in parts:
        part.form, rest = rest[: len(part.form)], rest[len(part.form) :]
        part.space = False
    parts[-1].space = token.space
    return parts


def _place(words: list[_Word], text: str | None, name: str) -> str:
    """Give each word its place in the text, and return the text."""
    if text is None:
        text = "".join(word.form + " " * word.space for word in words).strip()
    end = 0
    for word in words:
        start = end + len(text[end:]) - len(text[end:].lstrip())
        end = start + len(word.form)
        if text[start:end] != word.form:
            raise DataError(
                f"{name}:{word.number}: the word {word.form!r} is not what follows in the text, "
                f"{text[start : start + 20]!r}"
            )
        word.place = [start, end]
    if text[end:].strip():
        raise DataError(
            f"{name}:{words[-1].number}: the words end before the text does: {text[end:]!r}"
        )
    return text


def _relations(
    cells: list[Line], words: list[_Word], names: dict[str, str], name: str
) -> list[Row]:
    found: list[Row] = []
    kept = {word.id for word in words}
    for number, text in cells:
        word, kind, _ = _parsed(number, text, name)
        if kind or word.head in ("0", "_") or word.relation == "_":
            continue
        if word.head not in names:
            raise DataError(f"{name}:{number}: the head {word.head!r} is no word of the sentence")
        ends = names[word.id], names[word.head]
        assert kept.issuperset(ends)
        if ends[0] != ends[1]:
            found.append({"from": ends[0], "to": ends[1], "labels": [word.relation]})
    return found
