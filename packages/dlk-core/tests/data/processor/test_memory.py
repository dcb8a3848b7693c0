"""How much memory processing takes: as much as a few chunks, whatever the data."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dlk.data.store import open_split
from dlk.testing.data import tiny_tokenizer

pytestmark = pytest.mark.once

PROGRAM = """
import json, sys
from dlk.preprocess import Process

def peak():
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) for line in handle if line.startswith("VmHWM")) / 1024

config, few, many = json.loads(sys.argv[1])
Process(config).run({"train": few})  # imports, and what a first run sets up
before = peak()
Process(config).run({"train": many})
print(peak() - before)
"""


def grown(folder, config, few, many):
    """Return by how many MB the peak of a process grew, that had processed a few rows before."""
    plain = {"@processor@default": {"processed_data_dir": str(folder / "out"), **config}}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([plain, str(few), str(many)])],
        capture_output=True,
        text=True,
        check=True,
        timeout=1200,
    )
    return float(done.stdout.split()[-1])


def write(path, count, words, seed=1):
    draw = random.Random(seed)
    with path.open("w") as handle:
        for number in range(count):
            text = " ".join(draw.choices("abcdefg", k=words))
            handle.write(f'{{"id": {number}, "sentence": "{text}", "label": "l{number % 7}"}}\n')


STEPS = {
    "@subprocessor@token_gather": {"gather_columns": ["label"], "token_vocab": "l.json"},
    "@subprocessor@token2id": {"vocab": "l.json", "input_map": {"tokens": "label"}},
}


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_data_several_times_larger_than_the_memory_that_it_may_take(tmp_path, workers):
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    line = json.dumps({"sentence": "word " * 800, "label": "l1"}) + "\n"  # 4 kB
    for path, count in ((few, 4_200), (many, 40_000)):  # columns are looked for in 4096 rows
        with path.open("w") as handle:
            for _ in range(count):
                handle.write(line)
    assert many.stat().st_size > 160e6
    config = {"chunk_size": 100, "num_workers": workers, "shard_rows": 10_000, **STEPS}
    assert grown(tmp_path, config, few, many) < 50
    opened = open_split(tmp_path / "out" / "train")
    assert len(opened) == 40_000
    assert len(list((tmp_path / "out" / "train").glob("data-*.arrow"))) == 4


@pytest.mark.slow
def test_a_million_rows_take_no_more_memory_than_a_few_chunks(tmp_path):
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    write(few, 20_000, 20)
    write(many, 1_000_000, 20)
    tokenizer = tiny_tokenizer(Path(tmp_path, "t.json"))
    config = {"@subprocessor@fast_tokenizer": {"tokenizer_path": tokenizer}, **STEPS}
    assert grown(tmp_path, {**config, "num_workers": 0}, few, many) < 48
    assert len(open_split(tmp_path / "out" / "train")) == 1_000_000
