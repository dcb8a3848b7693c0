"""How much memory evaluation takes, by the number of rows.

Tasks in their smallest form, evaluated on thirty thousand rows and on a hundred thousand: through
`Predict.evaluate` (rows from a file, prepared and measured) and through the trainer's validation
(rows prepared before). Each in a process of its own, which first evaluates a few rows, so that what
is loaded once is there; what is told is how far its own memory then rises above that. Pages of
mapped files are not among it: the system takes them back when it likes.

    python -m benchmarks.evaluation_memory [--rows 30000 100000] [--tasks txt_cls seq_lab txt_reg]

The last line is one JSON object: bytes of each further row, by task and way.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

from tests import small_tasks
from tests.small_tasks import SmallTask

FEW = 600
BATCH = 64
GOAL = 100
"""Bytes a row: a few for its place in the order, and what an allocator does not give back."""


def task_of(name: str) -> SmallTask:
    """Return a task by its name."""
    return next(task for task in small_tasks.TASKS if task.name == name)


def own_memory() -> int:
    """Return the bytes of this process that no file holds."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024


class Peak:
    """The highest memory while a block runs, looked at every few milliseconds."""

    def __enter__(self) -> Self:
        gc.collect()
        self.start = self.highest = own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.highest = max(self.highest, own_memory())

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self.highest = max(self.highest, own_memory())

    @property
    def growth(self) -> int:
        """Bytes above the start."""
        return self.highest - self.start


def write_rows(task: SmallTask, path: Path, count: int) -> str:
    """Write rows as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(task.rows[number % len(task.rows)]) + "\n")
    return str(path)


def evaluate(task: SmallTask, folder: Path, count: int) -> int:
    """Return the growth of `Predict.evaluate`."""
    from dlk.predict import Predict

    bundle = task.train(folder)
    predict = Predict(bundle, batch_size=BATCH)
    few, all_rows = (write_rows(task, folder / f"{n}.jsonl", n) for n in (FEW, count))
    predict.evaluate(few)
    with Peak() as peak:
        assert predict.evaluate(all_rows).rows == count
    return peak.growth


def validate(task: SmallTask, folder: Path, count: int) -> int:
    """Return the growth of the trainer's validation, on rows prepared by another process."""
    from dlk.config import child
    from dlk.context import Setup
    from dlk.fit import load_fit, load_meta
    from dlk.registry import register

    prepare = "from benchmarks.evaluation_memory import *; import sys; prepare(*sys.argv[1:])"
    for place, rows in (("few", FEW), ("all", count)):
        subprocess.run(
            [sys.executable, "-c", prepare, task.name, str(folder / place), str(rows)], check=True
        )
    config = task.fit_config(folder / "few")
    config["@fit"]["@datamodule@default"]["predict_batch_size"] = BATCH
    fit = load_fit(config).one().root("fit")
    setup = Setup(meta=load_meta(str(folder / "few" / "processed")))
    trainer = register.build(child(fit, "trainer"), setup, run_dir=str(folder / "run"))
    imodel = register.build(child(fit, "imodel"), setup)
    growth = 0
    for place in ("few", "all"):
        datamodule = register.build(child(fit, "datamodule"), setup)
        datamodule.open(folder / place / "processed")
        with Peak() as peak:
            trainer.validate(imodel, datamodule)
        growth = peak.growth
    return growth


def prepare(name: str, folder: str, count: str) -> None:
    """Process rows into a folder."""
    task = task_of(name)
    Path(folder).mkdir(parents=True)
    rows = write_rows(task, Path(folder) / "rows.jsonl", int(count))
    task.process(Path(folder), {"train": list(task.rows), "valid": rows})


WAYS = {"evaluate": evaluate, "validate": validate}


def measure(way: str, task: str, count: int) -> tuple[int, float]:
    """Return the growth in bytes, and CPU seconds, of one evaluation in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.evaluation_memory", "--one", way, task, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["growth"], found["seconds"]


def one(way: str, task: str, count: int) -> None:
    """Measure in this process."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        growth = WAYS[way](task_of(task), Path(folder), count)
    print(json.dumps({"growth": growth, "seconds": time.process_time()}))


def main() -> None:
    """Measure and print growth by rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[30_000, 100_000])
    parser.add_argument("--tasks", nargs="+", default=["txt_cls", "seq_lab", "txt_reg"])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--one", nargs=3, metavar=("WAY", "TASK", "ROWS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        way, task, count = args.one
        one(way, task, int(count))
        return
    low, high = args.rows
    print(f"{'task':12} {'way':9} {low:>9} rows {high:>9} rows  bytes a further row")
    result = {}
    for task in args.tasks:
        for way in args.ways:
            grown = [measure(way, task, count)[0] for count in (low, high)]
            each = (grown[1] - grown[0]) / (high - low)
            told = "".join(f"{bytes_ / 2**20:11.1f} MB" for bytes_ in grown)
            verdict = "reached" if each <= GOAL else "missed"
            print(f"{task:12} {way:9} {told} {each:10.0f} (goal {GOAL}: {verdict})", flush=True)
            result[f"{task}, {way}"] = round(each, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
