"""A datamodule of one's own: stored rows to padded batches, alike for loaders and requests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from dlk.context import Setup
from dlk.data.datamodule.base import DataModule
from dlk.data.store import Split, is_split, open_split
from dlk.registry import register
from first_example.configs import COLUMNS, PaddedWordsConfig

SPLITS = ("train", "valid", "test", "predict")


@register("datamodule", "padded_words")
class PaddedWords(DataModule):
    def __init__(self, config: PaddedWordsConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.batch_size: int = config.batch_size
        self.order = torch.Generator()
        self.splits: dict[str, Split] = {}

    def open(self, processed_dir: str | os.PathLike[str]) -> None:
        folders = {name: os.path.join(processed_dir, name) for name in SPLITS}  # may be a URL
        self.splits = {name: open_split(path) for name, path in folders.items() if is_split(path)}

    def split(self, name: str) -> Split | None:
        return self.splits.get(name)

    def loader(
        self, name: str, *, rank: int | None = None, world_size: int | None = None
    ) -> DataLoader[dict[str, Tensor]] | None:
        split = self.splits.get(name)
        if split is None:
            return None
        wanted = [column for column in COLUMNS if column in split.column_names]

        def collate(numbers: list[int]) -> dict[str, Tensor]:
            rows = split.rows(numbers, wanted)
            batch = self.batch({column: [row[column] for row in rows] for column in wanted})
            return batch | {"_index": torch.tensor(numbers)}

        return DataLoader(
            range(len(split)),  # type: ignore[arg-type]  # a list of numbers is a dataset too
            batch_size=self.batch_size,
            shuffle=name == "train",
            generator=self.order,
            collate_fn=collate,
        )

    def batch(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        rows = [torch.tensor(ids) for ids in columns["input_ids"]]
        lengths = torch.tensor([len(row) for row in rows])
        made = {
            "input_ids": pad_sequence(rows, batch_first=True),  # (B, T), padded with 0
            "attention_mask": torch.arange(int(lengths.max())) < lengths.unsqueeze(1),  # (B, T)
            "_index": torch.arange(len(rows)),
        }
        if "label_ids" in columns:
            made["label_ids"] = torch.tensor(columns["label_ids"])
        return made

    def set_epoch(self, epoch: int) -> None:
        self.order.manual_seed(
            self.setup.seed + epoch
        )  # another order each epoch, the same each run
