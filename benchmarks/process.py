"""Preparing short texts to disk, beside `datasets.map` and the bare tokenizer.

    python -m benchmarks.process [--texts 50000] [--rounds 3]

The same JSON lines, with the same tokenizer, become token ids in Arrow files: by `Process` without
a cache, by `Process` into an empty cache, by `Process` with all of it kept, and by
`datasets.load_dataset` and `map(batched=True)`, nothing of which is cached before. Beside them the
bare tokenizer encodes the same texts, in lists of 256, which is as fast as it gets (one list of all
takes a tenth longer), and throws away what it gets. Every case is
a process of its own with one thread; CPU seconds of it and its children, less those of its imports.
The cases take turns; the ratios are of medians, and the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

__all__ = ["run"]

ONE_THREAD = {
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
CHUNK = 4096
AT_ONCE = 256  # texts that the bare tokenizer is given at once: faster than fewer or more


def write_texts(path: Path, count: int, seed: int = 7) -> int:
    """Write short texts of about 100 characters as JSON lines; return their characters."""
    from examples.data import ner

    words = [word for rows in ner().values() for row in rows for word in row["sentence"].split()]
    draw = random.Random(seed)  # noqa: S311 - draws, no secrets
    total = 0
    with path.open("w", encoding="utf-8") as handle:
        for _ in range(count):
            start, aim = draw.randrange(len(words) - 60), draw.randint(60, 140)
            text = words[start]
            for word in words[start + 1 : start + 60]:  # as it goes on there, unto the aim
                if len(text) + len(word) >= aim:
                    break
                text += f" {word}"
            total += len(text)
            handle.write(json.dumps({"sentence": text}, ensure_ascii=False) + "\n")
    return total


def _cpu() -> float:
    return sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def dlk(data: str, tokenizer: str, folder: str, cache: str) -> Callable[[], object]:
    """Return what processes the texts; `cache` is where results are kept, or nothing."""
    from dlk.preprocess import Process

    process = Process(
        {
            "@processor@default": {
                "processed_data_dir": os.path.join(folder, "out"),
                "chunk_size": CHUNK,
                "cache": bool(cache),
                "cache_dir": cache,
                "num_workers": 0,
                "@subprocessor@fast_tokenizer": {"tokenizer_path": tokenizer},
            }
        }
    )
    return lambda: process.run({"train": data})


def hugging_face(data: str, tokenizer: str, folder: str, _: str) -> Callable[[], object]:
    """Return what reads the texts with `datasets`, and maps a tokenizer over them to disk."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(tokenizer_file=tokenizer)  # type: ignore[no-untyped-call]

    def run() -> None:
        rows = datasets.load_dataset("json", data_files=data, split="train", cache_dir=folder)
        rows.map(
            lambda batch: fast(
                batch["sentence"], return_attention_mask=False, return_token_type_ids=False
            ),
            batched=True,
            cache_file_name=os.path.join(folder, "out.arrow"),
        )

    return run


def bare(data: str, tokenizer: str, folder: str, _: str) -> Callable[[], object]:
    """Return what encodes the texts, read before the clock starts, and keeps nothing."""
    del folder
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(tokenizer)
    found.no_padding()
    found.no_truncation()
    texts = [json.loads(line)["sentence"] for line in Path(data).read_text("utf-8").splitlines()]

    def run() -> None:
        for start in range(0, len(texts), AT_ONCE):
            found.encode_batch_fast(texts[start : start + AT_ONCE])

    return run


CASES = {
    "bare tokenizer": (bare, ""),
    "datasets.map": (hugging_face, ""),
    "dlk, no cache": (dlk, ""),
    "dlk, cold cache": (dlk, "cold"),
    "dlk, warm cache": (dlk, "warm"),
}


def _measure(name: str, data: str, tokenizer: str, cache: str) -> None:
    """Run one case in this process, and print its CPU seconds; a few texts first, for imports."""
    make, _ = CASES[name]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as aside:
        few = os.path.join(aside, "train.jsonl")
        with open(data, encoding="utf-8") as handle, open(few, "w", encoding="utf-8") as some:
            some.writelines(islice(handle, 100))
        make(few, tokenizer, aside, "")()
        call = make(data, tokenizer, folder, cache)
        start = _cpu()
        call()
        print(_cpu() - start)


def run(*, count: int = 50_000, rounds: int = 3) -> dict[str, float]:
    """Measure all cases by turns, print them, and return the ratios."""
    from examples.data import minilm

    tokenizer = str(minilm() / "tokenizer.json")
    times: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "train.jsonl")
        characters = write_texts(data, count)
        for round_ in range(rounds + 1):  # the first turn fills the cache that the warm case uses
            for name, (_, kind) in CASES.items():
                if not round_ and kind != "warm":
                    continue
                cache = os.path.join(folder, kind) if kind else ""
                if kind == "cold":
                    shutil.rmtree(cache, ignore_errors=True)
                command = [sys.executable, "-m", "benchmarks.process", "--case", name]
                done = subprocess.run(
                    [*command, "--given", str(data), tokenizer, cache],
                    env={**os.environ, **ONE_THREAD},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                if round_:
                    times[name].append(float(done.stdout.split()[-1]))
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(
        f"{count:,} texts of {characters / count:.0f} characters; one thread, medians of {rounds}"
    )
    print("CPU seconds of one thread, imports left out\n")
    print(f"{'':18} {'seconds':>8} {'texts/s':>10} {'of bare':>8} {'x datasets':>11}")
    for name, each in medians.items():
        of_bare, times_peer = medians["bare tokenizer"] / each, medians["datasets.map"] / each
        print(f"{name:18} {each:8.2f} {count / each:10,.0f} {of_bare:8.2f} {times_peer:11.2f}")
    cold, warm = medians["dlk, cold cache"], medians["dlk, warm cache"]
    ratios = {
        "dlk / datasets": round(medians["datasets.map"] / cold, 3),
        "dlk / bare": round(medians["bare tokenizer"] / cold, 3),
        "cold / no cache": round(cold / medians["dlk, no cache"], 3),
        "cold / warm": round(cold / warm, 2),
    }
    print(json.dumps(ratios))
    return ratios


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=50_000, help="how many there are")
    parser.add_argument("--rounds", type=int, default=3, help="turns that the medians are of")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--given", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        _measure(given.case, *given.given)
    else:
        run(count=given.texts, rounds=given.rounds)


if __name__ == "__main__":
    main()
