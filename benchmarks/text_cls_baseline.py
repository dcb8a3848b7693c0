"""A plain PyTorch + transformers script for what `examples/text_cls` trains with dlk.

Same encoder, same split, same epochs, batch size, learning rates, warm-up and weight decay; nothing
of dlk. The example's accuracy must not fall below this one's.

    python -m benchmarks.text_cls_baseline --seed 1

The last line is one JSON object with the test accuracy and the seconds of training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from examples.data import Row, minilm, trec


class Classifier(nn.Module):
    """An encoder and a linear head on one vector pooled from the tokens' states."""

    def __init__(self, folder: Path, num_labels: int, *, pool: str, dropout: float) -> None:
        super().__init__()
        self.pool = pool
        self.encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.encoder.config.hidden_size, num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (B, C) from (B, T) int64 ids and a (B, T) bool mask."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]  # (B, T, D)
        if self.pool == "first":
            pooled = states[:, 0]  # (B, D)
        else:
            kept = attention_mask.unsqueeze(-1)
            pooled = (states * kept).sum(1) / kept.sum(1)  # (B, D)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def encode(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """Return each sentence's token ids, unpadded."""
    texts = [str(row["sentence"]) for row in rows]
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) int64 padded with 0, and the (B, T) bool mask, true where kept."""
    width = max(len(row) for row in ids)
    padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids])
    mask = torch.tensor([[True] * len(row) + [False] * (width - len(row)) for row in ids])
    return padded, mask


def groups(model: Classifier, args: argparse.Namespace) -> list[dict[str, object]]:
    """Return the optimizer's groups: encoder and head, each with and without weight decay."""
    made: list[dict[str, object]] = []
    for part, lr in ((model.encoder, args.lr), (model.head, args.head_lr)):
        named = list(part.named_parameters())
        plain = [p for name, p in named if name.endswith("bias") or "LayerNorm" in name]
        decayed = [p for name, p in named if not (name.endswith("bias") or "LayerNorm" in name)]
        made.append({"params": decayed, "lr": lr, "weight_decay": args.weight_decay})
        made.append({"params": plain, "lr": lr, "weight_decay": 0.0})
    return made


@torch.inference_mode()
def accuracy(
    model: Classifier, ids: Sequence[Sequence[int]], truth: Tensor, *, batch: int
) -> float:
    """Return the share of right answers, in evaluation mode."""
    model.eval()
    right = 0
    for start in range(0, len(ids), batch):
        logits = model(*pad(ids[start : start + batch]))
        right += int((logits.argmax(-1) == truth[start : start + batch]).sum())
    return right / len(ids)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Train once and return the accuracies and the seconds of training."""
    torch.manual_seed(args.seed)
    splits, folder = trec(), minilm()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()  # the file stores a padding of its own
    tokenizer.no_truncation()
    ids = {name: encode(rows, tokenizer) for name, rows in splits.items()}
    labels = {name: [str(row["labels"]) for row in rows] for name, rows in splits.items()}
    names = sorted(set(labels["train"]))
    truth = {name: torch.tensor([names.index(y) for y in ys]) for name, ys in labels.items()}

    model = Classifier(folder, len(names), pool=args.pool, dropout=args.dropout)
    optimizer = torch.optim.AdamW(groups(model, args))
    count = len(ids["train"])
    total = args.epochs * -(-count // args.batch)
    warmup = int(args.warmup * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: step / warmup if step < warmup else (total - step) / max(1, total - warmup),
    )
    start = time.perf_counter()
    for epoch in range(args.epochs):
        model.train()
        order = torch.randperm(count).tolist()
        losses = []
        for first in range(0, count, args.batch):
            chosen = order[first : first + args.batch]
            logits = model(*pad([ids["train"][i] for i in chosen]))
            loss = nn.functional.cross_entropy(logits, truth["train"][chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        valid = accuracy(model, ids["valid"], truth["valid"], batch=64)
        print(
            f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, valid accuracy {valid:.4f}, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    seconds = time.perf_counter() - start
    test = accuracy(model, ids["test"], truth["test"], batch=64)
    return {"accuracy": test, "seconds": round(seconds, 1)}


def main() -> None:
    """Read the settings, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pool", choices=["first", "mean"], default="mean")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4, help="learning rate of the encoder")
    parser.add_argument("--head-lr", type=float, default=1e-3, help="learning rate of the head")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=float, default=0.1, help="share of all steps")
    parser.add_argument("--dropout", type=float, default=0.1, help="before the head")
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient")
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
