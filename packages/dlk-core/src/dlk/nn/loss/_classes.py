"""What losses over classes share: shapes, class weights, and means over the targets that count."""

from __future__ import annotations

import torch
from torch import Tensor

from dlk.errors import DlkError


def flat(name: str, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (N, C), in float32 at least, and targets (N,).

    Raises:
        ValueError: `logits` is not (..., C) with `target` (...).
    """
    if logits.ndim < 1 or target.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name} needs logits (..., C) and target (...), such as (B, C) and (B,), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return logits.reshape(-1, logits.shape[-1]), target.reshape(-1)


def mass(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Return how much the targets count, (): their number, or the sum of their classes' weights."""
    kept = target != ignore_index
    if weight is None:
        return kept.sum()
    return (weight[target.where(kept, 0)] * kept).sum()


def check_weight(weight: Tensor | None, classes: int) -> None:
    """Raise DlkError where there is not one weight for each class."""
    if weight is not None and len(weight) != classes:
        raise DlkError(
            f"weight: expected one number for each of {classes} classes, got {len(weight)}."
        )


def mean(total: Tensor, count: Tensor) -> Tensor:
    """Return ``total / count``, and a zero with a zero gradient where nothing counts."""
    return total / count.where(count > 0, 1)
