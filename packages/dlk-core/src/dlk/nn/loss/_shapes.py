"""Bringing predictions and targets to one shape, or refusing: broadcasting would hide a mistake."""

from __future__ import annotations

import torch
from torch import Tensor


def matched(name: str, pred: Tensor, target: Tensor, *, hint: str = "") -> tuple[Tensor, Tensor]:
    """Return both in one shape, predictions in float32 at least; the dtype of `target` stays.

    Args:
        name: the loss, for the message.
        pred: any shape.
        target: the same shape, up to one trailing 1 on either side.
        hint: what may be the reason where shapes disagree, for the message.

    Raises:
        ValueError: the shapes disagree.
    """
    if pred.dtype in (torch.float16, torch.bfloat16):
        pred = pred.float()
    if pred.shape == (*target.shape, 1):
        return pred, target.unsqueeze(-1)
    if target.shape == (*pred.shape, 1):
        return pred.unsqueeze(-1), target
    if pred.shape != target.shape:
        raise ValueError(
            f"{name} needs predictions and targets of one shape (up to a trailing 1), "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}{hint}"
        )
    return pred, target
