"""The data module over a processed folder: whole-batch gathers, no per-row work, no Lightning."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dlk.data.data_collate.base import DataCollate
from dlk.data.datamodule.base import DataModule
from dlk.data.datamodule.configs import DefaultDataModuleConfig
from dlk.data.dataset.base import Dataset, Records
from dlk.data.sampler import EvalBatches, TrainBatches
from dlk.errors import DataError
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.store import Split

__all__ = ["DefaultDataModule", "TrainLoader"]

SPLITS = ("train", "valid", "test", "predict")


@register("datamodule", "default")
class DefaultDataModule(DataModule):
    """Loaders of a processed folder: columns and types by the dataset, padding by the collate."""

    def __init__(self, config: DefaultDataModuleConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.dataset: Dataset = register.build_child(config, "dataset", setup)
        self.collate: DataCollate = register.build_child(config, "data_collate", setup)
        self.train_batch_size: int = config.train_batch_size
        self.predict_batch_size: int = config.predict_batch_size
        workers: int = config.num_workers
        self.num_workers = (os.cpu_count() or 1) if workers < 0 else workers
        self.shuffle: bool = config.shuffle
        self.window: int = config.window
        self.max_tokens: int = config.max_tokens
        self.predict_window: int = config.predict_window
        self.drop_last: bool = config.drop_last
        pin: bool | None = config.pin_memory
        self.pin_memory = torch.cuda.is_available() if pin is None else pin
        self._splits: dict[str, Split] = {}
        self._train: TrainLoader | None = None

    @property
    def length_columns(self) -> Collection[str]:
        """Those of the collate."""
        return self.collate.length_columns

    def open(self, processed_dir: str | os.PathLike[str]) -> None:
        """Open the splits that are there; see `DataModule.open`."""
        from dlk.data.store import is_split, open_split

        folder = Path(processed_dir)
        found = {name: open_split(folder / name) for name in SPLITS if is_split(folder / name)}
        if not found:
            raise DataError(f"{folder} holds no processed data: run `dlk process` first")
        self._splits, self._train = found, None

    def split(self, name: str) -> Split | None:
        """Return the stored records of a split; see `DataModule.split`."""
        _check_name(name)
        return self._splits.get(name)

    def loader(
        self, name: str, *, rank: int | None = None, world_size: int | None = None
    ) -> DataLoader[dict[str, Tensor]] | None:
        """Return the loader of a split; see `DataModule.loader`. "train" gives a `TrainLoader`."""
        split = self.split(name)
        if split is None:
            return None
        rank, world_size = _place(rank, world_size)
        records = self.dataset.open(split, depths=self.collate.depths, partial=name == "predict")
        if name == "train":
            self._train = TrainLoader(
                records, self._train_batches(records, rank, world_size), **self._options()
            )
            return self._train
        rows = split.ragged("_row").values if "_part" in split.column_names else None
        lengths = self._lengths(records) if self.predict_window else None
        batches = EvalBatches(
            len(split),
            self.predict_batch_size,
            rows=rows,
            rank=rank,
            world_size=world_size,
            lengths=lengths,
            window=0 if lengths is None else self.predict_window,
        )
        return _Loader(records, batches, **self._options())

    def _train_batches(self, records: Records, rank: int, world_size: int) -> TrainBatches:
        lengths = self._lengths(records)
        if self.max_tokens and lengths is None:
            raise DataError(
                "max_tokens counts the items of lists, and no column of the training data holds "
                "lists: leave it out, and set train_batch_size"
            )
        return TrainBatches(
            len(records),
            self.train_batch_size,
            lengths=lengths,
            window=self.window,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            seed=self.setup.seed,
            rank=rank,
            world_size=world_size,
            max_tokens=self.max_tokens,
            tokens=lengths,
        )

    def _lengths(self, records: Records) -> NDArray[np.int64] | None:
        """Return how many items each record has; None where no column holds lists.

        Of the collate's `length_columns`, or of all that hold lists; those of equal lengths, such
        as a tag for each token, count once.
        """
        lists = {name: column for name, column in records.columns.items() if column.depth}
        chosen = [lists[name] for name in self.length_columns if name in lists]
        found: list[NDArray[np.int64]] = []
        for column in chosen or lists.values():
            lengths = column.lengths()
            if not any(np.array_equal(lengths, other) for other in found):
                found.append(lengths)
        if not found:
            return None
        total: NDArray[np.int64] = np.sum(found, axis=0)
        return total

    def _options(self) -> dict[str, Any]:
        return {
            "collate_fn": self.collate,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": self.pin_memory,
            # torch draws a seed for each round: not from the numbers that dropout is drawn from
            "generator": torch.Generator().manual_seed(self.setup.seed),
        }

    def batch(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """Return the columns of a request as one batch; see `DataModule.batch`."""
        return self.collate(self.dataset.items(columns, depths=self.collate.depths))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the training loader, if one was made, is to give next."""
        if self._train is not None:
            self._train.set_epoch(epoch)


class _Loader(DataLoader[dict[str, Tensor]]):
    """torch's loader, without what it does around a batch that this process makes itself.

    That is a third of the time of a batch: torch notes each for its profiler.
    """

    def __init__(
        self, records: Records, batches: TrainBatches | EvalBatches, **options: Any
    ) -> None:
        super().__init__(records, batch_sampler=batches, **options)  # type: ignore[arg-type]  # Records is a dataset by its methods
        self._records = records
        self._numbers = batches
        self._join: DataCollate = options["collate_fn"]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]  # torch names its private iterator class
        """Yield the batches, made here or by the workers."""
        if self.num_workers or self.pin_memory:
            yield from super().__iter__()
            return
        for numbers in self._numbers:
            yield self._join(self._records.__getitems__(numbers))


class TrainLoader(_Loader):
    """A loader that knows its place: saved after any batch, it goes on with the next one.

    The order can be made again from seed and epoch, so the place is all there is to save. It counts
    the batches handed out, not those that workers prepared ahead. A place at the end of an epoch is
    the start of the next.
    """

    def __init__(self, records: Records, batches: TrainBatches, **options: Any) -> None:
        super().__init__(records, batches, **options)
        self.batches = batches
        self._given: int | None = None

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]  # as above
        """Yield the batches of the epoch, from the loaded place on."""
        self._given = self.batches.start
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to give next; the one that was loaded keeps its place."""
        if epoch != self.batches.epoch:
            self._given = None
        self.batches.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return epoch, batches given, and what their order depends on, as plain numbers.

        The end of an epoch is told as the start of the next, as it is after loading.
        """
        state = self.batches.state_dict()
        if self._given is None:
            return state
        if self._given >= len(self.batches):
            return {**state, "epoch": state["epoch"] + 1, "start": 0}
        return {**state, "start": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""
        self.batches.load_state_dict(state)
        self._given = None


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise ValueError("rank and world_size go together")
    if rank is not None and world_size is not None:
        return rank, world_size
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _check_name(name: str) -> None:
    if name not in SPLITS:
        raise ValueError(f"splits are {', '.join(SPLITS)}, got {name!r}")
