"""Attention in several heads, to the vectors' own row or to another one.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, §3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlk.nn.module import rotary


class KeysValues(NamedTuple):
    """What is attended to, by head: keys and values (B, H, S, D // H).

    A decoder that writes one position at a time keeps these of the positions before, and joins
    them with the new one's along S.
    """

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Scaled dot-product attention (eq. 1) in several heads (§3.2.2), by torch's fused kernels."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        source_size: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        use_rotary: bool = False,
    ) -> None:
        """Build the projections.

        Args:
            hidden_size: width D of the vectors that ask, and of what is returned.
            num_heads: heads H, a divisor of `hidden_size`.
            source_size: width of the vectors that are attended to; None: hidden_size.
            dropout: share of the attention weights that training drops.
            use_bias: each projection adds a learnt vector.
            use_rotary: keys and queries are turned by their positions (see `module.rotary`).

        Raises:
            ValueError: `hidden_size` is no multiple of `num_heads`, or `use_rotary` and a head's
                width is odd.
        """
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"{hidden_size} entries cannot be shared by {num_heads} heads")
        if use_rotary and hidden_size // num_heads % 2:
            raise ValueError(
                f"rotary turns pairs of a head's entries, got {hidden_size // num_heads} of them"
            )
        self.num_heads = num_heads
        self.dropout = dropout
        self.use_rotary = use_rotary
        source_size = hidden_size if source_size is None else source_size
        self.query = nn.Linear(hidden_size, hidden_size, bias=use_bias)
        self.key = nn.Linear(source_size, hidden_size, bias=use_bias)
        self.value = nn.Linear(source_size, hidden_size, bias=use_bias)
        self.output = nn.Linear(hidden_size, hidden_size, bias=use_bias)

    def forward(
        self,
        vectors: Tensor,
        source: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        place: Tensor | None = None,
        source_place: Tensor | None = None,
    ) -> Tensor:
        """Attend from each vector to the source.

        Args:
            vectors: (B, T, D) float.
            source: (B, S, source_size) float; None: the vectors themselves, S = T.
            mask: (B, S) bool, true where kept; None: all are. What is not kept must be finite.
            is_causal: position t sees the source up to t; T must be S.
            place: positions of the vectors for rotary, (B, T) or (T,); None: 0, 1, …
            source_place: the same of the source; None: those of the vectors where they are the
                source, else 0, 1, …

        Returns:
            (B, T, D). Where nothing may be seen the result is finite and means nothing.
        """
        own = source is None
        seen = self.keys_values(
            vectors if source is None else source, place=place if own else source_place
        )
        allowed = allowed_pairs(mask, is_causal=is_causal, length=vectors.shape[1])
        # Fused kernels know the plain causal triangle; with a mask it is part of `allowed`.
        return self.attend(
            vectors, seen, allowed=allowed, is_causal=is_causal and mask is None, place=place
        )

    def keys_values(self, source: Tensor, *, place: Tensor | None = None) -> KeysValues:
        """Project what is attended to, (B, S, source_size); `place` as in `forward`."""
        keys = self._heads(self.key(source))
        return KeysValues(self._turned(keys, place), self._heads(self.value(source)))

    def attend(
        self,
        vectors: Tensor,
        seen: KeysValues,
        *,
        allowed: Tensor | None = None,
        is_causal: bool = False,
        place: Tensor | None = None,
    ) -> Tensor:
        """Attend to what `keys_values` returned.

        Args:
            vectors: (B, T, D) float.
            seen: keys and values of S positions.
            allowed: bool, broadcast to (B, H, T, S): what may be seen; every query sees something.
            is_causal: as in `forward`, instead of `allowed`.
            place: as in `forward`.

        Returns:
            (B, T, D).
        """
        queries = self._turned(self._heads(self.query(vectors)), place)  # (B, H, T, D // H)
        mixed = functional.scaled_dot_product_attention(
            queries,
            seen.keys,
            seen.values,
            attn_mask=allowed,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=is_causal,
        )  # (B, H, T, D // H)
        joined: Tensor = self.output(mixed.transpose(1, 2).flatten(2))  # (B, T, D)
        return joined

    def _heads(self, vectors: Tensor) -> Tensor:
        rows, length, width = vectors.shape
        split = vectors.view(rows, length, self.num_heads, width // self.num_heads)
        return split.transpose(1, 2)  # (B, H, T, D // H)

    def _turned(self, heads: Tensor, place: Tensor | None) -> Tensor:
        if not self.use_rotary:
            return heads
        if place is None:
            place = torch.arange(heads.shape[2], device=heads.device)
        cos, sin = rotary.angles(place, heads.shape[-1])  # (B, T, D // 2H) or (T, D // 2H)
        if place.ndim > 1:
            cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return rotary.rotate(heads, cos, sin)


def allowed_pairs(mask: Tensor | None, *, is_causal: bool, length: int) -> Tensor | None:
    """Return what each query may see, as `Attention.attend` takes it.

    A query that may see nothing kept (a row that keeps nothing; under a causal mask, padding in
    front) sees everything instead: attention over nothing is 0 / 0, and a NaN in a position that
    nobody keeps would reach the others through a weight of 0.

    Args:
        mask: (B, S) bool, true where kept, or None.
        is_causal: query t sees positions up to t.
        length: number of queries.

    Returns:
        (B, 1, 1 or T, S) bool, or None without a mask.
    """
    if mask is None:
        return None
    allowed = mask[:, None, None, :]  # (B, 1, 1, S)
    if is_causal:
        before = torch.ones(length, mask.shape[1], dtype=torch.bool, device=mask.device).tril()
        allowed = allowed & before  # (B, 1, T, S)
    return allowed | ~allowed.any(dim=-1, keepdim=True)
