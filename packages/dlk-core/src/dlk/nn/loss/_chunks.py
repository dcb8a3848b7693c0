"""Sums over very many rows that hold little more than the rows themselves.

A cross entropy holds its scores four times over: the scores, their log-softmax, and the gradients
of both. Of all pairs of 512 units, or of a large vocabulary, that is most of a step's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RowsLoss = Callable[[Tensor, Tensor], Tensor]
"""Scores (n, C), in float32 at least, and targets (n,) to the sum of their losses, ()."""

CHUNK = 2**21
"""Scores taken at once, 8 MiB of float32: little beside a step, enough to keep a device busy."""


def summed(loss: RowsLoss, logits: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the losses of all rows, () in float32 at least.

    Beyond `CHUNK` scores it is taken by chunks of rows, and so is its gradient, which computes each
    chunk again; that gradient cannot be differentiated once more.

    Args:
        loss: the sum over some rows.
        logits: (N, C) float.
        target: (N,).
    """
    if logits.numel() <= CHUNK:
        return loss(_exact(logits), target)
    total: Tensor = _Sum.apply(loss, logits, target)
    return total


class _Sum(torch.autograd.Function):
    """`summed` by chunks."""

    @staticmethod
    def forward(ctx: Any, loss: RowsLoss, logits: Tensor, target: Tensor) -> Tensor:
        # Any: torch's context takes attributes of any name
        ctx.loss = loss
        ctx.save_for_backward(logits, target)
        parts = [loss(_exact(logits[rows]), target[rows]) for rows in _chunks(logits)]
        return torch.stack(parts).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:  # Any: as in forward
        logits, target = ctx.saved_tensors
        out = torch.empty_like(logits)
        for rows in _chunks(logits):
            with torch.enable_grad():
                given = _exact(logits[rows].detach()).requires_grad_()
                (found,) = torch.autograd.grad(ctx.loss(given, target[rows]), given, grad)
            out[rows] = found
        return None, out, None


def _chunks(logits: Tensor) -> list[slice]:
    step = max(1, CHUNK // logits.shape[1])
    return [slice(first, first + step) for first in range(0, len(logits), step)]


def _exact(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
