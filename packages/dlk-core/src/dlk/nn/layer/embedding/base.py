"""Embeddings: what turns a batch's ids (or pixels, or anything) into vectors."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from dlk.nn.base import Batch, Module


class Embedding(Module):
    """Base of embeddings.

    Writes `embedding` (B, T, D) float and `embedding_mask` (B, T) bool, true where a position holds
    something. What is written may be perturbed (adversarial training adds to it), so it is never
    detached from what is computed of it.
    """

    @abstractmethod
    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return `embedding` and `embedding_mask`, under the names that `output_map` gives them."""
