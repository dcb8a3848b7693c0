"""Batches for the checks: watched, cut, padded, and compared where something is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Watched(Mapping[str, Tensor]):
    """A read-only batch that notes which names are read."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        self.read.add(name)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def along_time(batch: Mapping[str, Tensor], mask: str) -> set[str]:
    """Return the names of tensors whose axis 1 is that of the mask."""
    width = batch[mask].shape[1]
    return {name for name, tensor in batch.items() if tensor.ndim > 1 and tensor.shape[1] == width}


def padded(
    batch: Mapping[str, Tensor], mask: str, by: int, fill: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return the batch with more padding behind: false in masks, noise in float tensors.

    Args:
        batch: named tensors (B, …).
        mask: name of the (B, T) bool mask that says which axis is time.
        by: positions added.
        fill: value of padding in integer tensors, by name; 0 where none is given.
    """
    times = along_time(batch, mask)
    noise = torch.Generator().manual_seed(7)
    out = dict(batch)
    for name in times:
        tensor = batch[name]
        more = (tensor.shape[0], by, *tensor.shape[2:])
        if tensor.is_floating_point():
            tail = torch.randn(more, generator=noise).to(tensor.dtype) * 3
        else:
            tail = torch.full(more, fill.get(name, 0)).to(tensor.dtype)
        out[name] = torch.cat([tensor, tail], dim=1)
    return out


def alone(batch: Mapping[str, Tensor], mask: str, row: int) -> dict[str, Tensor]:
    """Return one row as a batch of its own, cut behind its last kept position."""
    times = along_time(batch, mask)
    kept = batch[mask][row].nonzero()
    end = int(kept.max()) + 1 if len(kept) else 1
    return {
        name: tensor[row : row + 1, :end] if name in times else tensor[row : row + 1]
        for name, tensor in batch.items()
    }


def difference(small: Tensor, large: Tensor, kept: Tensor) -> float:
    """Return the largest difference of two outputs of the same rows, where they are kept.

    Args:
        small: output (B, …) of the batch with less padding.
        large: output of the batch with more; an axis that is longer here is a time axis.
        kept: (B, T) bool, T of the smaller batch.
    """
    if small.ndim != large.ndim:
        return float("inf")
    counts = torch.ones(small.shape, dtype=torch.bool)
    for axis, (length, longer) in enumerate(zip(small.shape, large.shape, strict=True)):
        if axis > 0 and length == kept.shape[1] and longer >= length:
            large = large.narrow(axis, 0, length)
            shape = [small.shape[0], *([1] * (small.ndim - 1))]
            shape[axis] = length
            counts = counts & kept.view(shape)
    if small.shape != large.shape:
        return float("inf")
    gap = (small.double() - large.double()).abs()[counts]
    return float(gap.max()) if gap.numel() else 0.0
