"""A plain PyTorch + transformers script for what `examples/span_cls` trains with dlk.

Same encoder, split, words, epochs, batch size, learning rates, warm-up and weight decay, and a
biaffine form of the same size; nothing of dlk.

    python -m benchmarks.span_cls_baseline --seed 1

The last line is one JSON object: F1, precision and recall on the test, and the seconds of training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

from benchmarks.plain_biaffine import Biaffine, Span, f1_of, flat_spans, padded
from benchmarks.plain_text import Encoding, Settings, fit, tokenizer_of
from examples.data import Row, minilm, ner

IGNORED = -100
SETTINGS = Settings(epochs=5, batch=16, lr=1e-4, head_lr=1e-3, max_length=128)


@dataclass(frozen=True, slots=True)
class Example:
    """One tweet: its pieces, where each word's first one is, and the entities in words."""

    ids: list[int]
    first: list[int]
    spans: list[Span]


class SpanScorer(Encoding):
    """MiniLM's state at the first piece of each word, and a biaffine form over all pairs."""

    def __init__(self, folder: Path, labels: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.head = Biaffine(384, 128, labels, dropout=0.2, rotary=True)

    def forward(self, rows: Sequence[Example]) -> Tensor:
        """Return scores (B, L, L, C)."""
        ids = padded([row.ids for row in rows])
        mask = padded([[1] * len(row.ids) for row in rows]).bool()
        states = self.encoder(input_ids=ids, attention_mask=mask)[0]  # (B, T, D)
        index = padded([row.first for row in rows]).unsqueeze(-1).expand(-1, -1, states.shape[-1])
        scores: Tensor = self.head(states.gather(1, index))
        return scores

    def loss(self, rows: Sequence[Example]) -> Tensor:
        """Return the mean over all spans of words."""
        scores = self(rows)
        target = torch.full(scores.shape[:3], IGNORED)
        for number, row in enumerate(rows):
            words = len(row.first)
            inside = torch.triu(torch.ones(words, words, dtype=torch.bool))
            target[number, :words, :words][inside] = 0
            for first, last, label in row.spans:
                target[number, first, last] = label
        return nn.functional.cross_entropy(scores.flatten(0, 2), target.flatten())


def encoded(rows: Sequence[Row], labels: Sequence[str], folder: Path) -> list[Example]:
    """Return the rows as the model reads them."""
    tokenizer = tokenizer_of(folder, SETTINGS.max_length)
    words = [row["pretokenized_words"] for row in rows]
    number = {label: place for place, label in enumerate(labels)}
    found = []
    encodings = tokenizer.encode_batch(words, is_pretokenized=True)
    for row, encoding in zip(rows, encodings, strict=True):
        first: dict[int, int] = {}
        for place, word in enumerate(encoding.word_ids):
            if word is not None:
                first.setdefault(word, place)
        starts = {start: place for place, (start, _) in enumerate(row["pretokenized_word_offsets"])}
        ends = {end: place for place, (_, end) in enumerate(row["pretokenized_word_offsets"])}
        spans = [
            (starts[e["start"]], ends[e["end"]], number.get(e["labels"][0], 0))
            for e in row["entities_info"]
        ]
        found.append(Example(encoding.ids, list(first.values()), spans))
    return found


def run(*, seed: int, split: int = 0, epochs: int | None = None) -> dict[str, float]:
    """Train once; return F1, precision and recall on the test, and the seconds of training."""
    torch.manual_seed(seed)
    settings = replace(SETTINGS, epochs=epochs or SETTINGS.epochs)
    splits, folder = ner(split), minilm()
    kinds = {kind for row in splits["train"] for e in row["entities_info"] for kind in e["labels"]}
    labels = ["O", *sorted(kinds)]
    examples = {name: encoded(rows, labels, folder) for name, rows in splits.items()}
    # what the model cannot see in training is still true
    truth = {name: [row.spans for row in rows] for name, rows in examples.items()}
    model = SpanScorer(folder, len(labels))

    def predicted(name: str) -> list[list[Span]]:
        found: list[list[Span]] = []
        for start in range(0, len(examples[name]), 64):
            rows = examples[name][start : start + 64]
            scores = model(rows)
            found += [flat_spans(s, len(r.first)) for s, r in zip(scores, rows, strict=True)]
        return found

    seconds = fit(
        model,
        settings,
        lengths=[len(e.ids) for e in examples["train"]],
        loss_of=lambda chosen: model.loss([examples["train"][number] for number in chosen]),
        score=lambda: f1_of(truth["valid"], predicted("valid")),
    )
    with torch.inference_mode():
        found = predicted("test")
    hits = sum(len(set(a) & set(b)) for a, b in zip(truth["test"], found, strict=True))
    return {
        "f1": f1_of(truth["test"], found),
        "precision": hits / max(1, sum(map(len, found))),
        "recall": hits / sum(map(len, truth["test"])),
        "seconds": seconds,
    }


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", type=int, default=0, help="which of the hash splits")
    parser.add_argument("--epochs", type=int, help="by default those of the example")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
