"""Transformer blocks: attention and a feed-forward part, each with its norm and shortcut.

Sources: Vaswani et al. 2017, arXiv:1706.03762, §3 (norm after the shortcut); Xiong et al. 2020,
arXiv:2002.04745, §3 (norm before: trains without warm-up); Hendrycks & Gimpel 2016,
arXiv:1606.08415 (GELU); Shazeer 2020, arXiv:2002.05202, eq. 6 (SwiGLU).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlk.nn.module import rotary
from dlk.nn.module.attention import Attention

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "swiglu": functional.silu,  # of the gate
}
"""Activations of the feed-forward part by the names that configs use."""


class FeedForward(nn.Module):
    """Two linear maps with an activation between (§3.3); ``swiglu`` has a gate beside the first."""

    def __init__(
        self, hidden_size: int, inner_size: int, *, active: str = "gelu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.active = ACTIVATIONS[active]
        self.inner = nn.Linear(hidden_size, inner_size)
        self.gate = nn.Linear(hidden_size, inner_size) if active == "swiglu" else None
        self.outer = nn.Linear(inner_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (..., hidden_size) to the same shape."""
        inner = self.inner(vectors)  # (..., inner_size)
        inner = self.active(inner) if self.gate is None else self.active(self.gate(vectors)) * inner
        mapped: Tensor = self.outer(self.dropout(inner))
        return mapped


class TransformerBlock(nn.Module):
    """Attention to the own row, on wish to another one, then the feed-forward part."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        inner_size: int,
        *,
        norm: str = "pre",
        active: str = "gelu",
        dropout: float = 0.0,
        use_rotary: bool = False,
        source_size: int | None = None,
    ) -> None:
        """Build the parts.

        Args:
            hidden_size: width D.
            num_heads: heads of each attention, a divisor of D.
            inner_size: width inside of the feed-forward part.
            norm: "pre": before each part; "post": after each shortcut, as in the first paper.
            active: of the feed-forward part, one of `ACTIVATIONS`.
            dropout: share dropped of the attention weights, of each part's result and inside of
                the feed-forward part.
            use_rotary: attention to the own row turns keys and queries by their positions.
            source_size: width of another row that is attended to; None: there is none.

        Raises:
            ValueError: `norm` is neither; or as `Attention`.
        """
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(f'norm: expected "pre" or "post", got "{norm}"')
        self.is_pre = norm == "pre"
        self.attention = Attention(hidden_size, num_heads, dropout=dropout, use_rotary=use_rotary)
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.cross = self.cross_norm = None
        if source_size is not None:
            self.cross = Attention(hidden_size, num_heads, source_size=source_size, dropout=dropout)
            self.cross_norm = nn.LayerNorm(hidden_size)
        self.feed_forward = FeedForward(hidden_size, inner_size, active=active, dropout=dropout)
        self.feed_forward_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        vectors: Tensor,
        mask: Tensor | None = None,
        *,
        is_causal: bool = False,
        place: Tensor | None = None,
        source: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """Run the parts one after the other.

        Args:
            vectors: (B, T, D) float, finite where not kept too.
            mask: (B, T) bool, true where kept; padding may stand anywhere; None: all are kept.
            is_causal: a position sees itself and what stands before.
            place: positions for rotary, (B, T); None: 0, 1, …
            source: (B, S, source_size) float, given if and only if the block has a `source_size`.
            source_mask: (B, S) bool, true where kept.

        Returns:
            (B, T, D).

        Raises:
            ValueError: `source` is missing or has no use.
        """
        if (source is None) != (self.cross is None):
            wanted = "needs a source" if source is None else "was built without a source_size"
            raise ValueError(f"this block {wanted}")
        vectors = self._part(
            vectors,
            self.attention_norm,
            lambda x: self.attention(x, mask=mask, is_causal=is_causal, place=place),
        )
        if self.cross is not None and self.cross_norm is not None:
            cross = self.cross
            vectors = self._part(
                vectors, self.cross_norm, lambda x: cross(x, source, mask=source_mask)
            )
        return self._part(vectors, self.feed_forward_norm, self.feed_forward)

    def _part(self, x: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        after: Tensor
        if self.is_pre:
            after = x + self.dropout(part(norm(x)))
        else:
            after = norm(x + self.dropout(part(x)))
        return after


class Transformer(nn.Module):
    """Blocks on top of each other; with norms before the parts, one more norm at the end."""

    def __init__(
        self,
        hidden_size: int,
        *,
        num_layers: int,
        num_heads: int,
        inner_size: int,
        norm: str = "pre",
        active: str = "gelu",
        dropout: float = 0.0,
        position: str = "rotary",
    ) -> None:
        """Build the blocks.

        Args:
            hidden_size: width D.
            num_layers: number of blocks.
            num_heads: heads of each block, a divisor of D.
            inner_size: width inside of the feed-forward parts.
            norm: as in `TransformerBlock`.
            active: as in `TransformerBlock`.
            dropout: as in `TransformerBlock`, and of what goes in.
            position: "rotary": in every attention; "sinusoidal": added to what goes in (§3.5);
                "none": an order of the positions is not known.

        Raises:
            ValueError: `position` is none of these, or "sinusoidal" and D is odd; or as
                `TransformerBlock`.
        """
        super().__init__()
        if position not in ("rotary", "sinusoidal", "none"):
            raise ValueError(f'position: expected rotary, sinusoidal or none, got "{position}"')
        if position == "sinusoidal" and hidden_size % 2:
            raise ValueError(f"sinusoidal positions need an even width, got {hidden_size}")
        self.is_sinusoidal = position == "sinusoidal"
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                hidden_size,
                num_heads,
                inner_size,
                norm=norm,
                active=active,
                dropout=dropout,
                use_rotary=position == "rotary",
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size) if norm == "pre" else None

    def forward(self, vectors: Tensor, mask: Tensor, *, is_causal: bool = False) -> Tensor:
        """Run the blocks.

        Args:
            vectors: (B, T, D) float; what is not kept may hold anything.
            mask: (B, T) bool, true where kept; padding may stand anywhere, and positions are
                counted among the kept. A row may keep nothing.
            is_causal: a position sees itself and what stands before.

        Returns:
            (B, T, D), zero where not kept.
        """
        kept = mask.unsqueeze(-1)
        place = rotary.positions(mask)  # (B, T)
        vectors = torch.where(kept, vectors, 0.0)
        if self.is_sinusoidal:
            vectors = vectors + sinusoids(place, vectors.shape[-1]).to(vectors.dtype)
        vectors = self.dropout(vectors)
        for block in self.blocks:
            vectors = block(vectors, mask, is_causal=is_causal, place=place)
        if self.norm is not None:
            vectors = self.norm(vectors)
        return torch.where(kept, vectors, 0.0)


def sinusoids(place: Tensor, width: int) -> Tensor:
    """Return a vector for each position: sine at even entries, cosine at odd ones (§3.5).

    Args:
        place: (...) int or float.
        width: D, even.

    Returns:
        (..., D) float32.
    """
    cos, sin = rotary.angles(place, width)
    return torch.stack((sin, cos), dim=-1).flatten(-2)
