"""Decoders: what turns vectors into a task's outputs."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from dlk.nn.base import Batch, Module


class Decoder(Module):
    """Base of decoders.

    Reads `embedding` (B, T, D) and `embedding_mask` (B, T) bool, writes what the loss and the
    postprocessor read, `logits` as a rule. `forward` must run without targets; what only
    prediction needs (a best path) belongs into `predict`.
    """

    @abstractmethod
    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return the task's outputs, under the names that `output_map` gives them."""
