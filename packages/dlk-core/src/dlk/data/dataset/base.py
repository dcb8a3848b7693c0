"""What a dataset is: it turns stored columns, or the columns of a request, into typed rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlk.data.ragged import Pieces, Ragged

if TYPE_CHECKING:
    from dlk.config import Base
    from dlk.context import Setup
    from dlk.data.store import Split

__all__ = ["Dataset", "Items", "Records"]

Items = dict[str, Ragged]


class Records:
    """The typed columns of one split, taken a whole batch at a time.

    torch's loader calls `__getitems__` with the numbers of a batch and hands the result to the
    collate.
    """

    def __init__(self, columns: Mapping[str, Ragged | Pieces], size: int) -> None:
        self.columns = dict(columns)
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Items:
        """Return one record as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Items:
        """Return the columns of the records, and their numbers as `_index`.

        Raises:
            IndexError: there is no such record.
        """
        numbers = np.asarray(indices, dtype=np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self._size):
            raise IndexError(
                f"records 0 to {self._size - 1} are there, got {numbers.min()} to {numbers.max()}"
            )
        items = {name: column.gather(numbers) for name, column in self.columns.items()}
        return {**items, "_index": Ragged(numbers)}


class Dataset(ABC):
    """Base of datasets: which columns a batch has, and their types."""

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup

    @abstractmethod
    def open(self, split: Split, *, depths: Mapping[str, int], partial: bool) -> Records:
        """Return the typed records of a stored split.

        Args:
            split: the stored records.
            depths: how deep the rows of a column nest, for columns of which it was said.
            partial: columns may be absent, as the truth is from data to predict.

        Raises:
            DataError: a column is absent, or is not what the config says.
        """

    @abstractmethod
    def items(self, columns: Mapping[str, Sequence[Any]], *, depths: Mapping[str, int]) -> Items:
        """Return the typed columns of a request, with `_index`; absent columns are left out.

        Raises:
            DataError: a column is not what the config says.
        """
