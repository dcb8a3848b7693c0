"""The encoder that does nothing."""

from __future__ import annotations

from torch import Tensor

from dlk.nn.base import Batch
from dlk.nn.layer.encoder.base import Encoder
from dlk.registry import register


@register("encoder", "identity")
class IdentityEncoder(Encoder):
    """Writes nothing: the embedding's vectors go to the decoder as they are."""

    def forward(self, x: Batch) -> dict[str, Tensor]:  # takes any
        """Return nothing; `x` may hold anything."""
        return {}
