"""A plain PyTorch + transformers script for what `examples/text_cls` trains as `multi` with dlk.

Same encoder, same split, same epochs, batch size, learning rates, warm-up and weight decay, and one
threshold of the best micro F1 on the same validation tweets; nothing of dlk. The example's numbers
must not fall below these.

    python -m benchmarks.text_cls_multi_baseline --seed 1 --split 2

The last line is one JSON object with the test's numbers and the seconds of training.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.plain_text import (
    Pooled,
    Settings,
    batches_of,
    fit,
    outputs,
    pad,
    tokenizer_of,
)
from examples.data import kinds, minilm

THRESHOLDS = torch.linspace(0, 1, 1001)


def f1s(given: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return micro F1, and the mean of the F1 of labels that are true or given, of (N, C) bools."""
    hits, both = (given & truth).sum(0), given.sum(0) + truth.sum(0)
    each = 2 * hits[both > 0] / both[both > 0]
    return float(2 * hits.sum() / both.sum().clamp(min=1)), float(each.mean())


def best_threshold(probabilities: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return the micro F1 of the best threshold, and that threshold; of equal ones the middlest."""
    found = torch.tensor([f1s(probabilities >= t, truth)[0] for t in THRESHOLDS])
    best = THRESHOLDS[found == found.max()]
    return float(found.max()), float(best[(best - 0.5).abs().argmin()])


def run(*, seed: int, split: int = 0, epochs: int = 8) -> dict[str, float]:
    """Train once; return micro and macro F1 of the test, the threshold, and the seconds.

    Args:
        split: which of the hash splits.
        epochs: as the example.
    """
    torch.manual_seed(seed)
    settings = Settings(epochs=epochs, max_length=96)
    splits, folder = kinds(split), minilm()
    tokenizer = tokenizer_of(folder, settings.max_length)
    names = sorted({label for row in splits["train"] for label in row["labels"]})
    ids = {
        part: [e.ids for e in tokenizer.encode_batch([row["sentence"] for row in rows])]
        for part, rows in splits.items()
    }
    truth = {
        part: torch.tensor([[name in row["labels"] for name in names] for row in rows])
        for part, rows in splits.items()
    }
    model = Pooled(folder, len(names), dropout=settings.dropout)

    def loss_of(chosen: list[int]) -> Tensor:
        logits = model(pad([ids["train"][i] for i in chosen]))
        return binary_cross_entropy_with_logits(logits, truth["train"][chosen].float())

    def probabilities(part: str) -> Tensor:
        return outputs(model, batches_of(ids[part])).sigmoid()

    def score() -> float:
        return best_threshold(probabilities("valid"), truth["valid"])[0]

    seconds = fit(model, settings, lengths=[*map(len, ids["train"])], loss_of=loss_of, score=score)
    _, threshold = best_threshold(probabilities("valid"), truth["valid"])
    micro, macro = f1s(probabilities("test") >= threshold, truth["test"])
    return {"f1_micro": micro, "f1_macro": macro, "threshold": threshold, "seconds": seconds}


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", type=int, choices=range(5), default=0)
    parser.add_argument("--epochs", type=int, default=8)
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
