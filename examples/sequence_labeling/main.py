"""Finds names in tweets; `make example-sequence_labeling` trains MiniLM with a CRF.

python -m examples.sequence_labeling.main lstm_crf     # another variant
python -m examples.sequence_labeling.main all          # one after the other
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from examples.end_to_end import by_type, run

FOLDER = Path(__file__).parent
VARIANTS = ("first_piece", "crf", "lstm", "lstm_crf", "words")
MEASURES = {
    "f1": "test_f1",
    "precision": "test_precision",
    "recall": "test_recall",
    "f1_macro": "test_f1_macro",
}
TWEETS = [
    "Just landed in New York , going to see Lady Gaga at Madison Square Garden tonight !",
    "Can't wait for the new iPhone , says Apple 's Steve Jobs",
    "watching Toy Story 3 with my little brother",
    "no school tomorrow yay",
]


def main() -> None:
    """Train the variants asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="crf", choices=[*VARIANTS, "all"])
    chosen = parser.parse_args().variant
    for variant in VARIANTS if chosen == "all" else [chosen]:
        models, units = (["glove"], "words") if variant == "words" else (["minilm"], "pieces")
        run(
            FOLDER,
            ["ner", *models],
            TWEETS,
            measures=MEASURES,
            process=f"process_{units}.jsonc",
            fit=f"fit_{variant}.jsonc",
            further=partial(by_type, FOLDER),
        )


if __name__ == "__main__":
    main()
