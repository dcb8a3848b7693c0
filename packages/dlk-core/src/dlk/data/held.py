"""A column that lies in Arrow, and becomes plain values only for who asks for them.

Imports neither numpy nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Held", "plain"]


class Held(Sequence[Any]):
    """What a step made of a chunk, as it is stored: an Arrow array.

    Args:
        array: the values in the types in which a split stores them.
        dtype: type of the numbers where the step made a `Ragged`; empty where it made a list.
        values: the same as the step gave them, where they are at hand.
    """

    __slots__ = ("_values", "array", "dtype")

    def __init__(
        self,
        array: Any,  # Any: Arrow has no types
        dtype: str = "",
        values: Sequence[Any] | None = None,
    ) -> None:
        self.array = array
        self.dtype = dtype
        self._values = values

    def plain(self) -> Sequence[Any]:
        """Return the values as the step gave them; they are made once."""
        if self._values is None:
            if self.dtype:
                from dlk.data.ragged import Ragged

                self._values = Ragged.from_arrow(self.array).astype(self.dtype)
            else:
                self._values = self.array.to_pylist()
        return self._values

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        return self.plain()[index]


def plain(values: Sequence[Any]) -> Sequence[Any]:
    """Return a column's values as steps take them."""
    return values.plain() if isinstance(values, Held) else values
