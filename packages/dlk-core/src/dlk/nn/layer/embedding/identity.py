"""The embedding of batches that hold vectors already."""

from __future__ import annotations

from torch import Tensor

from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.registry import register


@register("embedding", "identity")
class IdentityEmbedding(Embedding):
    """Writes nothing: later parts read what the batch brought."""

    def forward(self, x: Batch) -> dict[str, Tensor]:  # takes any
        """Return nothing; `x` may hold anything."""
        return {}
