"""Make `tests/fixtures/pairs` and `tests/fixtures/ratings` anew from the examples' data."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from examples.data import MATCHING, VADER, Row, Splits, matching, vader, write_jsonl
from examples.fetch import fetch
from scripts.trec_fixture import tokenizer

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
LONGEST = 70  # characters: a small fixture should be read easily
PAIRS = {"train": 60, "valid": 20, "test": 40}
RATINGS = {"train": 160, "valid": 20, "test": 40}


def pair_of(row: Row) -> Row | None:
    """Return the pair where it is short, plain, and of restaurants."""
    texts = (row["sentence_a"], row["sentence_b"])
    fits = row["source"] == "restaurants" and all(_is_short(text) for text in texts)
    keys = ("uuid", "sentence_a", "sentence_b", "labels", "match", "id_a", "id_b")
    return {key: row[key] for key in keys} if fits else None


def rating_of(row: Row) -> Row | None:
    """Return the sentence where it is short, plain, a review's, and says something."""
    fits = row["domain"] in ("movies", "products") and abs(row["values"]) > 1
    return row if fits and _is_short(row["sentence"]) else None


def _is_short(text: str) -> bool:
    return text.isascii() and len(text) < LONGEST


def is_match(row: Row) -> bool:
    """Tell pairs that match from others."""
    return bool(row["match"])


def is_good(row: Row) -> bool:
    """Tell good ratings from bad ones."""
    return bool(row["values"] > 0)


def put(
    name: str,
    splits: Splits,
    counts: dict[str, int],
    kept: Callable[[Row], Row | None],
    kind: Callable[[Row], bool],
) -> None:
    """Write the first rows of each split that are kept, half of either kind, and their words."""
    rows: Splits = {}
    for split, count in counts.items():
        found = [made for row in splits[split] if (made := kept(row)) is not None]
        halves = [
            [row for row in found if kind(row) is side][: count // 2] for side in (True, False)
        ]
        rows[split] = sorted((row for half in halves for row in half), key=lambda row: row["uuid"])
    write_jsonl(rows, FIXTURES / name)
    texts: Sequence[str] = [
        text for row in rows["train"] for key, text in row.items() if key.startswith("sentence")
    ]
    tokenizer(texts).save(str(FIXTURES / name / "tokenizer.json"))


def main() -> None:
    """Write rows, tokenizers and licences."""
    put("pairs", matching(), PAIRS, pair_of, is_match)
    put("ratings", vader(), RATINGS, rating_of, is_good)
    with tarfile.open(fetch(MATCHING)) as tar:
        member = tar.extractfile("py-entitymatching-0.4.2/LICENSE")
        assert member is not None  # it is a file of the pinned archive
        (FIXTURES / "pairs" / "LICENSE").write_bytes(member.read())
    with zipfile.ZipFile(fetch(VADER)) as archive:
        licence = archive.read("vaderSentiment-0.5/LICENSE.txt")
        (FIXTURES / "ratings" / "LICENSE").write_bytes(licence)


if __name__ == "__main__":
    main()
