"""Where the chains of a CRF lie in a batch, for any mask, and in which order a scan visits them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chains:
    """N kept positions in S chains, longest L.

    Kept positions are numbered as they stand, row after row; a chain is a run of them. Positions
    that are not kept do not exist here, so holes and padding anywhere in a mask are alike.

    Attributes:
        shape: (B, T) of the batch.
        position: (N,) int64, places of the kept ones in the flattened batch; None: all are kept.
        chain: (N,) int64, the chain of each.
        first: (S,) int64, number of the first position of each chain.
        length: (S,) int64.
        row: (S,) int64, the row of each chain.
        sizes: how many chains have more than t positions, for each t < L; on the host.
    """

    shape: tuple[int, int]
    position: Tensor | None
    chain: Tensor
    first: Tensor
    length: Tensor
    row: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, mask: Tensor | None, shape: tuple[int, int], device: torch.device) -> Chains:
        """Return one chain for each row that keeps anything.

        Args:
            mask: (B, T) bool, true where kept; None: everywhere.
            shape: (B, T).
            device: where the chains are wanted.
        """
        batch, time = shape
        if mask is None or bool(mask.all()):
            rows = torch.arange(batch if time else 0, device=device)
            return cls(
                shape=shape,
                position=None,
                chain=rows.repeat_interleave(time) if time else rows,
                first=rows * time,
                length=torch.full_like(rows, time),
                row=rows,
                sizes=[batch] * time if batch else [],
            )
        position = mask.flatten().nonzero().squeeze(1)  # (N,)
        row = position.div(time, rounding_mode="floor")
        begins = torch.ones_like(row, dtype=torch.bool)
        torch.ne(row[1:], row[:-1], out=begins[1:])
        return cls._cut(shape, position, row, begins)

    def cut_at(self, begins: Tensor) -> Chains:
        """Return these chains, cut such that further ones begin.

        Args:
            begins: (N,) bool, true where a chain begins; true at `first`, too.
        """
        return self._cut(self.shape, self.position, self.row.index_select(0, self.chain), begins)

    @classmethod
    def _cut(
        cls, shape: tuple[int, int], position: Tensor | None, row: Tensor, begins: Tensor
    ) -> Chains:
        first = begins.nonzero().squeeze(1)  # (S,)
        chain = begins.cumsum(0) - 1  # (N,)
        length = torch.diff(first, append=first.new_tensor([len(begins)]))
        depth = torch.arange(len(begins), device=first.device) - first.index_select(0, chain)
        return cls(
            shape=shape,
            position=position,
            chain=chain,
            first=first,
            length=length,
            row=row.index_select(0, first),
            sizes=torch.bincount(depth).tolist(),
        )

    @property
    def last(self) -> Tensor:
        """Numbers (S,) of the last positions."""
        return self.first + self.length - 1

    @property
    def begins(self) -> Tensor:
        """Where a chain begins, (N,) bool."""
        found = torch.zeros_like(self.chain, dtype=torch.bool)
        return found.index_fill_(0, self.first, True)

    @cached_property
    def order(self) -> Tensor:
        """The chains (S,) from the longest to the shortest, so that those left stand together."""
        return self.length.argsort(descending=True, stable=True)

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Steps in which as many chains go on, as (chains, steps), in order."""
        return [(size, len(list(steps))) for size, steps in groupby(self.sizes)]

    @cached_property
    def slots(self) -> tuple[Tensor, Tensor]:
        """Rows of a scan's buffer, 2 x (N,): for reading chains forward, and for reading backward.

        Step t fills ``2 * sizes[t]`` rows: the chains read forward, in `order`, and then the same
        chains read backward, so that one batched product takes both a step on.
        """
        rank, depth = self._cell
        sizes = torch.tensor(self.sizes, device=rank.device)
        start = 2 * (sizes.cumsum(0) - sizes)  # (L,)
        height = (self.length - 1).index_select(0, self.chain) - depth
        forward = start.index_select(0, depth) + rank
        backward = (start + sizes).index_select(0, height) + rank
        return forward, backward

    @property
    def grid(self) -> Tensor:
        """Places (N,) of the positions in a flattened (L, S), chains in `order`."""
        rank, depth = self._cell
        return depth * len(self.order) + rank

    @cached_property
    def _cell(self) -> tuple[Tensor, Tensor]:
        """Each position's chain's place in `order`, and its own place in the chain, 2 x (N,)."""
        rank = torch.empty_like(self.order)
        rank[self.order] = torch.arange(len(rank), device=rank.device)
        number = torch.arange(len(self.chain), device=rank.device)
        depth = number - self.first.index_select(0, self.chain)
        return rank.index_select(0, self.chain), depth

    def gather(self, values: Tensor) -> Tensor:
        """Return the kept of `values` (B, T, …) as (N, …)."""
        flat = values.reshape(-1, *values.shape[2:])
        return flat if self.position is None else flat.index_select(0, self.position)

    def scatter(self, values: Tensor, fill: float) -> Tensor:
        """Return `values` (N, …) at their places in (B, T, …), and `fill` elsewhere."""
        batch, time = self.shape
        if self.position is None:
            return values.reshape(batch, time, *values.shape[1:])
        flat = values.new_full((batch * time, *values.shape[1:]), fill)
        return flat.index_copy_(0, self.position, values).view(batch, time, *values.shape[1:])

    def over_time(self) -> Tensor:
        """Numbers (L, S) of the positions, chains in `order`; behind an end its last again."""
        steps = torch.arange(len(self.sizes), device=self.first.device).unsqueeze(1)
        first = self.first.index_select(0, self.order)
        return torch.minimum(first + steps, self.last.index_select(0, self.order))

    def only(self, which: Tensor) -> tuple[Chains, Tensor]:
        """Return the chains `which` (S,) bool alone, and their positions' numbers (n,) here."""
        number = which.index_select(0, self.chain).nonzero().squeeze(1)
        begins = self.begins.index_select(0, number)
        row = self.row.index_select(0, self.chain.index_select(0, number))
        return self._cut(self.shape, number, row, begins), number
