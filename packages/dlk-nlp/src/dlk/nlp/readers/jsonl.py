"""Lines of JSON with offsets, whatever their keys are called."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from dlk.errors import DataError, did_you_mean
from dlk.nlp.readers._lines import Path, Row, lines

__all__ = ["read_jsonl"]


def read_jsonl(
    path: Path,
    *,
    text: str = "text",
    entities: str | None = "entities",
    relations: str | None = None,
    start: str = "start",
    end: str = "end",
    label: str = "label",
    id: str = "id",
    source: str = "from",
    target: str = "to",
    kind: str = "type",
) -> Iterator[Row]:
    """Yield a row per line, its annotations in dlk's form; all its other keys are kept.

    An entity is an object, or a list of start, end and label. The arguments are the keys of the
    file:

    =========  ===============  ================  =======================================
    tool       `text`           `entities`        further
    =========  ===============  ================  =======================================
    spaCy      ``"text"``       ``"entities"``    lists: ``[0, 5, "ORG"]``
    Prodigy    ``"text"``       ``"spans"``       (its relations count tokens: not read)
    doccano    ``"text"``       ``"entities"``    ``relations="relations"``,
                                                  ``source="from_id"``, ``target="to_id"``
    doccano    ``"text"``       ``"label"``       lists, as its older exports have them
    =========  ===============  ================  =======================================

    Args:
        path: the file, UTF-8.
        text: key of the text.
        entities: key of the list of entities; None: there are none.
        relations: key of the list of relations; None: there are none.
        start: key of an entity's first character.
        end: key of the character after its last one.
        label: key of its type, or list of types.
        id: key of its name, which relations use; an entity without one has none.
        source: key of the entity that a relation comes from.
        target: key of the entity that it goes to.
        kind: key of a relation's type, or list of types.

    Yields:
        `sentence`, `entities_info`, `relations_info` where the file has them, and the line's other
        keys as they are.

    Raises:
        DataError: a line is no JSON object, has no text, or an annotation lacks a key or leaves
            the text.
    """
    name = os.fspath(path)
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            plain = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is no JSON: {error}") from error
        if not isinstance(plain, dict):
            raise DataError(f"{where} should hold an object, one row a line")
        sentence = _value(plain, text, where)
        if not isinstance(sentence, str):
            raise DataError(f'{where}: expected a text as "{text}", got {sentence!r}')
        row: Row = {"sentence": sentence}
        if entities is not None:
            row["entities_info"] = [
                _entity(item, (start, end, label, id), len(sentence), f"{where}, entity {place}")
                for place, item in enumerate(_items(plain, entities, where))
            ]
        if relations is not None:
            row["relations_info"] = [
                _relation(item, (source, target, kind), f"{where}, relation {place}")
                for place, item in enumerate(_items(plain, relations, where))
            ]
        read = {text, entities, relations, *row}
        yield row | {key: value for key, value in plain.items() if key not in read}


def _value(item: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in item:
        raise DataError(f'{where} has no "{key}". {did_you_mean(key, item)}'.rstrip())
    return item[key]


def _items(plain: Mapping[str, Any], key: str, where: str) -> list[Any]:
    found = _value(plain, key, where)
    if found is None:
        return []
    if not isinstance(found, list):
        raise DataError(f'{where}: expected a list as "{key}", got {found!r}')
    return found


def _entity(item: Any, keys: tuple[str, str, str, str], size: int, where: str) -> Row:
    name = None
    if isinstance(item, list):
        if len(item) != 3:
            raise DataError(f"{where}: expected start, end and label, got {item!r}")
        first, last, types = item
    elif isinstance(item, Mapping):
        first, last, types = (_value(item, key, where) for key in keys[:3])
        name = item.get(keys[3])
    else:
        raise DataError(f"{where}: expected an object, or start, end and label, got {item!r}")
    whole = all(isinstance(bound, int) and not isinstance(bound, bool) for bound in (first, last))
    if not whole or not 0 <= first < last <= size:
        raise DataError(
            f"{where}: expected 0 <= start < end <= {size}, the characters of the text, "
            f"got {first!r} and {last!r}"
        )
    row: Row = {"start": first, "end": last, "labels": _labels(types, where)}
    return row if name is None else {**row, "entity_id": name}


def _relation(item: Any, keys: tuple[str, str, str], where: str) -> Row:
    if not isinstance(item, Mapping):
        raise DataError(f"{where}: expected an object, got {item!r}")
    source, target, types = (_value(item, key, where) for key in keys)
    return {"from": source, "to": target, "labels": _labels(types, where)}


def _labels(value: Any, where: str) -> list[str]:
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(each, str) and each for each in found):
        raise DataError(f"{where}: expected a type, or a list of types, got {value!r}")
    return list(found)
