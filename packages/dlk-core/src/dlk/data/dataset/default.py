"""The dataset that gives each column its declared type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlk.data.dataset.base import Dataset, Items, Records
from dlk.data.dataset.configs import DefaultDatasetConfig
from dlk.data.ragged import Pieces, Ragged, no_numbers_in
from dlk.errors import DataError, RowError, did_you_mean
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.store import Split

__all__ = ["DefaultDataset"]

_TYPES: dict[str, type[np.generic]] = {
    "long": np.int64,
    "int": np.int32,
    "float": np.float32,
    "bool": np.bool_,
}
_AT_ONCE = 1 << 16
"""Records looked through at a time."""


@register("dataset", "default")
class DefaultDataset(Dataset):
    """The columns of `key_type_pairs`: long is int64, int int32, float float32, bool bool."""

    def __init__(self, config: DefaultDatasetConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.types = {name: _TYPES[kind] for name, kind in config.key_type_pairs.items()}

    def open(self, split: Split, *, depths: Mapping[str, int], partial: bool) -> Records:
        """Return the records; see `Dataset.open`. Values keep their stored width until taken."""
        names = split.column_names
        columns: dict[str, Ragged | Pieces] = {}
        for name, dtype in self.types.items():
            if name not in names:
                if partial:
                    continue
                hint = did_you_mean(name, names)
                raise DataError(
                    f'{split.folder} has no column "{name}", which key_type_pairs names. {hint} '
                    f'Is a step missing that writes it, or must the processor\'s "keep" name it?'
                )
            column = split.numbers(name)
            _check(column, name, dtype, depths.get(name), where=f"{_name_of(split)}: ")
            if split.info.get("split") == "train" and column.dtype.kind == "f":
                _refuse_gaps(column, name, split)
            columns[name] = column
        return _Typed(columns, len(split), self.types)

    def items(self, columns: Mapping[str, Sequence[Any]], *, depths: Mapping[str, int]) -> Items:
        """Return the columns of a request; see `Dataset.items`."""
        made: Items = {}
        size = 0
        for name, dtype in self.types.items():
            if name in columns:
                try:
                    column = Ragged.from_lists(columns[name], depth=depths.get(name))
                except TypeError as error:
                    where = _first_without_numbers(columns, name)
                    raise DataError(f'{where}column "{name}": {error}') from error
                _check(column, name, dtype, depths.get(name))
                made[name] = column.astype(dtype)
                size = len(column)
        made["_index"] = Ragged(np.arange(size, dtype=np.int64))
        return made


class _Typed(Records):
    """Records that widen to their types a batch at a time."""

    def __init__(
        self,
        columns: Mapping[str, Ragged | Pieces],
        size: int,
        types: Mapping[str, type[np.generic]],
    ) -> None:
        super().__init__(columns, size)
        self._types = dict(types)

    def __getitems__(self, indices: Sequence[int]) -> Items:
        items = super().__getitems__(indices)
        return {
            name: column.astype(self._types[name]) if name in self._types else column
            for name, column in items.items()
        }


def _first_without_numbers(columns: Mapping[str, Sequence[Any]], name: str) -> str:
    """Return which row of a request holds what is no number; nothing where rows nest unequally."""
    rows = columns.get("_row", range(len(columns[name])))
    for row, value in zip(rows, columns[name], strict=True):
        if any(True for _ in no_numbers_in(value)):
            return f"row {row}, "
    return ""


def _name_of(split: Split) -> str:
    return str(split.info.get("split", split.folder))


def _check(
    column: Ragged | Pieces,
    name: str,
    dtype: type[np.generic],
    depth: int | None,
    *,
    where: str = "",
) -> None:
    """Refuse values that the type would change, and rows that nest otherwise than declared."""
    kind = np.dtype(dtype).kind
    kept = kind == "f" or np.can_cast(column.dtype, dtype, "safe")  # no value is changed
    bounds = None if kept else column.bounds()
    if depth is not None and column.depth != depth and column.bounds() is not None:
        hint = ""
        if (column.depth, depth) == (0, 1):
            hint = ': give each row a list, also of one, such as ["a"] where its label is "a"'
        raise DataError(
            f'{where}column "{name}" holds {_nesting(column.depth)}, '
            f"and data_collate pads {_nesting(depth)}{hint}"
        )
    if bounds is None:
        return
    if column.dtype.kind == "f":
        raise DataError(
            f'{where}column "{name}" holds numbers with fractions ({column.dtype}): '
            'its type is "float"'
        )
    if kind == "i":
        low, high = map(int, bounds)
        limits = np.iinfo(dtype)  # type: ignore[type-var]  # of integers here
        if low < limits.min or high > limits.max:
            raise DataError(f'{where}column "{name}" goes from {low} to {high}: its type is "long"')


def _refuse_gaps(column: Ragged | Pieces, name: str, split: Split) -> None:
    """Refuse to learn from NaN and from infinity, which is also what float32 makes of 1e39.

    The first one would make the loss, and all weights, NaN. In other splits NaN stands for a truth
    that is not known.
    """
    for start in range(0, len(column), _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, len(column)))
        if _fit(column.take(numbers).values):
            continue
        record = next(n for n in numbers if not _fit(column.take([n]).values))
        there = [each for each in ("_row", name) if each in split.column_names]
        (row,) = split.rows([record], there)
        reason = "expected finite numbers, as float32, to learn from; leave the row out"
        raise DataError(f"train: {RowError(row.get('_row', record), name, row[name], reason)}")


def _fit(values: NDArray[np.generic]) -> bool:
    numbers = values.astype(np.float64, copy=False)
    return bool((np.abs(numbers) <= np.finfo(np.float32).max).all())  # false for NaN too


def _nesting(depth: int) -> str:
    return "single values" if depth == 0 else f"lists nested {depth} deep"
