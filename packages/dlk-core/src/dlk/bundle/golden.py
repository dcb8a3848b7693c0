"""Golden rows: what was predicted when a bundle was written, held against what is now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "compare"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it was.

    Attributes:
        row: number of the golden row, from 0.
        field: where in the prediction, such as ``labels.2.score``.
        expected: what the bundle holds.
        got: what is predicted now.
    """

    row: int
    field: str
    expected: Any
    got: Any


def compare(
    expected: Sequence[Any], got: Sequence[Any], *, tolerance: float
) -> Iterator[Difference]:
    """Yield what differs between predictions, in order.

    Numbers with a fraction may differ by `tolerance`, above 1 by that share of their size; all else
    is equal or not. Of a row that cannot be processed the column counts, not the words.
    """
    for row, (old, new) in enumerate(zip(expected, got, strict=True)):
        if _column(old) is not None and _column(old) == _column(new):
            continue
        yield from _differences(row, "", old, new, tolerance)


def _column(prediction: Any) -> str | None:
    error = prediction.get("error") if isinstance(prediction, Mapping) else None
    return str(error.get("column")) if isinstance(error, Mapping) else None


def _differences(
    row: int, field: str, old: Any, new: Any, tolerance: float
) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            here = f"{field}.{key}" if field else str(key)
            if key in old and key in new:
                yield from _differences(row, here, old[key], new[key], tolerance)
            else:
                yield Difference(row, here, old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            here = f"{field}.{number}" if field else str(number)
            yield from _differences(row, here, one, other, tolerance)
    elif not _are_equal(old, new, tolerance):
        yield Difference(row, field, old, new)


_ABSENT = "(nothing)"


def _are_equal(old: Any, new: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if type(old) in numbers and type(new) in numbers and float in (type(old), type(new)):
        return bool(abs(old - new) <= tolerance * max(1.0, abs(old)))
    return type(old) is type(new) and bool(old == new)
