"""A plain PyTorch + transformers script for what `examples/text_reg` trains with dlk.

Same encoder, same split, same epochs, batch size, learning rates, warm-up and weight decay; nothing
of dlk. The example's correlation must not fall below this one's.

    python -m benchmarks.text_reg_baseline --seed 1
    python -m benchmarks.text_reg_baseline --hold-out tweets

The last line is one JSON object with the test's correlations, over all and by domain, its mean
error, and the seconds of training.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from benchmarks.plain_text import Pooled, Settings, batches_of, fit, outputs, pad, tokenizer_of
from examples.data import DOMAINS, minilm, vader

HIGHEST = 4.0  # the link: ratings are tanh's, times 4


def run(
    *, seed: int, split: int = 0, hold_out: str | None = None, epochs: int | None = None
) -> dict[str, float]:
    """Train once; return correlations, the mean error, and the seconds of training.

    Args:
        split: which of the hash splits.
        hold_out: the domain that is the test; None: a part of all.
        epochs: None: as the example.
    """
    torch.manual_seed(seed)
    settings = Settings(epochs=epochs or 2)
    splits, folder = vader(split, hold_out), minilm()
    tokenizer = tokenizer_of(folder, settings.max_length)
    ids = {
        name: [e.ids for e in tokenizer.encode_batch([row["sentence"] for row in rows])]
        for name, rows in splits.items()
    }
    truth = {
        name: torch.tensor([float(row["values"]) for row in rows]) for name, rows in splits.items()
    }
    model = Pooled(folder, 1, dropout=settings.dropout)

    def rated(logits: Tensor) -> Tensor:
        return HIGHEST * logits.squeeze(-1).tanh()

    def loss_of(chosen: list[int]) -> Tensor:
        batch = pad([ids["train"][i] for i in chosen])
        return mse_loss(rated(model(batch)), truth["train"][chosen])

    def found(part: str) -> Tensor:
        return rated(outputs(model, batches_of(ids[part])))

    def score() -> float:
        return pearson(found("valid"), truth["valid"])

    seconds = fit(model, settings, lengths=[*map(len, ids["train"])], loss_of=loss_of, score=score)
    domains = [str(row["domain"]) for row in splits["test"]]
    return numbers(found("test"), truth["test"], domains) | {"seconds": seconds}


def numbers(found: Tensor, truth: Tensor, domains: list[str]) -> dict[str, float]:
    """Return Pearson's correlation over all and by domain, and the mean error."""
    made = {"pearson": pearson(found, truth), "mae": float((found - truth).abs().mean())}
    for domain in DOMAINS:
        kept = torch.tensor([each == domain for each in domains])
        if kept.any():
            made[f"pearson_{domain}"] = pearson(found[kept], truth[kept])
    return made


def pearson(found: Tensor, truth: Tensor) -> float:
    """Return Pearson's correlation of (N,) numbers."""
    return float(np.corrcoef(found.numpy(), truth.numpy())[0, 1])


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", type=int, choices=range(5), default=0)
    parser.add_argument("--hold-out", choices=sorted(DOMAINS))
    parser.add_argument("--epochs", type=int, help="default: as the example")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
