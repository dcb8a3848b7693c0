"""Trains two models that say whether two records are of one thing; `make example-text_match`."""

from pathlib import Path

from examples.end_to_end import run

SCORES = {"f1": "test_f1", "accuracy": "test_acc"}
PAIRS = [
    {
        "sentence_a": "Fast Algorithms for Mining Association Rules R. Agrawal, R. Srikant",
        "sentence_b": "Mining association rules: fast algorithms Rakesh Agrawal",
    },
    {
        "sentence_a": "Fast Algorithms for Mining Association Rules R. Agrawal, R. Srikant",
        "sentence_b": "The R*-tree: an efficient access method N. Beckmann, H. Kriegel",
    },
]

if __name__ == "__main__":
    for kind in ("cross", "bi"):
        run(
            Path(__file__).parent,
            ["matching", "minilm"],
            PAIRS,
            measures=SCORES,
            process=f"process_{kind}.jsonc",
            fit=f"fit_{kind}.jsonc",
        )
