"""Trains a model that rates how a sentence feels, -4 to 4; `make example-text_reg`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.table import Table

from dlk.predict import Predict
from dlk.train import RunResult
from examples.data import Row
from examples.end_to_end import run

SENTENCES = [
    "What a wonderful evening, thank you all so much!",
    "The plot is thin and the jokes are older than I am.",
    "The meeting is at three.",
    "I hate waiting for a bus in the rain.",
]


TEST = Path(__file__).parent / "data" / "test.jsonl"


def by_domain(done: RunResult) -> Table:
    """Return Pearson's correlation and the mean error of each domain of the test."""
    rows: list[Row] = [json.loads(line) for line in TEST.read_text(encoding="utf-8").splitlines()]
    predictions = Predict(done.bundle).run(rows)
    assert isinstance(predictions, list)  # no file was asked for
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, answer in zip(rows, predictions, strict=True):
        groups[row["domain"]].append((float(answer["value"]), row["values"]))
    table = Table("domain", "sentences", "pearson", "mean error", title="test, by domain")
    for domain, pairs in sorted(groups.items()):
        found, truth = np.array(pairs).T
        pearson, error = np.corrcoef(found, truth)[0, 1], np.abs(found - truth).mean()
        table.add_row(domain, str(len(pairs)), f"{pearson:.3f}", f"{error:.3f}")
    return table


if __name__ == "__main__":
    run(
        Path(__file__).parent,
        ["vader", "minilm"],
        SENTENCES,
        measures={"pearson": "test_pearson", "spearman": "test_spearman", "mae": "test_mae"},
        further=by_domain,
    )
