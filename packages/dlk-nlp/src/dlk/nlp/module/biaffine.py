"""Biaffine scores of all pairs of positions.

Sources: Dozat & Manning 2017, "Deep Biaffine Attention for Neural Dependency Parsing",
arXiv:1611.01734, §3.2 (activation after the projections, eq. 4 and 5) and eq. 3 (the form); Yu et
al. 2020, arXiv:2005.07150, §3 (spans of entities); Su et al. 2021, arXiv:2104.09864, eq. 16 (rotary
positions in the product).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dlk.nn.module import rotary

NOTHING = -1e4
"""Score of every class but the first where a pair is not kept; finite in half precision too."""

CHUNK = 2**20
"""Scores made at once where nothing else is said, 4 MiB of float32."""

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91)
"""Distances at which a new bucket begins: each to 8, then two for each doubling (T5's shape)."""

BUCKETS = 2 * len(WIDTHS) + 1
"""Distance 0, and one bucket for each of `WIDTHS` in either direction."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "leaky_relu": functional.leaky_relu,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "glu": functional.glu,  # halves the width: its projection is twice as wide
    "selu": functional.selu,
    "celu": functional.celu,
    "elu": functional.elu,
}
"""Activations by the names that configs use."""


class Biaffine(nn.Module):
    """Scores ``s_i' U_n e_j + u_n's_i + v_n'e_j + b_n`` of all pairs (i, j) of a row.

    s and e are two views of a vector, as a start and as an end: each its own linear map, then the
    activation, then dropout. Of low rank the scores are ``(A_n s_i + a_n)'(B_n e_j + b_n)``. Rotary
    positions turn both sides of that product; of the full form, ``U_n's_i + v_n`` and ``e_j``.
    """

    nothing: Tensor
    bounds: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        matrices: int = 1,
        active: str = "leaky_relu",
        dropout: float = 0.0,
        bias: bool = True,
        rank: int = 0,
        use_rotary: bool = False,
        width_size: int = 0,
        chunk_size: int | None = None,
    ) -> None:
        """Build the weights.

        Args:
            input_size: width of a vector read.
            hidden_size: width H of the two views.
            output_size: classes C.
            matrices: score matrices M, each with classes of its own.
            active: activation of the views, one of `ACTIVATIONS`.
            dropout: share of the views that training drops.
            bias: add what is linear in one view, and a constant (u, v, b; of low rank a, b).
            rank: of each class's U, as a product of two thinner matrices; 0: full.
            use_rotary: turn both sides of the bilinear product by their positions, so that it knows
                their distance and direction. Positions are counted among the kept ones.
            width_size: add ``w_d' (A_n s_i + a_n)``, where w_d is a learnt vector of this width for
                the bucket of the distance j - i; 0: none.
            chunk_size: rows i whose scores are computed at once: beside the result and its gradient
                only so much is ever held, and the backward pass makes each chunk's left side again.
                0: all at once; None: as many rows as make `CHUNK` scores.

        Raises:
            ValueError: `use_rotary` and an odd width of the product (rank, or else hidden_size).
        """
        super().__init__()
        if use_rotary and (rank or hidden_size) % 2:
            raise ValueError(
                f"rotary turns pairs: expected an even width, got {rank or hidden_size}"
            )
        self.classes, self.matrices = output_size, matrices
        self.active = ACTIVATIONS[active]
        self.use_rotary, self.chunk_size = use_rotary, chunk_size
        projected = hidden_size * (2 if active == "glu" else 1)
        self.start = nn.Linear(input_size, projected)
        self.end = nn.Linear(input_size, projected)
        self.dropout = nn.Dropout(dropout)
        scores = matrices * output_size
        if rank:
            self.form = _low_rank_form(hidden_size, scores, rank=rank, bias=bias)
        else:
            self.form = _full_form(hidden_size, scores, bias=bias)
        if width_size:
            self.form["widths"] = torch.randn(BUCKETS, width_size) * width_size**-0.5
            self.form["width_weight"] = _drawn(hidden_size, scores, width_size)
            self.form["width_bias"] = torch.zeros(scores, width_size)
        nothing = torch.full((output_size,), NOTHING)
        if output_size > 1:  # a single class has no "nothing" beside it
            nothing[0] = 0.0
        self.register_buffer("nothing", nothing, persistent=False)
        self.register_buffer("bounds", torch.tensor(WIDTHS), persistent=False)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Score all pairs.

        Args:
            vectors: (B, L, D) float; what is not kept may hold anything.
            mask: (B, L) bool, true where kept; padding may stand anywhere.

        Returns:
            (B, L, L, C), with several matrices (B, M, L, L, C). Cell [i, j] is the pair from i to
            j. Where i or j is not kept, class 0 has the score 0 and all others -10000 (a single
            class has -10000): there class 0 surely wins, and no gradient flows.
        """
        vectors = torch.where(mask.unsqueeze(-1), vectors, 0.0)
        starts = self.dropout(self.active(self.start(vectors)))  # (B, L, H)
        ends = self.dropout(self.active(self.end(vectors)))  # (B, L, H)
        # One precision for all that follows, and for its backward pass, where autocast is off.
        with torch.autocast(starts.device.type, enabled=False):
            ends = ends.to(starts.dtype)
            form = {name: weight.to(starts.dtype) for name, weight in self.form.items()}
            place = rotary.positions(mask)  # (B, L)
            right = self._right(ends, place, form)  # (B, G, L, K)
            if self._rows_at_once(mask) < mask.shape[1]:
                return self._by_chunks(starts, right, form, mask, place)
            left, table = self._left(starts, place, form)
            scores = self._split(self._cells(left, right, table, place, place))
            pair = _pairs(mask, mask)  # (B, 1, L, L, 1)
            scores = torch.where(pair, scores, self.nothing.to(scores.dtype))
        return scores if self.matrices > 1 else scores.squeeze(1)

    def _rows_at_once(self, mask: Tensor) -> int:
        rows, length = mask.shape
        if self.chunk_size is None:
            return max(1, CHUNK // max(1, rows * length * self.classes * self.matrices))
        return self.chunk_size or length

    def _right(self, ends: Tensor, place: Tensor, form: Mapping[str, Tensor]) -> Tensor:
        """Return the right side of the product, (B, G, L, K): G groups of classes that share it."""
        if "weight" in form:
            right = self._turned(ends, place)  # (B, L, H)
            if form["weight"].shape[-1] > right.shape[-1]:  # with the terms linear in one view
                right = _with_one(right)
            return right.unsqueeze(1)  # (B, 1, L, K)
        right = torch.einsum("blh,hnr->bnlr", ends, form["right"])  # (B, N, L, R)
        if "right_bias" in form:
            right = right + form["right_bias"].unsqueeze(1)
        return self._turned(right, place.unsqueeze(1))

    def _left(self, starts: Tensor, place: Tensor, form: Mapping[str, Tensor]) -> _Left:
        """Return the left side (B, G, P, K) of some rows I, and their width scores (B, I, N, W).

        All classes that share a right side stand in one group: P is I * N, or I where G is N.
        """
        table = None
        if "widths" in form:
            table = torch.einsum("bih,hnw->binw", starts, form["width_weight"])
            table = (table + form["width_bias"]) @ form["widths"].T  # (B, I, N, BUCKETS)
        if "weight" in form:
            hidden = starts.shape[-1]
            given = starts if form["weight"].shape[0] == hidden else _with_one(starts)
            left = torch.einsum("bih,hnk->bink", given, form["weight"])
            if self.use_rotary:
                turned = self._turned(left[..., :hidden], place.unsqueeze(-1))
                left = torch.cat((turned, left[..., hidden:]), dim=-1)
            return _Left(left.flatten(1, 2).unsqueeze(1), table)  # (B, 1, I * N, K)
        left = torch.einsum("bih,hnr->bnir", starts, form["left"])  # (B, N, I, R)
        if "left_bias" in form:
            left = left + form["left_bias"].unsqueeze(1)
        return _Left(self._turned(left, place.unsqueeze(1)), table)

    def _turned(self, vectors: Tensor, place: Tensor) -> Tensor:
        if not self.use_rotary:
            return vectors
        return rotary.rotate(vectors, *rotary.angles(place, vectors.shape[-1]))

    def _cells(
        self, left: Tensor, right: Tensor, table: Tensor | None, at: Tensor, to: Tensor
    ) -> Tensor:
        """Return the scores (B, I, N, L) of rows at the places `at` (B, I) against all of `to`."""
        product = left @ right.mT  # (B, G, P, L)
        scores = self._by_row(product)  # (B, I, N, L)
        return scores if table is None else scores + table.gather(-1, self._buckets(at, to))

    def _by_row(self, product: Tensor) -> Tensor:
        """Return (B, G, P, L) as (B, I, N, L)."""
        if product.shape[1] > 1:
            return product.transpose(1, 2)
        (rows, _, _, length), count = product.shape, self.classes * self.matrices
        return product.view(rows, product.shape[2] // count, count, length)

    def _by_group(self, cells: Tensor, right: Tensor) -> Tensor:
        """Return (B, I, N, L) as (B, G, P, L), with the groups of `right` (B, G, L, K)."""
        if right.shape[1] > 1:
            return cells.transpose(1, 2)
        return cells.flatten(1, 2).unsqueeze(1)

    def _buckets(self, at: Tensor, to: Tensor) -> Tensor:
        """Return the bucket of each distance, (B, I, N, L) int64 in [0, BUCKETS)."""
        far = to.unsqueeze(1) - at.unsqueeze(2)  # (B, I, L)
        bucket = torch.bucketize(far.abs(), self.bounds, right=True)
        bucket = torch.where(far < 0, bucket + len(WIDTHS), bucket)
        return bucket.unsqueeze(2).expand(-1, -1, self.classes * self.matrices, -1)

    def _split(self, scores: Tensor) -> Tensor:
        """Return (B, I, N, L) as (B, M, I, L, C)."""
        rows, some, _, length = scores.shape
        split = scores.reshape(rows, some, self.matrices, self.classes, length)
        return split.permute(0, 2, 1, 4, 3)

    def _by_chunks(
        self,
        starts: Tensor,
        right: Tensor,
        form: Mapping[str, Tensor],
        mask: Tensor,
        place: Tensor,
    ) -> Tensor:
        names = [name for name in form if name not in ("right", "right_bias")]  # what `_left` reads
        weights = [form[name] for name in names]
        scores: Tensor = _Chunks.apply(self, names, mask, place, starts, right, *weights)
        return scores if self.matrices > 1 else scores.squeeze(1)


class _Left(NamedTuple):
    """The left side of the product (B, G, P, K), and the width scores (B, I, N, BUCKETS)."""

    side: Tensor
    table: Tensor | None


class _Chunks(torch.autograd.Function):
    """All scores (B, M, L, L, C), some rows at a time, in either direction.

    Plain autograd would hold the left side of all rows, and in the backward pass a masked and a
    transposed copy of the whole gradient beside the gradient itself.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's context takes attributes of any name
        scorer: Biaffine,
        names: list[str],
        mask: Tensor,
        place: Tensor,
        starts: Tensor,
        right: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        ctx.scorer, ctx.names = scorer, names
        ctx.save_for_backward(mask, place, starts, right, *weights)
        form = dict(zip(names, weights, strict=True))
        rows, length = mask.shape
        out = starts.new_empty(rows, scorer.matrices, length, length, scorer.classes)
        nothing = scorer.nothing.to(starts.dtype)
        step = scorer._rows_at_once(mask)
        for first in range(0, length, step):
            chunk = slice(first, first + step)
            left, table = scorer._left(starts[:, chunk], place[:, chunk], form)
            scores = scorer._split(scorer._cells(left, right, table, place[:, chunk], place))
            out[:, :, chunk] = torch.where(_pairs(mask[:, chunk], mask), scores, nothing)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # Any: as in forward
        mask, place, starts, right, *weights = ctx.saved_tensors
        scorer: Biaffine = ctx.scorer
        sums = [_zeros(tensor) for tensor in (starts, right, *weights)]
        of_starts, of_right, *of_weights = sums
        leaves = [weight.detach().requires_grad_() for weight in weights]
        form = dict(zip(ctx.names, leaves, strict=True))
        step = scorer._rows_at_once(mask)
        with torch.autocast(starts.device.type, enabled=False):
            for first in range(0, mask.shape[1], step):
                chunk = slice(first, first + step)
                at = place[:, chunk]
                with torch.enable_grad():
                    given = starts[:, chunk].detach().requires_grad_()
                    left, table = scorer._left(given, at, form)
                kept = torch.where(_pairs(mask[:, chunk], mask), grad[:, :, chunk], 0.0)
                cells = kept.permute(0, 2, 1, 4, 3).flatten(2, 3)  # (B, I, N, L)
                product = scorer._by_group(cells, right)  # (B, G, P, L)
                of_right += product.mT @ left.detach()
                made, of_made = [left], [product @ right]
                if table is not None:
                    buckets = scorer._buckets(at, place)
                    made.append(table)
                    of_made.append(torch.zeros_like(table).scatter_add_(-1, buckets, cells))
                found = torch.autograd.grad(made, [given, *leaves], of_made)
                of_starts[:, chunk] = found[0]
                for number, part in enumerate(found[1:]):
                    of_weights[number] += part
        back = [s.to(t.dtype) for s, t in zip(sums, (starts, right, *weights), strict=True)]
        return (None, None, None, None, *back)


def _full_form(hidden: int, scores: int, *, bias: bool) -> nn.ParameterDict:
    """Draw U_n, (H, N, H): its last row and column are v and u, and their corner b, with `bias`.

    Views of entries of size one give scores of size one: a sum of H * H terms of variance 1 / H².
    """
    weight = torch.randn(hidden + bias, scores, hidden + bias) / hidden
    if bias:
        weight[-1] *= hidden**0.5
        weight[..., -1] *= hidden**0.5
        weight[-1, :, -1] = 0.0
    return nn.ParameterDict({"weight": weight})


def _low_rank_form(hidden: int, scores: int, *, rank: int, bias: bool) -> nn.ParameterDict:
    """Draw A_n and B_n, (H, N, R) each, and a_n and b_n, (N, R), with `bias`; sizes as above."""
    form = nn.ParameterDict()
    for side in ("left", "right"):
        form[side] = _drawn(hidden, scores, rank) * rank**-0.25
        if bias:
            form[f"{side}_bias"] = torch.zeros(scores, rank)
    return form


def _drawn(hidden: int, *shape: int) -> Tensor:
    """Return (H, ...) of variance 1 / H, so that what it makes of H entries keeps their size."""
    return torch.randn(hidden, *shape) / math.sqrt(hidden)


def _with_one(vectors: Tensor) -> Tensor:
    """Return the vectors (..., D) with a one behind, (..., D + 1)."""
    return torch.cat((vectors, vectors.new_ones(*vectors.shape[:-1], 1)), dim=-1)


def _pairs(mask: Tensor, others: Tensor) -> Tensor:
    """Return which pairs are kept, (B, 1, I, L, 1), of masks (B, I) and (B, L)."""
    return (mask.unsqueeze(2) & others.unsqueeze(1))[:, None, :, :, None]


def _zeros(tensor: Tensor) -> Tensor:
    """Return zeros to add many parts to: in float32 at least, so that half precision keeps them."""
    return torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
