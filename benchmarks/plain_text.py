"""What the plain scripts for text share: an encoder with a head, and a loop that trains it.

PyTorch and transformers only, nothing of dlk: what the examples are measured against.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plain script trains; the defaults are those of the examples.

    Attributes:
        lr: learning rate of the encoder.
        head_lr: learning rate of all else.
        warmup: share of all steps.
        clip: largest norm of the gradient.
    """

    epochs: int = 4
    batch: int = 32
    lr: float = 1e-4
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.1
    clip: float = 1.0
    max_length: int = 64


class Encoding(nn.Module):
    """A model with a pretrained part, which learns by smaller steps than the rest."""

    encoder: nn.Module


class Pooled(Encoding):
    """An encoder, the mean of its states over the tokens, and a linear head."""

    def __init__(self, folder: Path, num_labels: int, *, dropout: float) -> None:
        super().__init__()
        encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False)
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, num_labels)

    def pooled(self, batch: dict[str, Tensor]) -> Tensor:
        """Return vectors (B, D) of ``input_ids`` (B, T), ``attention_mask`` and the like."""
        states: Tensor = self.encoder(**batch)[0]  # (B, T, D)
        kept = batch["attention_mask"].unsqueeze(-1)
        return (states * kept).sum(1) / kept.sum(1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        logits: Tensor = self.head(self.dropout(self.pooled(batch)))
        return logits


def tokenizer_of(folder: Path, max_length: int) -> Tokenizer:
    """Return the model's tokenizer without the padding that its file stores."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def pad(ids: Ids, types: Ids | None = None) -> dict[str, Tensor]:
    """Return the encoder's inputs: ids (B, T) padded with 0, and the (B, T) bool mask."""
    batch = {
        "input_ids": _padded(ids),
        "attention_mask": _padded([[1] * len(row) for row in ids]).bool(),
    }
    if types is not None:
        batch["token_type_ids"] = _padded(types)
    return batch


def _padded(rows: Ids) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


def groups(model: Encoding, settings: Settings) -> list[dict[str, object]]:
    """Return the optimizer's groups: encoder and the rest, each with and without weight decay."""
    made: list[dict[str, object]] = []
    encoder = {id(p) for p in model.encoder.parameters()}
    named = list(model.named_parameters())
    for inside, lr in ((True, settings.lr), (False, settings.head_lr)):
        part = [(name, p) for name, p in named if (id(p) in encoder) is inside]
        plain = [p for name, p in part if name.endswith("bias") or "LayerNorm" in name]
        decayed = [p for name, p in part if not (name.endswith("bias") or "LayerNorm" in name)]
        made.append({"params": decayed, "lr": lr, "weight_decay": settings.weight_decay})
        made.append({"params": plain, "lr": lr, "weight_decay": 0.0})
    return made


def rate(step: int, total: int, *, warmup: float) -> float:
    """Return the factor of the learning rate: an even rise that begins above 0, and a fall to 0."""
    rise = math.ceil(warmup * total - 1e-9)  # 0.1 * 70 is 7.000000000000001
    return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)


def shuffled(lengths: Sequence[int], batch: int, *, window: int = 20) -> list[list[int]]:
    """Return the batches of an epoch: shuffled rows, sorted by length within every 20 batches."""
    order = torch.randperm(len(lengths)).tolist()
    made: list[list[int]] = []
    for start in range(0, len(order), window * batch):
        alike = sorted(order[start : start + window * batch], key=lengths.__getitem__)
        made += [alike[first : first + batch] for first in range(0, len(alike), batch)]
    return [made[place] for place in torch.randperm(len(made)).tolist()]


def fit(
    model: Encoding,
    settings: Settings,
    *,
    lengths: Sequence[int],
    loss_of: Callable[[list[int]], Tensor],
    score: Callable[[], float],
) -> float:
    """Train, keep the epoch that `score` likes best, and return the seconds it took.

    Args:
        lengths: of each row; each epoch takes the rows in a new order, rows of like lengths
            together, as transformers' ``group_by_length`` does.
        loss_of: the loss of the rows of these numbers.
        score: the model's score on the validation data, in evaluation mode; more is better.
    """
    optimizer = torch.optim.AdamW(groups(model, settings), fused=True)
    total = settings.epochs * -(-len(lengths) // settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, total, warmup=settings.warmup)
    )
    best, kept = -float("inf"), model.state_dict()
    start = time.perf_counter()
    for epoch in range(settings.epochs):
        model.train()
        losses = []
        for chosen in shuffled(lengths, settings.batch):
            loss = loss_of(chosen)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        model.eval()
        with torch.inference_mode():
            found = score()
        if found > best:
            best, kept = found, {n: t.detach().clone() for n, t in model.state_dict().items()}
        print(
            f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, valid {found:.4f}, "
            f"{time.perf_counter() - start:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    model.load_state_dict(kept)
    model.eval()
    return round(time.perf_counter() - start, 1)


@torch.inference_mode()
def outputs(model: nn.Module, batches: Sequence[dict[str, Tensor]]) -> Tensor:
    """Return what the model gives for all batches, one below the other."""
    model.eval()
    return torch.cat([model(batch) for batch in batches])


def batches_of(ids: Ids, types: Ids | None = None, *, size: int = 64) -> list[dict[str, Tensor]]:
    """Return the padded batches of all rows, in their order."""
    return [
        pad(ids[start : start + size], None if types is None else types[start : start + size])
        for start in range(0, len(ids), size)
    ]


def f1_of(predicted: Tensor, truth: Tensor, label: int) -> float:
    """Return F1 of one label of (N,) ids."""
    hits = int(((predicted == label) & (truth == label)).sum())
    wrong = int((predicted == label).sum()) + int((truth == label).sum())
    return 2 * hits / wrong if wrong else 0.0
