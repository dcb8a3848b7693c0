"""Models: what ties embedding, encoder and decoder together."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from dlk.nn.base import Batch, Module


class Model(Module):
    """Base of models: a batch in, all that is computed of it out.

    `forward` always runs and needs no target; `predict` runs after it, on the batch merged with
    its result, in evaluation and prediction.
    """

    @property
    def writes(self) -> frozenset[str]:
        """What the model's own map and its parts declare, so may replace in a batch."""
        parts = [module for module in self.children() if isinstance(module, Module)]
        return super().writes.union(*(part.writes for part in parts))

    @abstractmethod
    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return all that the parts write."""
