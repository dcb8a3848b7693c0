"""What losses over classes share: shapes, class weights, and means over the targets that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dlk.errors import DlkError
from dlk.nn.loss.base import PairLoss

if TYPE_CHECKING:
    from dlk.nn.loss.configs import CrossEntropyLossConfig, FocalLossConfig


SEVERAL = (
    ": each row has a list of targets. Where rows have several labels (multi-label), use the loss "
    '"bce", name the column in the collate\'s key_multi_hot, and set multi_label of txt_cls; '
    "where they have one, the data gives it as it is, not in a list"
)


class ClassLoss(PairLoss):
    """Base of losses over class ids, with `weight` per class and an `ignore_index`."""

    weight: Tensor | None

    def __init__(self, config: CrossEntropyLossConfig | FocalLossConfig) -> None:
        super().__init__(config)
        self.ignore_index = config.ignore_index
        weight = None if config.weight is None else torch.tensor(config.weight, dtype=torch.float)
        self.register_buffer("weight", weight, persistent=False)

    def items(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the number of kept targets, or the sum of their classes' weights."""
        return mass(target, self.weight_as(logits), self.ignore_index)

    def weight_as(self, logits: Tensor) -> Tensor | None:
        """Return the class weights, as precise as the scores are."""
        if self.weight is None:
            return None
        return self.weight.to(torch.promote_types(logits.dtype, torch.float))


def flat(name: str, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (N, C) and targets (N,).

    Raises:
        ValueError: `logits` is not (..., C) with `target` (...).
    """
    if logits.ndim < 1 or target.shape != logits.shape[:-1]:
        hint = SEVERAL if logits.ndim == target.ndim == 2 else ""
        raise ValueError(
            f"{name} needs logits (..., C) and target (...), such as (B, C) and (B,), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}{hint}"
        )
    if target.ndim == 1:  # a view would be one more node of the graph
        return logits, target
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
    if not count.is_floating_point():
        return total / count.clamp(min=1)
    return total / count.where(count > 0, 1)
