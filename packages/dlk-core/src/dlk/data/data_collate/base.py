"""What a collate is: the rows of a batch to tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from dlk.data.ragged import Ragged

if TYPE_CHECKING:
    from dlk.config import Base
    from dlk.context import Setup

__all__ = ["DataCollate"]


class DataCollate(ABC):
    """Base of collates. The same object makes the batches of training, prediction and serving."""

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup

    @property
    def depths(self) -> Mapping[str, int]:
        """How deep the rows of a column nest, where the config says it; nowhere by default."""
        return {}

    @property
    def length_columns(self) -> Collection[str]:
        """The columns whose items a model goes through, by which like lengths come together.

        Empty, as by default: all columns that hold lists.
        """
        return ()

    @abstractmethod
    def __call__(self, items: Mapping[str, Ragged]) -> dict[str, Tensor]:
        """Return one tensor per column, rows first, and the masks; `_index` (B,) int64 as it came.

        Raises:
            DataError: rows do not fit together as the config says.
        """
