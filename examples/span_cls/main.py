"""Finds names in tweets by the score of every span; `make example-span_cls` runs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from examples.end_to_end import by_type, run

FOLDER = Path(__file__).parent
MEASURES = {"f1": "test_f1", "precision": "test_precision", "recall": "test_recall"}
TWEETS = [
    "Just landed in New York , going to see Lady Gaga at Madison Square Garden tonight !",
    "Can't wait for the new iPhone , says Apple 's Steve Jobs",
    "watching Toy Story 3 with my little brother",
    "no school tomorrow yay",
]


if __name__ == "__main__":
    run(FOLDER, ["ner", "minilm"], TWEETS, measures=MEASURES, further=partial(by_type, FOLDER))
