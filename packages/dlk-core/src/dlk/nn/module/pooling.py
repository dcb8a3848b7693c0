"""Pooling: one vector for a row of vectors, made of the kept ones only."""

from __future__ import annotations

import torch
from torch import Tensor


def pool_first(vectors: Tensor, mask: Tensor) -> Tensor:
    """Return the first kept vector of each row.

    Args:
        vectors: (B, T, D) float.
        mask: (B, T) bool, true where kept; wherever the padding stands.

    Returns:
        (B, D), zero for a row that keeps nothing.
    """
    if vectors.shape[1] == 0:  # a batch of texts without any token
        return vectors.sum(dim=1)
    first = mask.int().argmax(dim=1)  # (B,), 0 for a row that keeps nothing
    rows = torch.arange(len(vectors), device=vectors.device)
    chosen = vectors[rows, first]  # (B, D)
    return torch.where(mask.any(dim=1, keepdim=True), chosen, 0.0)


def pool_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each row's kept vectors, (B, D); zero for a row that keeps nothing.

    Shapes are those of `pool_first`. Sums in float32 at least, so that long rows keep half
    precision's digits.
    """
    exact = vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors
    kept = torch.where(mask.unsqueeze(-1), exact, 0.0)  # (B, T, D)
    return (kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)).to(vectors.dtype)


def pool_max(vectors: Tensor, mask: Tensor) -> Tensor:
    """Return the entry-wise maximum of each row's kept vectors, (B, D); zero where none is kept.

    Shapes are those of `pool_first`.
    """
    if vectors.shape[1] == 0:
        return vectors.sum(dim=1)
    lowest = torch.finfo(vectors.dtype).min
    highest = torch.where(mask.unsqueeze(-1), vectors, lowest).amax(dim=1)  # (B, D)
    return torch.where(mask.any(dim=1, keepdim=True), highest, 0.0)


POOLS = {"first": pool_first, "mean": pool_mean, "max": pool_max}
"""Pooling functions by the names that configs use."""
