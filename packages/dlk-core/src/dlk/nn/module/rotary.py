"""Rotary positions: vectors turned by their position, so that products know only distances.

Source: Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding",
arXiv:2104.09864, §3.2.2, eq. 14 and 34.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0
"""Slowness of the slowest pair; the paper's value (§3.2.2)."""


def positions(mask: Tensor) -> Tensor:
    """Number the kept positions of each row from 0, wherever its padding stands.

    Args:
        mask: (B, T) bool, true where kept.

    Returns:
        (B, T) int64: how many kept positions stand before each; what is not kept has the number
        of the kept one before it, at least 0.
    """
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def angles(position: Tensor, width: int, *, base: float = BASE) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of how far each pair of entries is turned.

    Args:
        position: (...) int or float.
        width: of the vectors that are to be turned, even: entries 2k and 2k + 1 are a pair, turned
            by ``position * base ** (-2k / width)``.
        base: slowness of the slowest pair.

    Returns:
        Two tensors (..., width // 2) float32, whatever precision the vectors have: a half
        precision angle would be off by whole turns.

    Raises:
        ValueError: `width` is odd.
    """
    if width % 2:
        raise ValueError(
            f"rotary positions turn pairs of entries: expected an even width, got {width}"
        )
    # Autocast would not touch these, but a model cast to half precision must not either.
    pair = torch.arange(0, width, 2, dtype=torch.float32, device=position.device)  # (width // 2,)
    turns = position.unsqueeze(-1).float() * base ** (-pair / width)  # (..., width // 2)
    return turns.cos(), turns.sin()


def rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of entries.

    Args:
        vectors: (..., D) float.
        cos: of `angles`, (..., D // 2), of a shape that broadcasts against the vectors' pairs.
        sin: the same.

    Returns:
        The vectors' shape and dtype. Turned in float32 at least, so that lengths stay.
    """
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    first, second = exact[..., 0::2], exact[..., 1::2]  # (..., D // 2)
    turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
    return turned.flatten(-2).to(vectors.dtype)
