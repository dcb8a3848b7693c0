"""Preparing labelled sentences, end to end, beside the bare tokenizer.

    TOKENIZERS_PARALLELISM=false python -m benchmarks.preprocess [--sentences 20000] [--rounds 3]

`Process` reads the rows, tokenises them, tags them by their entities, and writes Arrow files, with
no cache of what it made before; the peer is `encode_batch` of `tokenizers` over the same texts,
whose results are thrown away. One thread, medians of CPU seconds taken by turns; the ratio says
which share of the bare tokenizer's sentences per second is left. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dlk.preprocess import Process
from examples.data import minilm, ner

Row = dict[str, Any]


def sentences(count: int, seed: int = 7) -> list[Row]:
    """Return labelled sentences of one to three tweets each, as long as those of news are."""
    tweets = [row for rows in ner().values() for row in rows]
    draw = random.Random(seed)  # noqa: S311 - draws, no secrets
    return [_joined(draw.sample(tweets, draw.choice((1, 1, 2, 3)))) for _ in range(count)]


def _joined(rows: Sequence[Mapping[str, Any]]) -> Row:
    text = ""
    entities: list[Row] = []
    for row in rows:
        shift = len(text) + 1 if text else 0
        text = f"{text} {row['sentence']}" if text else str(row["sentence"])
        entities += [
            {**each, "start": each["start"] + shift, "end": each["end"] + shift}
            for each in row["entities_info"]
        ]
    return {"sentence": text, "entities_info": entities}


def processor(folder: str, tokenizer: str, kind: str) -> Callable[[list[Row]], object]:
    """Return what processes rows as one kind of task needs it."""
    pieces: dict[str, Any] = {"@subprocessor@fast_tokenizer": {"tokenizer_path": tokenizer}}
    words: dict[str, Any] = {"@subprocessor@pre_tokenize": {}}
    steps: dict[str, dict[str, Any]] = {
        "ids": pieces,
        "piece tags": {**pieces, "@subprocessor@seq_lab_relabel": {"vocab": "labels.json"}},
        "word tags": {
            **pieces,
            "@subprocessor@seq_lab_firstpiece_relabel": {"vocab": "labels.json"},
        },
        "words, characters, tags": {
            **words,
            "@subprocessor@seq_lab_relabel": {"vocab": "labels.json"},
            "@subprocessor@token_gather": {"gather_columns": ["tokens"]},
            "@subprocessor@char_gather": {"gather_columns": ["tokens"]},
            "@subprocessor@token_norm": {"vocab": "token_vocab.json"},
            "@subprocessor@token2id": {"input_map": {"tokens": "norm_tokens"}},
            "@subprocessor@token2charid": {},
        },
    }
    config = {"@processor@default": {"processed_data_dir": folder, "cache": False, **steps[kind]}}
    return lambda rows: Process(config).run({"train": rows})


KINDS = ("ids", "piece tags", "word tags", "words, characters, tags")


def run(*, count: int = 20_000, rounds: int = 3) -> dict[str, float]:
    """Measure all kinds by turns, print them, and return the ratios to `encode_batch`."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows = sentences(count)
    texts = [str(row["sentence"]) for row in rows]
    path = str(minilm() / "tokenizer.json")
    bare = Tokenizer.from_file(path)
    bare.no_padding()
    bare.no_truncation()
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable[[], object]] = {
            "encode_batch": lambda: bare.encode_batch(texts),
            "encode_batch_fast": lambda: bare.encode_batch_fast(texts),
        }
        for kind in KINDS:
            process = processor(str(Path(folder, kind.replace(" ", "_"))), path, kind)
            process(rows[:100])  # imports, once
            calls[kind] = lambda process=process: process(rows)  # type: ignore[misc]  # bound now
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                start = time.process_time()
                call()
                times[name].append(time.process_time() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    pieces = sum(len(each.ids) for each in bare.encode_batch(texts))
    entities = sum(len(row["entities_info"]) for row in rows)
    print(
        f"{count:,} sentences, {pieces / count:.0f} pieces and {entities / count:.1f} entities each"
    )
    print(f"one thread, median CPU seconds of {rounds} turns\n")
    print(f"{'':26} {'seconds':>8} {'sentences/s':>12} {'of encode_batch':>16}")
    ratios = {name: round(medians["encode_batch"] / each, 3) for name, each in medians.items()}
    for name, each in medians.items():
        print(f"{name:26} {each:8.2f} {count / each:12,.0f} {ratios[name]:16.2f}")
    print(json.dumps(ratios))
    return ratios


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sentences", type=int, default=20_000, help="how many there are")
    parser.add_argument("--rounds", type=int, default=3, help="turns that the medians are of")
    given = parser.parse_args()
    run(count=given.sentences, rounds=given.rounds)


if __name__ == "__main__":
    main()
