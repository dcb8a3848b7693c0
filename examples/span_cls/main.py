"""Finds names in tweets by the score of every span; `make example-span_cls` runs it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from dlk.predict import Predict
from dlk.train import RunResult
from examples.end_to_end import run

FOLDER = Path(__file__).parent
MEASURES = {"f1": "test_f1", "precision": "test_precision", "recall": "test_recall"}
TWEETS = [
    "Just landed in New York , going to see Lady Gaga at Madison Square Garden tonight !",
    "Can't wait for the new iPhone , says Apple 's Steve Jobs",
    "watching Toy Story 3 with my little brother",
    "no school tomorrow yay",
]


def per_kind(done: RunResult) -> Table:
    """Return the scores of each kind of name on the test tweets."""
    found = Predict(done.bundle).evaluate(str(FOLDER / "data" / "test.jsonl"))
    table = Table("kind", "precision", "recall", "f1", "true", "found", title="test, by kind")
    for line in sorted(found.table, key=lambda line: -int(str(line["support"]))):
        scores = (f"{line[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(str(line["label"]), *scores, str(line["support"]), str(line["predicted"]))
    return table


if __name__ == "__main__":
    run(FOLDER, ["ner", "minilm"], TWEETS, measures=MEASURES, further=per_kind)
