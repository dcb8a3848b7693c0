"""What the examples' `main.py` share: process, train, evaluate, predict, and say what happened."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train
from examples.data import DATA, MODELS, Row, put_all

ACCURACY = {"accuracy": "test_acc"}
SPLITS = ("train", "valid", "test")


def run(
    folder: Path,
    data: Sequence[str],
    questions: Sequence[str | Row],
    *,
    measures: Mapping[str, str] = ACCURACY,
    variant: str = "",
    process: str = "process.jsonc",
    fit: str = "fit.jsonc",
    process_set: Sequence[str] = (),
    fit_set: Sequence[str] = (),
    further: Callable[[RunResult], Table] | None = None,
) -> RunResult:
    """Run an example from nothing to predictions; the last line printed is one JSON object.

    Args:
        folder: the example's folder, with its configs.
        data: names of what `examples.data` fetches.
        questions: a few texts, or rows, to answer at the end.
        measures: what the last line holds: {name: metric of the run}.
        variant: folder below data, processed and logs; "": none.
        process: the process config.
        fit: the fit config.
        process_set: overrides of the process config.
        fit_set: overrides of the fit config.
        further: makes one more table of the finished run.
    """
    places = {name: folder / name / variant for name in ("data", "processed", "logs")}
    if variant:
        put_all([name for name in data if name in MODELS], folder / "data")
        put_all([name for name in data if name in DATA], places["data"])
        processed_dir = f"processed_data_dir={places['processed']}"
        process_set = [f"processor.{processed_dir}", *process_set]
        fit_set = [f"fit.{processed_dir}", f"fit.log_dir={places['logs']}", *fit_set]
    else:
        put_all(data, folder / "data")
    processed = Process(folder / process, overrides=process_set).run(
        {split: str(places["data"] / f"{split}.jsonl") for split in SPLITS}
    )
    print(processed, flush=True)

    print("training: metrics are in the run's metrics.jsonl as they come", flush=True)
    started = time.perf_counter()
    result = Train(folder / fit, overrides=fit_set).run()
    seconds = time.perf_counter() - started
    (done,) = result.runs
    sources = own_sources(folder)

    print(f"run {done.name}, weights: {done.weights}")
    for path, value in done.found.items():
        print(f"found by validation: {path}={json.dumps(value)}")
    console = Console(width=100)
    console.print(metrics(done))
    if further is not None:
        console.print(further(done))
    rows = [{"sentence": item} if isinstance(item, str) else item for item in questions]
    console.print(answers(Server(done.bundle, src=sources), rows))
    needs = "".join(f" --src {source}" for source in sources)
    print(f"bundle: {done.bundle}")
    print("next, with .venv/bin in your PATH:")
    print(f"  echo {shlex.quote(json.dumps(rows[0], ensure_ascii=False))} > new.jsonl")
    print(f"  dlk predict {done.bundle} new.jsonl{needs}")
    print(f"  tensorboard --logdir {Path(done.dir).parent}")
    summary = {
        **{name: round(done.metrics[metric], 4) for name, metric in measures.items()},
        "bundle": done.bundle,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(summary), flush=True)
    return done


def by_type(folder: Path, done: RunResult, *, most: int | None = None) -> Table:
    """Return the scores of each type of what was found in the test rows, frequent ones first.

    Args:
        folder: the example's folder.
        done: the finished run.
        most: rows per kind of thing (entities, relations); None: all.
    """
    found = Predict(done.bundle, src=own_sources(folder)).evaluate(
        str(folder / "data" / "test.jsonl")
    )
    table = Table("type", "precision", "recall", "f1", "true", "found", title="test, by type")
    by_kind: dict[object, list[Row]] = {}
    for line in sorted(found.table, key=lambda line: -int(str(line["support"]))):
        by_kind.setdefault(line.get("kind"), []).append(line)
    for kind, lines in by_kind.items():
        table.add_section()
        for line in lines[:most]:
            name = str(line["label"]) if kind is None else f"{kind} {line['label']}"
            scores = (f"{line[score]:.3f}" for score in ("precision", "recall", "f1"))
            table.add_row(name, *scores, str(line["support"]), str(line["predicted"]))
    return table


def metrics(done: RunResult) -> Table:
    """Return the run's metrics, validation beside test."""
    table = Table("metric", "validation", "test")
    names = sorted({name.split("_", 1)[1] for name in done.metrics})
    for name in names:
        found = (done.metrics.get(f"{split}_{name}") for split in ("val", "test"))
        table.add_row(name, *("" if value is None else f"{value:.4f}" for value in found))
    return table


def answers(server: Server, rows: Sequence[Row]) -> Table:
    """Return what the server answers to some rows: the texts, then each plain part of an answer."""
    predictions = server.fit(list(rows))
    plain = [
        name
        for name, value in predictions[0].items()
        if name not in rows[0]
        and (isinstance(value, str | float) or name in ("entities_info", "labels"))
    ]
    table = Table(*rows[0], *plain, title="a few predictions")
    for row, prediction in zip(rows, predictions, strict=True):
        table.add_row(*map(str, row.values()), *(_shown(prediction[name]) for name in plain))
    return table


def _shown(value: Any) -> str:  # Any: a part of a prediction
    if isinstance(value, list) and all(isinstance(label, str) for label in value):
        return ", ".join(value) or "-"
    if isinstance(value, list):
        return ", ".join(f"{e['text']} ({e['labels'][0]} {e['score']:.2f})" for e in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def own_sources(folder: Path) -> list[str]:
    """Return the folders of the example's own components, which its bundle asks for."""
    project = json.loads((folder / ".intc.json").read_text(encoding="utf-8"))
    return [str(folder / source) for source in project["src"]]
