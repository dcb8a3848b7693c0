"""What the examples' `main.py` share: process, train, evaluate, predict, and say what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train
from examples.data import put_all

SPLITS = ("train", "valid", "test")


def run(folder: Path, data: Sequence[str], questions: Sequence[str]) -> None:
    """Run an example from nothing to predictions; the last line printed is one JSON object.

    Args:
        folder: the example's folder, with its two configs.
        data: names of what `examples.data` fetches.
        questions: a few to answer at the end.
    """
    put_all(data, folder / "data")
    processed = Process(folder / "process.jsonc").run(
        {split: str(folder / "data" / f"{split}.jsonl") for split in SPLITS}
    )
    print(processed, flush=True)

    print("training: metrics are in the run's metrics.jsonl as they come", flush=True)
    started = time.perf_counter()
    result = Train(folder / "fit.jsonc").run()
    seconds = time.perf_counter() - started
    (done,) = result.runs
    sources = own_sources(folder)

    print(f"run {done.name}, weights: {done.weights}")
    console = Console(width=100)
    console.print(metrics(done))
    server = Server(done.bundle, src=sources)
    console.print(answers(server, questions))
    needs = "".join(f" --src {source}" for source in sources)
    print(f"bundle: {done.bundle}")
    print("next, with .venv/bin in your PATH:")
    print('  echo \'{"sentence": "Who wrote Hamlet ?"}\' > new.jsonl')
    print(f"  dlk predict {done.bundle} new.jsonl{needs}")
    print(f"  tensorboard --logdir {Path(done.dir).parent}")
    summary = {
        "accuracy": round(done.metrics["test_acc"], 4),
        "bundle": done.bundle,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(summary), flush=True)


def metrics(done: RunResult) -> Table:
    """Return the run's metrics, validation beside test."""
    table = Table("metric", "validation", "test")
    names = sorted({name.split("_", 1)[1] for name in done.metrics})
    for name in names:
        found = (done.metrics.get(f"{split}_{name}") for split in ("val", "test"))
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in found))
    return table


def answers(server: Server, questions: Sequence[str]) -> Table:
    """Return what the server answers to some questions."""
    table = Table("question", "label", "score", title="a few predictions")
    predictions = server.fit([{"sentence": question} for question in questions])
    for question, prediction in zip(questions, predictions, strict=True):
        table.add_row(question, str(prediction["label"]), f"{prediction['score']:.3f}")
    return table


def own_sources(folder: Path) -> list[str]:
    """Return the folders of the example's own components, which its bundle asks for."""
    project = json.loads((folder / ".intc.json").read_text(encoding="utf-8"))
    return [str(folder / source) for source in project["src"]]
