"""Embedding, encoder and decoder, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dlk.nn.base import Batch, chain
from dlk.nn.model.base import Model
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nn.model.configs import BasicModelConfig


@register("model", "basic")
class BasicModel(Model):
    """A chain of three parts over one batch.

    New weights get their start values from the init method, once; parts that say
    `keeps_own_init` are left alone. Where the weights come from a checkpoint, none are drawn.
    """

    def __init__(self, config: BasicModelConfig, setup: Setup) -> None:
        super().__init__(config)
        self.embedding = register.build_child(config, "embedding", setup)
        self.encoder = register.build_child(config, "encoder", setup)
        self.decoder = register.build_child(config, "decoder", setup)
        if setup.pretrained:
            register.build_child(config, "initmethod", setup)(self)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Return all that embedding, encoder and decoder write; later writers on top."""
        return chain((self.embedding, self.encoder, self.decoder), x)

    def predict(self, x: Batch) -> dict[str, Tensor]:
        """Return what the parts' `predict` adds; `x` holds what `forward` wrote."""
        return chain((self.embedding, self.encoder, self.decoder), x, call="predict")
