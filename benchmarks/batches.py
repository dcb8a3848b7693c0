"""Padded training batches: dlk's loader beside DataFrame rows and Arrow batches of `datasets`.

    python -m benchmarks.batches [--rows 20000] [--rounds 5] [--files 1]

Rows of log-normal lengths (mean 28, median 21, at most 217), a label each, in batches of 32 with a
mask. Every way gives the same rows of the same shuffled epoch as int64 tensors (checked on each
batch of the warm-up). The peers: `DataFrame.iloc` row by row, then `pad_sequence`; and `datasets`,
whole batches as numpy or as Arrow, padded by hand with one write. Of dlk with a worker process only
the training process counts, which is to have its time for the model. One thread, CPU seconds, ways
interleaved. The last line is one JSON object with the ratios of rows per second (dlk / peer).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.store import SplitWriter
from dlk.registry import register

GOALS = {"DataFrame rows": 15.0, "datasets, numpy": 1.5, "datasets, arrow": 1.5}
Batch = dict[str, Tensor]
Indices = list[list[int]]


def lengths_of(rows: int, seed: int) -> list[int]:
    """Return log-normal lengths: mean 28, median 21, one in twenty above 70, the longest 217."""
    drawn = np.random.default_rng(seed).lognormal(np.log(21), 0.73, rows)
    lengths: list[int] = np.clip(np.round(drawn), 2, 217).astype(int).tolist()
    return lengths


def columns_of(rows: int, seed: int) -> dict[str, list[Any]]:
    """Return ids of a vocabulary of 30,000 and a label for each row."""
    rng = np.random.default_rng(seed + 1)
    ids = [rng.integers(1, 30_000, length).tolist() for length in lengths_of(rows, seed)]
    labels = rng.integers(0, 10, rows).tolist()
    return {"input_ids": ids, "label_ids": labels, "_row": list(range(rows))}


def of_dlk(
    folder: str, batch: int, workers: int = 0
) -> tuple[Callable[[], Iterator[Batch]], Indices]:
    """Return dlk's training loader over the folder, and which rows its batches hold."""
    config = {
        "train_batch_size": batch,
        "window": 0,
        "num_workers": workers,
        "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
        "@data_collate@default": {
            "key_padding_pairs": {"input_ids": 0},
            "gen_mask": {"input_ids": "attention_mask"},
        },
    }
    module = register.build(make("datamodule", "default", config), Setup(Meta.empty()))
    module.open(folder)
    loader = module.loader("train")
    return lambda: iter(loader), list(loader.batches)


def of_frame(columns: dict[str, list[Any]], order: Indices) -> Iterator[Batch]:
    """Yield batches from the rows of a DataFrame, one by one."""
    import pandas as pd

    frame = pd.DataFrame(columns)

    class Rows(torch.utils.data.Dataset[Batch]):
        def __len__(self) -> int:
            return len(frame)

        def __getitem__(self, index: int) -> Batch:
            row = frame.iloc[index]
            ids = torch.tensor(row["input_ids"])
            return {
                "input_ids": ids,
                "attention_mask": torch.ones(len(ids), dtype=torch.bool),
                "label_ids": torch.tensor(row["label_ids"]),
            }

    def joined(rows: Sequence[Batch]) -> Batch:
        return {
            "input_ids": pad_sequence([row["input_ids"] for row in rows], batch_first=True),
            "attention_mask": pad_sequence(
                [row["attention_mask"] for row in rows], batch_first=True
            ),
            "label_ids": torch.stack([row["label_ids"] for row in rows]),
        }

    return iter(torch.utils.data.DataLoader(Rows(), batch_sampler=order, collate_fn=joined))


def of_datasets(columns: dict[str, list[Any]], order: Indices, kind: str) -> Iterator[Batch]:
    """Yield batches from whole Arrow batches of `datasets`, without a loader around them."""
    import datasets

    made = datasets.Dataset.from_dict(columns).with_format(kind)
    for indices in order:
        batch = made[indices]
        if kind == "numpy":
            rows = batch["input_ids"]
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            values, labels = np.concatenate(rows), np.asarray(batch["label_ids"])
        else:
            lists = batch["input_ids"].combine_chunks()
            lengths = np.diff(lists.offsets.to_numpy())
            values, labels = lists.flatten().to_numpy(), batch["label_ids"].to_numpy()
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        padded[mask] = values
        yield {
            "input_ids": torch.from_numpy(padded),
            "attention_mask": torch.from_numpy(mask),
            "label_ids": torch.tensor(labels),
        }


def check(one: Batch, other: Batch) -> None:
    """Hold two batches to the same tensors."""
    for name in ("input_ids", "attention_mask", "label_ids"):
        if one[name].dtype != other[name].dtype or not torch.equal(one[name], other[name]):
            raise SystemExit(f"{name} differs between two ways")


def run(*, rows: int, rounds: int, batch: int, files: int, seed: int = 1) -> dict[str, float]:
    """Measure all ways by turns, print them, and return the ratios."""
    columns = columns_of(rows, seed)
    with tempfile.TemporaryDirectory() as folder:
        with SplitWriter(f"{folder}/train", file_rows=-(-rows // files)) as writer:
            step = min(4096, -(-rows // files))
            for start in range(0, rows, step):
                writer.write({name: all_[start : start + step] for name, all_ in columns.items()})
        dlk, order = of_dlk(folder, batch)
        ways: dict[str, Callable[[], Iterator[Batch]]] = {
            "dlk": dlk,
            "dlk, 1 worker": of_dlk(folder, batch, workers=1)[0],
            "DataFrame rows": lambda: of_frame(columns, order),
            "datasets, numpy": lambda: of_datasets(columns, order, "numpy"),
            "datasets, arrow": lambda: of_datasets(columns, order, "arrow"),
        }
        for name, way in ways.items():
            if name != "dlk":
                for one, other, _ in zip(dlk(), way(), range(20), strict=False):
                    check(one, other)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                batches = way()
                next(batches)  # making the data set, and the epoch's order, is not counted
                start_s = time.process_time()
                count = sum(1 for _ in batches)
                seconds[name].append((time.process_time() - start_s) / count)
    lengths = [len(ids) for ids in columns["input_ids"]]
    print(
        f"{rows:,} rows, lengths: mean {statistics.mean(lengths):.1f}, median "
        f"{statistics.median(lengths):.0f}, p95 {np.percentile(lengths, 95):.0f}, longest "
        f"{max(lengths)}; batches of {batch}; one thread, median CPU seconds of {rounds} turns\n"
    )
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratios = {name: round(each / medians["dlk"], 2) for name, each in medians.items()}
    print(f"{'':18} {'ms/batch':>9} {'rows/s':>10} {'dlk is':>9}  goal")
    for name, each in medians.items():
        goal = GOALS.get(name)
        word = "reached" if goal and ratios[name] >= goal else "missed"
        verdict = f"{goal} ({word})" if goal else ""
        print(f"{name:18} {each * 1e3:9.3f} {batch / each:10,.0f} {ratios[name]:7.2f} x  {verdict}")
    del ratios["dlk"]
    print(json.dumps(ratios))
    return ratios


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5, help="turns that the medians are of")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch")
    parser.add_argument("--files", type=int, default=1, help="files that the split lies in")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run(rows=given.rows, rounds=given.rounds, batch=given.batch, files=given.files)


if __name__ == "__main__":
    main()
