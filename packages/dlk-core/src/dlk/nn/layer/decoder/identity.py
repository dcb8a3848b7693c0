"""The decoder that does nothing."""

from __future__ import annotations

from torch import Tensor

from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register


@register("decoder", "identity")
class IdentityDecoder(Decoder):
    """Writes nothing: what was written so far is the model's output."""

    def forward(self, x: Batch) -> dict[str, Tensor]:  # takes any
        """Return nothing; `x` may hold anything."""
        return {}
