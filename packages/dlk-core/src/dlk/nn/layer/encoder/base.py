"""Encoders: what reads vectors in context."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from dlk.nn.base import Batch, Module


class Encoder(Module):
    """Base of encoders.

    Reads `embedding` (B, T, D) and, where neighbours matter, `embedding_mask` (B, T) bool; writes
    `embedding` (B, T, D'). What stands at positions that are not kept must change nothing else.
    """

    @abstractmethod
    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return `embedding`, under the name that `output_map` gives it."""
