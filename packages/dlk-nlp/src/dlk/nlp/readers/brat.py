"""Documents annotated with BRAT: a text, and beside it an .ann file that counts in characters.

Source: Stenetorp et al. 2012, "brat: a Web-based Tool for NLP-Assisted Text Annotation", and the
description of its standoff format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as LocalPath

from dlk.data.reader.base import Reader
from dlk.errors import DataError, did_you_mean
from dlk.nlp.readers._lines import Path, Row, lines
from dlk.registry import register

__all__ = ["BratReader", "read_brat"]


@register("reader", "ann")
class BratReader(Reader):
    """A document of BRAT as a row."""

    def read(self, path: str) -> Iterator[Row]:
        """Yield the rows of a file; see `read_brat`."""
        return read_brat(path)


def read_brat(path: Path, *, join_parts: bool = False) -> Iterator[Row]:
    """Yield a row per document.

    Entities (T) keep their names as `entity_id`, so that relations (R, from Arg1 to Arg2) find
    them. Attributes, normalisations and notes (A, M, N, #) are not read. An entity in several parts
    has no start and end of its own: it is left out, or the whole from its first to its last
    character is taken. What is left out, events and equivalences too, is told in `skipped`.

    Args:
        path: a .txt or .ann file, or a folder, whose .txt files are read in the order of their
            names.
        join_parts: take an entity in several parts as one from its first to its last character.

    Yields:
        `uuid` (the file's name), `sentence` (the text as it is, line ends included),
        `entities_info`, `relations_info`, and `skipped`, a list of what was left out:
        ``"T3: several parts"``.

    Raises:
        DataError: a file is missing, a line is no annotation, two entities have one name, or an
            annotation's text is not what stands at its place: offsets count characters, not bytes.
    """
    for text_file in _documents(LocalPath(os.fspath(path))):
        yield _document(text_file, join_parts=join_parts)


def _documents(path: LocalPath) -> list[LocalPath]:
    if path.is_dir():
        found = sorted(path.glob("*.txt"))
        if not found:
            raise DataError(f"{path} holds no .txt file")
        return found
    if path.suffix not in {".txt", ".ann"}:
        raise DataError(f"{path}: expected a .txt or .ann file, or a folder of them")
    return [path.with_suffix(".txt")]


def _document(text_file: LocalPath, *, join_parts: bool) -> Row:
    text = _text(text_file)
    ann = text_file.with_suffix(".ann")
    entities: list[Row] = []
    relations: list[tuple[int, str, Row]] = []
    skipped: list[str] = []
    names: dict[str, tuple[int, str]] = {}  # of entities, with their lines
    for number, line in lines(ann):
        if not line.strip() or line[0] in "AMN#":
            continue
        name, _, rest = line.partition("\t")
        where = f"{ann}:{number}"
        if line[0] == "T":
            if name in names:
                before, other = names[name]
                raise DataError(
                    f"{where}: two entities are called {name}, and relations could mean either: "
                    f"{other!r} in line {before}, {line!r} here. Give one of them another name"
                )
            names[name] = number, line
            entity = _entity(name, rest, text, where, join_parts=join_parts)
            if entity is None:
                skipped.append(f"{name}: several parts")
            else:
                entities.append(entity)
        elif line[0] == "R":
            relations.append((number, name, _relation(rest, where)))
        elif line[0] in "E*":
            skipped.append(f"{name}: {'event' if line[0] == 'E' else rest.strip()}")
        else:
            raise DataError(f"{where}: expected T, R, E, A, M, N, * or #, got {line!r}")
    kept = {entity["entity_id"] for entity in entities}
    found: list[Row] = []
    for number, name, relation in relations:
        ends = relation["from"], relation["to"]
        unknown = [end for end in ends if end not in names and end[0] == "T"]
        if unknown:
            raise DataError(
                f"{ann}:{number}: there is no {unknown[0]}. {did_you_mean(unknown[0], names)}"
            )
        lost = [end for end in ends if end not in kept]
        if lost:
            skipped.append(f"{name}: {lost[0]} is left out")
        else:
            found.append(relation)
    return {
        "uuid": text_file.stem,
        "sentence": text,
        "entities_info": entities,
        "relations_info": found,
        "skipped": skipped,
    }


def _text(path: LocalPath) -> str:
    """Return a document's text; its line ends and a mark in front count as characters."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        beside = [other.name for other in path.parent.glob("*.txt")]
        hint = did_you_mean(path.name, beside).partition(" Known:")[0]
        raise DataError(
            f"cannot read {path}: {error.strerror or error}. {hint}".rstrip()
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8: {error}") from error


def _entity(name: str, rest: str, text: str, where: str, *, join_parts: bool) -> Row | None:
    """Return the entity of a line ``T1<TAB>type 0 5<TAB>words``; None for one left out."""
    head, tab, words = rest.partition("\t")
    label, _, places = head.partition(" ")
    try:
        parts = [tuple(map(int, part.split())) for part in places.split(";")]
        bounds = [(start, end) for start, end in parts]
    except ValueError as error:
        raise DataError(
            f"{where}: expected a type, start and end, then a tab and the text, got {rest!r}"
        ) from error
    for start, end in bounds:
        if not 0 <= start < end <= len(text):
            raise DataError(
                f"{where}: expected 0 <= start < end <= {len(text)}, the characters of the text, "
                f"got {start} and {end}"
            )
    there = " ".join(text[start:end] for start, end in bounds)
    # BRAT writes a space for a line end
    if tab and there.split() != words.split():
        raise DataError(
            f"{where}: {name} says {words!r}, and at {places} stands {there!r}: offsets count "
            "characters, line ends among them"
        )
    if len(bounds) > 1 and not join_parts:
        return None
    start, end = min(bounds)[0], max(end for _, end in bounds)
    return {"start": start, "end": end, "labels": [label], "entity_id": name}


def _relation(rest: str, where: str) -> Row:
    """Return the relation of a line ``R1<TAB>type Arg1:T1 Arg2:T2``."""
    parts = rest.split()
    ends = [part.partition(":")[2] for part in parts[1:]]
    if len(ends) != 2 or not all(ends):
        raise DataError(f"{where}: expected a type, Arg1:T… and Arg2:T…, got {rest!r}")
    return {"from": ends[0], "to": ends[1], "labels": [parts[0]]}
