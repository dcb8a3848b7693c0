"""Several decoders on the same vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from dlk.nn.base import Batch, Module, chain
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nn.layer.decoder.configs import MultiDecoderConfig


@register("decoder", "multi_decoder")
class MultiDecoder(Decoder):
    """Runs its decoders in the order of the config, in `forward` and in `predict` alike.

    Each sees the batch and all that was written before it. No two write one name (the config sees
    to it), so none can hide what another found.
    """

    def __init__(self, config: MultiDecoderConfig, setup: Setup) -> None:
        super().__init__(config)
        self.decoders = nn.ModuleDict(register.build_children(config, "decoder", setup))

    @property
    def writes(self) -> frozenset[str]:
        """What the decoders declare, so may replace in a batch."""
        return frozenset[str]().union(*(part.writes for part in self._parts()))

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return all that the decoders write; see each for what it reads."""
        return chain(self._parts(), x)

    def predict(self, x: Batch) -> dict[str, Tensor]:
        """Return what the decoders' `predict` adds; `x` holds what `forward` wrote."""
        return chain(self._parts(), x, call="predict")

    def _parts(self) -> Iterable[Module]:
        return cast(Iterable[Module], self.decoders.values())
