"""A plain PyTorch + transformers script for what `examples/text_cls` trains with dlk.

Same encoder, same split, same epochs, batch size, learning rates, warm-up and weight decay; nothing
of dlk. The example's numbers must not fall below these.

    python -m benchmarks.text_cls_baseline --seed 1
    python -m benchmarks.text_cls_baseline --labels fine --split 2
    python -m benchmarks.text_cls_baseline --data sms --epochs 2

The last line is one JSON object with the test's numbers and the seconds of training.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch.nn.functional import cross_entropy

from benchmarks.plain_text import (
    Pooled,
    Settings,
    batches_of,
    f1_of,
    fit,
    outputs,
    pad,
    tokenizer_of,
)
from examples.data import DATA, minilm

# As the example: epochs by labels or data; messages are longer than questions.
EPOCHS = {"labels": 4, "fine": 6, "sms": 2}
LONGEST = {"trec": 64, "sms": 96}


def run(
    *,
    seed: int,
    data: str = "trec",
    labels: str = "labels",
    split: int = 0,
    epochs: int | None = None,
) -> dict[str, float]:
    """Train once; return accuracy, for messages the F1 of spam, and the seconds of training.

    Args:
        data: trec or sms.
        labels: column of the labels: labels, or of trec's finer ones, fine.
        split: which of the hash splits.
        epochs: None: as the example.
    """
    torch.manual_seed(seed)
    usual = EPOCHS["sms" if data == "sms" else labels]
    settings = Settings(epochs=epochs or usual, max_length=LONGEST[data])
    splits, folder = DATA[data](split), minilm()
    tokenizer = tokenizer_of(folder, settings.max_length)
    names = sorted({row[labels] for row in splits["train"]})
    ids = {
        name: [e.ids for e in tokenizer.encode_batch([row["sentence"] for row in rows])]
        for name, rows in splits.items()
    }
    truth = {
        name: torch.tensor([names.index(row[labels]) for row in rows])
        for name, rows in splits.items()
    }
    model = Pooled(folder, len(names), dropout=settings.dropout)

    def loss_of(chosen: list[int]) -> torch.Tensor:
        logits = model(pad([ids["train"][i] for i in chosen]))
        return cross_entropy(logits, truth["train"][chosen])

    def numbers(part: str) -> dict[str, float]:
        answers = outputs(model, batches_of(ids[part])).argmax(-1)
        made = {"accuracy": float((answers == truth[part]).float().mean())}
        if "spam" in names:
            made["f1"] = f1_of(answers, truth[part], names.index("spam"))
        return made

    def score() -> float:
        found = numbers("valid")
        return found.get("f1", found["accuracy"])

    seconds = fit(model, settings, lengths=[*map(len, ids["train"])], loss_of=loss_of, score=score)
    return numbers("test") | {"seconds": seconds}


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", choices=["trec", "sms"], default="trec")
    parser.add_argument("--labels", choices=["labels", "fine"], default="labels")
    parser.add_argument("--split", type=int, choices=range(5), default=0)
    parser.add_argument("--epochs", type=int, help="default: as the example")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
