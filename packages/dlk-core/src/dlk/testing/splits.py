"""Conformance of what writes and reads processed splits: processors, datasets, data modules."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.store import SplitWriter, open_split
from dlk.errors import DataError
from dlk.testing.data import _WithFolder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["DataModuleConformance", "DatasetConformance", "ProcessorConformance"]

Rows = Mapping[str, Sequence[Any]]


class ProcessorConformance(_WithFolder):
    """Laws of a processor: what a request gets is what training got.

    Attributes:
        data: good rows by split and column; at least two rows for training.
        bad: one row that cannot be processed, in the same columns; empty: no row can be bad.
    """

    data: ClassVar[Mapping[str, Rows]]
    bad: ClassVar[Rows] = {}
    # `Process` reads where the output goes.
    unread = ("processed_data_dir",)

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        """Return a setup with the meta folder of `fitted`, empty before that."""
        folder = self.folder / "out" / "meta"
        meta = Meta.load(folder) if folder.is_dir() else Meta.empty()
        return Setup(meta=meta, pretrained=pretrained, seed=seed)

    def fitted(self) -> Any:
        """Process the data into the folder `out`; return a processor built on what was learnt."""
        self.build().fit_transform(self._data(), self.folder / "out")
        return self.build()

    def exercise(self, component: Any) -> None:
        """Process the data, then a request."""
        component.fit_transform(self._data(), self.folder / "out")
        self.build().online(self._train())

    def test_every_split_is_written_with_all_its_rows(self) -> None:
        """The report counts what was read and written, and the splits hold it."""
        report = self.build().fit_transform(self._data(), self.folder / "out")
        for split, rows in self.data.items():
            size = len(next(iter(rows.values())))
            stored = len(open_split(self.folder / "out" / split))
            assert report.rows[split] == size, f"{self._name}: {split} has {size} rows"
            assert report.records[split] == stored, (
                f"{self._name}: reports {report.records[split]} records of {split}, wrote {stored}"
            )

    def test_the_data_is_not_changed(self) -> None:
        """Rows belong to the caller."""
        data = self._data()
        self.build().fit_transform(data, self.folder / "out")
        assert data == self._data(), f"{self._name} changes the data it was given"

    def test_processing_again_gives_the_same(self) -> None:
        """Nothing depends on the time, the folder or the order of a set."""
        for folder in ("first", "second"):
            self.build().fit_transform(self._data(), self.folder / folder)
        for split in self.data:
            first, second = (self._stored(folder, split) for folder in ("first", "second"))
            assert first == second, f"{self._name}: a second run stores another {split}"

    def test_a_request_gets_what_training_got(self) -> None:
        """Every column that is both stored and made online has the same values in both."""
        online = self.fitted().online(self._train())
        stored = self._stored("out", "train")
        assert not online.errors, f"{self._name} refuses rows of a request that it trained on"
        for name in set(stored) & set(online.columns):
            assert list(online.columns[name]) == stored[name], (
                f'{self._name}: "{name}" of a request differs from the stored one'
            )

    def test_many_threads_get_what_one_gets(self) -> None:
        """A server calls `online` from many threads."""
        processor = self.fitted()
        expected = processor.online(self._train()).columns
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: processor.online(self._train()).columns, range(12)))
        assert all(each == expected for each in found), f"{self._name}: threads disturb each other"

    def test_a_bad_row_of_a_request_is_an_error_at_its_place(self) -> None:
        """The good rows beside it are answered."""
        if not self.bad:
            return
        processor, good = self.fitted(), self._train()
        size = len(next(iter(good.values())))
        mixed = {name: [self.bad[name][0], *good[name]] for name in self.bad if name in good}
        found = processor.online(mixed)
        assert list(found.errors) == [0], (
            f"{self._name}: the row 0 of {size + 1} is bad, errors are of {list(found.errors)}"
        )
        answered = sorted(set(found.columns["_row"]))
        assert answered == list(range(1, size + 1)), (
            f"{self._name}: beside the bad row 0 the rows {answered} are answered, expected all "
            f"of 1 to {size}"
        )

    def test_a_run_that_fails_leaves_the_old_output(self) -> None:
        """A processed folder is there whole or not at all."""
        if not self.bad:
            return
        self.fitted()
        before = {split: self._stored("out", split) for split in self.data}
        with self.refuses("a bad row in training", Exception):  # whatever the processor raises
            self.build().fit_transform({**self._data(), "train": self.bad}, self.folder / "out")
        assert {split: self._stored("out", split) for split in self.data} == before, (
            f"{self._name}: a failed run changes the processed folder"
        )

    def _data(self) -> dict[str, dict[str, list[Any]]]:
        return {split: _lists(rows) for split, rows in self.data.items()}

    def _train(self) -> dict[str, list[Any]]:
        return _lists(self.data["train"])

    def _stored(self, folder: str, split: str) -> dict[str, list[Any]]:
        return _rows_of(self.folder / folder / split)


class DatasetConformance(_WithFolder):
    """Laws of a dataset: the same rows are the same arrays, stored or asked for.

    Attributes:
        columns: at least three rows, with each column that a batch has.
    """

    columns: ClassVar[Rows]

    def exercise(self, component: Any) -> None:
        """Take one batch."""
        self._open(component)[0]

    def test_a_request_gives_the_bits_that_the_store_gives(self) -> None:
        """Names, types and values agree, in any order of rows."""
        dataset = self.build()
        records = self._open(dataset)
        order = list(range(len(records)))[::-1]
        stored = records.__getitems__(order)
        asked = dataset.items(
            {name: [values[n] for n in order] for name, values in self.columns.items()}, depths={}
        )
        assert stored["_index"].tolist() == order, f"{self._name}: `_index` numbers the records"
        for name in (set(stored) | set(asked)) - {"_index"}:
            assert name in stored, f'{self._name}: a request gives "{name}", the store does not'
            assert name in asked, f'{self._name}: the store gives "{name}", a request does not'
            same = stored[name].dtype == asked[name].dtype
            same = same and stored[name].tolist() == asked[name].tolist()
            assert same, f'{self._name}: "{name}" of a request differs from the stored one'

    def test_absent_columns_are_left_out_where_the_data_is_partial(self) -> None:
        """The truth is absent from data to predict; elsewhere that is an error."""
        dataset = self.build()
        names = set(self._open(dataset).__getitems__([0])) - {"_index"}
        for name in sorted(names):
            rest = {other: values for other, values in self.columns.items() if other != name}
            found = self._open(dataset, rest, partial=True).__getitems__([0])
            asked = dataset.items(rest, depths={})
            for what, made in (("the store", found), ("a request", asked)):
                assert set(made) == names - {name} | {"_index"}, (
                    f'{self._name}: without the column "{name}" {what} gives {sorted(made)}: leave '
                    "it out where the data is partial, and invent nothing"
                )
            with self.refuses(f'data without the column "{name}"', DataError):
                self._open(dataset, rest)

    def _open(self, dataset: Any, columns: Rows | None = None, *, partial: bool = False) -> Any:
        number = len(list(self.folder.glob("split-*")))
        folder = self.folder / f"split-{number}"
        _write(folder, self.columns if columns is None else columns)
        return dataset.open(open_split(folder), depths={}, partial=partial)


class DataModuleConformance(_WithFolder):
    """Laws of a data module: loaders and requests agree, and each row is met once.

    Attributes:
        columns: at least five rows, with each column that a batch has; every row is one record.
    """

    columns: ClassVar[Rows]

    def open(self, component: Any) -> Any:
        """Let a data module open a folder whose training and validation split are `columns`."""
        folder = self.folder / "processed"
        if not folder.is_dir():
            for split in ("train", "valid"):
                _write(folder / split, self.columns)
        component.open(folder)
        return component

    def exercise(self, component: Any) -> None:
        """Go through both loaders and a request."""
        self.open(component)
        for split in ("train", "valid"):
            list(component.loader(split))
        component.batch(_lists(self.columns))

    def test_evaluation_goes_in_row_order_over_all_rows(self) -> None:
        """Predictions are matched to rows by their order."""
        numbers = self._numbers(self.open(self.build()).loader("valid"))
        assert numbers == list(range(self.size())), (
            f"{self._name}: validation goes over {numbers}, in the order of rows it must"
        )

    def test_training_meets_each_row_once_in_an_epoch(self) -> None:
        """In an order that the seed and the epoch decide."""
        orders = []
        for _ in range(2):
            module = self.open(self.build(seed=5))
            loader = module.loader("train")
            module.set_epoch(3)
            orders.append(self._numbers(loader))
        assert set(orders[0]) <= set(range(self.size())), (
            f"{self._name}: training meets rows that are not there: {orders[0]}"
        )
        assert len(set(orders[0])) == len(orders[0]), f"{self._name}: a row comes twice in an epoch"
        assert orders[0] == orders[1], f"{self._name}: the same seed and epoch give another order"

    def test_ranks_share_the_rows(self) -> None:
        """In evaluation each row is met by one rank."""
        met: list[int] = []
        for rank in range(2):
            module = self.open(self.build())
            met += self._numbers(module.loader("valid", rank=rank, world_size=2))
        assert sorted(met) == list(range(self.size())), (
            f"{self._name}: two ranks meet the rows {sorted(met)} of {self.size()}"
        )

    def test_a_request_gives_the_bits_of_the_loader(self) -> None:
        """The same rows in one batch are the same tensors, of the same types."""
        module = self.open(self.build())
        for batch in module.loader("valid"):
            order = batch["_index"].tolist()
            asked = module.batch(
                {name: [values[n] for n in order] for name, values in self.columns.items()}
            )
            self._same({**batch, "_index": asked["_index"]}, asked, "a request and the loader")

    def test_many_threads_get_what_one_gets(self) -> None:
        """A server calls `batch` from many threads."""
        module = self.open(self.build())
        expected = module.batch(_lists(self.columns))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: module.batch(_lists(self.columns)), range(12)))
        for each in found:
            self._same(expected, each, "requests of several threads")

    def test_a_split_that_is_not_there_has_no_loader(self) -> None:
        """Data for training only, or for testing only, is allowed."""
        module = self.open(self.build())
        for what, given in (("loader", module.loader("test")), ("split", module.split("test"))):
            assert given is None, (
                f'{self._name}: {what}("test") gives {given!r} though there is no such split: '
                "give None"
            )
        assert len(module.split("train")) == self.size(), (
            f'{self._name}: split("train") has not the {self.size()} rows that are stored'
        )

    def test_a_folder_without_splits_is_refused(self) -> None:
        """Nobody trains on nothing."""
        with self.refuses("a folder without splits", DataError):
            self.build().open(self.folder)

    def size(self) -> int:
        """Return the number of rows of the example."""
        return len(next(iter(self.columns.values())))

    def _numbers(self, loader: Any) -> list[int]:
        return [number for batch in loader for number in batch["_index"].tolist()]

    def _same(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor], what: str) -> None:
        assert set(one) == set(other), f"{self._name}: {what} differ: {set(one) ^ set(other)}"
        for name, tensor in one.items():
            same = tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
            assert same, f'{self._name}: {what} differ in "{name}"'


def _lists(rows: Rows) -> dict[str, list[Any]]:
    return {name: list(copy.deepcopy(values)) for name, values in rows.items()}


def _write(folder: Path, columns: Rows) -> None:
    size = len(next(iter(columns.values())))
    with SplitWriter(folder) as writer:
        writer.write({**_lists(columns), "_row": list(range(size))})


def _rows_of(folder: Path) -> dict[str, list[Any]]:
    split = open_split(folder)
    rows = split.rows(np.arange(len(split)), split.column_names)
    return {name: [row[name] for row in rows] for name in split.column_names}
