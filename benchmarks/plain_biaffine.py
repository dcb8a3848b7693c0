"""What the plain scripts for spans and relations share: a biaffine form, and reading its scores.

PyTorch only, nothing of dlk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn

Span = tuple[int, int, int]
"""First unit, last unit, label."""


class Biaffine(nn.Module):
    """Scores of all pairs of vectors: Dozat and Manning 2017, arXiv:1611.01734, eq. 3 to 5.

    With `rotary` both sides of the product are turned by their positions (Su et al. 2021,
    arXiv:2104.09864, eq. 34).
    """

    def __init__(
        self, width: int, hidden: int, scores: int, *, dropout: float, rotary: bool = False
    ) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.form = nn.Parameter(torch.randn(hidden, scores, hidden) / hidden)
        self.of_start, self.of_end = nn.Linear(hidden, scores), nn.Linear(hidden, scores)
        self.rotary = rotary

    def forward(self, vectors: Tensor) -> Tensor:
        """Return (B, L, L, N) from (B, L, D)."""
        start, end = (
            self.dropout(nn.functional.leaky_relu(layer(vectors)))
            for layer in (self.start, self.end)
        )
        left = torch.einsum("bih,hnk->bnik", start, self.form)
        right = end.unsqueeze(1)
        if self.rotary:
            left, right = turned(left), turned(right)
        scores = torch.einsum("bnik,bnjk->bijn", left, right.expand_as(left))
        linear: Tensor = self.of_start(start).unsqueeze(2) + self.of_end(end).unsqueeze(1)
        return scores + linear


def turned(vectors: Tensor) -> Tensor:
    """Return vectors (..., L, D) with each pair of entries turned by its position."""
    length, width = vectors.shape[-2:]
    speed = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(length).unsqueeze(-1) * speed  # (L, D / 2)
    even, odd = vectors[..., 0::2], vectors[..., 1::2]
    sin, cos = angle.sin(), angle.cos()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def flat_spans(scores: Tensor, length: int) -> list[Span]:
    """Return the spans (L, L, C) that do not overlap, the most probable first to be kept."""
    probabilities, labels = scores[:length, :length].softmax(-1).max(-1)
    found = torch.triu(labels).nonzero().tolist()
    found.sort(key=lambda cell: -float(probabilities[cell[0], cell[1]]))
    kept: list[Span] = []
    for first, last in found:
        if all(last < a or b < first for a, b, _ in kept):
            kept.append((first, last, int(labels[first, last])))
    return sorted(kept)


def f1_of(truth: Iterable[Sequence[Hashable]], found: Iterable[Sequence[Hashable]]) -> float:
    """Return F1 over all rows; a thing found counts once for one that is true."""
    hits = total = 0
    for true, mine in zip(truth, found, strict=True):
        hits += sum((Counter(true) & Counter(mine)).values())
        total += len(true) + len(mine)
    return 2 * hits / total if total else 0.0


def padded(rows: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """Return rows below each other, filled up with a value."""
    width = max(1, *(len(row) for row in rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
