"""What values are, in the words of those who gave them: why two cannot stand in one column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from numbers import Real
from typing import Any

import pyarrow as pa

__all__ = ["Kind", "difference", "kind_of_all", "kind_of_arrow"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds, as far as its values told.

    Attributes:
        name: such as "text", "list" or "object".
        item: what a list holds; None where all were empty.
        fields: what an object holds, by key.
    """

    name: str
    item: Kind | None = None
    fields: Mapping[str, Kind | None] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.name == "list":
            return "a list" if self.item is None else f"a list of {self.item.plural}"
        if self.name == "object":
            return (
                f"an object of {', '.join(map(str, self.fields))}" if self.fields else "an object"
            )
        return self.name if self.name == _BOOL else f"a {self.name}"

    @property
    def plural(self) -> str:
        """Several of them."""
        if self.name == "list":
            return "lists" if self.item is None else f"lists of {self.item.plural}"
        return self.name if self.name == _BOOL else f"{self.name}s"


_BOOL = "true or false"


class _ClashError(Exception):
    """A value, or one inside of it, is of another kind than expected."""

    def __init__(self, path: str, expected: Kind, value: Any) -> None:
        super().__init__(path)
        self.path, self.expected, self.value = path, expected, value


def difference(expected: Kind | None, value: Any) -> str:
    """Return how a value is of another kind than those before it, or holds several; else nothing.

    Args:
        expected: what they are; None where nobody told.
        value: the value.
    """
    try:
        _with(expected, value, "")
    except _ClashError as clash:
        shown = repr(clash.value)
        got = f"{_name_of(clash.value)} ({shown if len(shown) <= 40 else f'{shown[:40]}…'})"
        if not clash.path:
            got = str(_name_of(clash.value))
            if clash.expected.name == "list" and not isinstance(clash.value, Mapping):
                got += f": write a single one as a list, {[clash.value]!r}"
            return f"expected {clash.expected}, got {got}"
        hint = ""
        if {clash.expected.name, _name_of(clash.value).name} == {"text", "number"}:
            hint = ": write all of them as texts, or all as numbers"
        return f"expected {clash.expected} at {clash.path}, got {got}{hint}"
    return ""


def kind_of_all(values: Iterable[Any], expected: Kind | None = None) -> Kind | None:
    """Return what values are, and those before them; one of another kind tells nothing."""
    for value in values:
        try:
            expected = _with(expected, value, "")
        except _ClashError:
            continue
    return expected


def _with(expected: Kind | None, value: Any, path: str) -> Kind | None:
    """Return what is known of a place once a value was seen there, too."""
    if value is None:
        return expected
    mine = _name_of(value)
    if expected is not None and expected.name != mine.name:
        raise _ClashError(path, expected, value)
    if mine.name == "list":
        item = expected.item if expected else None
        for number, each in enumerate(value):
            item = _with(item, each, f"{path}[{number}]")
        return Kind("list", item)
    if mine.name == "object":
        fields = dict(expected.fields) if expected else {}
        for key, each in value.items():
            fields[key] = _with(fields.get(key), each, f"{path}.{key}" if path else str(key))
        return Kind("object", fields=fields)
    return mine


def _name_of(value: Any) -> Kind:
    """Return what a value is, without what it holds."""
    if isinstance(value, bool):
        return Kind(_BOOL)
    if isinstance(value, Real):
        return Kind("number")
    if isinstance(value, str):
        return Kind("text")
    if isinstance(value, list | tuple):
        return Kind("list")
    if isinstance(value, Mapping):
        return Kind("object")
    return Kind("date" if isinstance(value, date) else type(value).__name__)  # or with a time


def kind_of_arrow(kind: pa.DataType) -> Kind | None:
    """Return what Arrow's type holds; None where it holds nothing."""
    types = pa.types
    if types.is_null(kind):
        return None
    if types.is_boolean(kind):
        return Kind(_BOOL)
    if types.is_integer(kind) or types.is_floating(kind):
        return Kind("number")
    if types.is_string(kind) or types.is_large_string(kind):
        return Kind("text")
    if types.is_struct(kind):
        return Kind("object", fields={each.name: kind_of_arrow(each.type) for each in kind})
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return Kind("list", kind_of_arrow(kind.value_type))
    if types.is_date(kind) or types.is_timestamp(kind):
        return Kind("date")
    return Kind(str(kind))
