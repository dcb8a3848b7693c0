"""A plain PyTorch + transformers script for what `examples/text_match` trains with dlk.

Same encoder, same split, same epochs, batch size, learning rates, warm-up and weight decay; nothing
of dlk. The example's F1 must not fall below this one's.

    python -m benchmarks.text_match_baseline --variant cross --seed 1

The last line is one JSON object with the test's F1 of matches, its accuracy, and the seconds of
training.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from benchmarks.plain_text import (
    Ids,
    Pooled,
    Settings,
    batches_of,
    f1_of,
    fit,
    outputs,
    pad,
    tokenizer_of,
)
from examples.data import Row, Splits, matching, minilm

TEMPERATURE = 0.05
EPOCHS = {"cross": 5, "bi": 2}  # as the example


def run(
    *, seed: int, variant: str = "cross", split: int = 0, epochs: int | None = None
) -> dict[str, float]:
    """Train once; return F1 of matches, accuracy, and the seconds of training.

    Args:
        variant: cross (both texts in one sequence) or bi (a vector of each).
        split: which of the hash splits.
        epochs: None: as the example.
    """
    torch.manual_seed(seed)
    train = {"cross": _cross, "bi": _bi}[variant]
    return train(matching(split), minilm(), epochs or EPOCHS[variant])


def _cross(splits: Splits, folder: Path, epochs: int) -> dict[str, float]:
    settings = Settings(epochs=epochs, batch=16, max_length=128)
    tokenizer = tokenizer_of(folder, settings.max_length)
    encoded = {
        name: tokenizer.encode_batch([(r["sentence_a"], r["sentence_b"]) for r in rows])
        for name, rows in splits.items()
    }
    ids = {name: [e.ids for e in rows] for name, rows in encoded.items()}
    types = {name: [e.type_ids for e in rows] for name, rows in encoded.items()}
    truth = {name: _truth(rows) for name, rows in splits.items()}
    model = Pooled(folder, 2, dropout=settings.dropout)

    def loss_of(chosen: list[int]) -> Tensor:
        batch = pad([ids["train"][i] for i in chosen], [types["train"][i] for i in chosen])
        return cross_entropy(model(batch), truth["train"][chosen])

    def answers(part: str) -> Tensor:
        return outputs(model, batches_of(ids[part], types[part])).argmax(-1)

    def score() -> float:
        return f1_of(answers("valid"), truth["valid"], 1)

    seconds = fit(model, settings, lengths=[*map(len, ids["train"])], loss_of=loss_of, score=score)
    return _numbers(answers("test"), truth["test"], seconds)


class BiEncoder(Pooled):
    """Vectors of length 1, and what their cosine says of a match."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 1, dropout=0.0)
        del self.head
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.bias = nn.Parameter(torch.tensor(-15.0))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return vectors (B, D)."""
        return normalize(self.pooled(batch), dim=-1)

    def logits(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (B,), above 0 where a pair matches."""
        scored: Tensor = (a * b).sum(-1) * self.log_scale.exp() + self.bias
        return scored


def _bi(splits: Splits, folder: Path, epochs: int) -> dict[str, float]:
    # The scale learns by steps of 1e-2, ten times the head's of the other examples.
    settings = Settings(epochs=epochs, batch=32, max_length=96, head_lr=1e-2)
    tokenizer = tokenizer_of(folder, settings.max_length)
    ids = {
        name: tuple(_ids(tokenizer, rows, side) for side in "ab") for name, rows in splits.items()
    }
    truth = {name: _truth(rows) for name, rows in splits.items()}
    model, rows = BiEncoder(folder), splits["train"]

    def loss_of(chosen: list[int]) -> Tensor:
        a, b = (model(pad([side[i] for i in chosen])) for side in ids["train"])
        match = truth["train"][chosen]
        pair = binary_cross_entropy_with_logits(model.logits(a, b), match.float())
        if not match.any():
            return pair
        right = [(rows[i]["id_a"], rows[i]["id_b"]) for i in chosen if rows[i]["match"]]
        return pair + ranked(a @ b.T / TEMPERATURE, match.bool(), [rows[i] for i in chosen], right)

    def answers(part: str) -> Tensor:
        a, b = (outputs(model, batches_of(side)) for side in ids[part])
        return (model.logits(a, b) >= 0).long()

    def score() -> float:
        return f1_of(answers("valid"), truth["valid"], 1)

    lengths = [len(a) + len(b) for a, b in zip(*ids["train"], strict=True)]
    seconds = fit(model, settings, lengths=lengths, loss_of=loss_of, score=score)
    with torch.inference_mode():
        return _numbers(answers("test"), truth["test"], seconds)


def ranked(
    scores: Tensor, match: Tensor, rows: Sequence[Row], right: Sequence[tuple[int, int]]
) -> Tensor:
    """Return how well partners are told from the batch's others, (), from both sides.

    Args:
        scores: (B, B), a down, b across.
        match: (B,) bool, rows that ask for their partner.
        rows: the rows, with the ids of their records.
        right: pairs of records that match, so are no wrong answers elsewhere in the batch.
    """
    known = set(right)
    as_right = torch.tensor([[(r["id_a"], c["id_b"]) in known for c in rows] for r in rows])
    as_right.fill_diagonal_(False)
    scores, own = scores.masked_fill(as_right, -math.inf), torch.arange(len(rows))
    one = cross_entropy(scores[match], own[match])
    return (one + cross_entropy(scores.T[match], own[match])) / 2


def _ids(tokenizer: Tokenizer, rows: list[Row], side: str) -> Ids:
    texts = [row[f"sentence_{side}"] for row in rows]
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def _truth(rows: list[Row]) -> Tensor:
    return torch.tensor([row["match"] for row in rows])


def _numbers(found: Tensor, truth: Tensor, seconds: float) -> dict[str, float]:
    accuracy = float((found == truth).float().mean())
    return {"f1": f1_of(found, truth, 1), "accuracy": accuracy, "seconds": seconds}


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variant", choices=["cross", "bi"], default="cross")
    parser.add_argument("--split", type=int, choices=range(5), default=0)
    parser.add_argument("--epochs", type=int, help="default: as the example")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
