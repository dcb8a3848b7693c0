"""What a data module is: the loaders of a processed folder, and the batch of a request."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from dlk.config import Base
    from dlk.context import Setup
    from dlk.data.store import Split

__all__ = ["DataModule"]


class DataModule(ABC):
    """Base of data modules. `batch` is pure and used from many threads at once."""

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup

    @property
    def length_columns(self) -> Collection[str]:
        """See `DataCollate.length_columns`; a request of many rows is sorted by them."""
        return ()

    @abstractmethod
    def open(self, processed_dir: str | os.PathLike[str]) -> None:
        """Open the splits of a processed folder.

        Raises:
            DataError: it is no processed folder, or a split is damaged.
        """

    @abstractmethod
    def split(self, name: str) -> Split | None:
        """Return the stored records of a split; None where there is none."""

    @abstractmethod
    def loader(
        self, name: str, *, rank: int | None = None, world_size: int | None = None
    ) -> DataLoader[dict[str, Tensor]] | None:
        """Return the loader of a split; None where there is none.

        Loaders other than "train" go in row order unless the config says otherwise (`_index` tells
        which record is which), never split the records of one `_row` over two batches, and give
        each row to one rank.

        Args:
            name: train, valid, test or predict.
            rank: number of this process; None: as torch.distributed says, 0 where it is not in use.
            world_size: number of processes; None: likewise, 1.
        """

    @abstractmethod
    def batch(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """Return the columns of a request as one batch, typed and padded as the loaders do."""

    @abstractmethod
    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the training loader is to give next."""
