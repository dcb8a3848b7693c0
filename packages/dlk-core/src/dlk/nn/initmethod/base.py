"""Init methods: the start values of a model's new weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

if TYPE_CHECKING:
    from dlk.config import Base

_AFFINE_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _NormBase)
_CONVOLUTIONS = nn.modules.conv._ConvNd


class InitMethod(ABC):
    """Base of init methods: a method says how weights are drawn, the rest is the same for all.

    Biases start at zero and norms at the identity, except an LSTM's forget bias, whose two parts
    sum to 1 (Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network
    Architectures", §2.2). An embedding's padding row stays zero. Layers of kinds not named here
    keep the values they were built with.
    """

    def __init__(self, config: Base) -> None:
        self.config = config

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> None:
        """Set the start values of all layers that keep no values of their own, each once."""
        for layer in _new_layers(model):
            if isinstance(layer, _AFFINE_NORMS):
                _start_norm(layer)
            elif isinstance(layer, nn.RNNBase):
                self._start_recurrent(layer)
            elif isinstance(layer, nn.Embedding):
                self.embedding(layer.weight)
                if layer.padding_idx is not None:
                    layer.weight[layer.padding_idx] = 0.0
            elif isinstance(layer, nn.Linear):
                self.linear(layer.weight)
                _zero(layer.bias)
            elif isinstance(layer, _CONVOLUTIONS):
                self.convolution(layer.weight)
                _zero(layer.bias)

    @abstractmethod
    def linear(self, weight: Tensor) -> None:
        """Draw a linear layer's weight (out, in) in place."""

    @abstractmethod
    def embedding(self, weight: Tensor) -> None:
        """Draw a table of vectors (V, D) in place."""

    @abstractmethod
    def convolution(self, weight: Tensor) -> None:
        """Draw a convolution's weight (out, in / groups, *kernel) in place."""

    @abstractmethod
    def recurrent(self, weight: Tensor) -> None:
        """Draw one gate's weight over the previous state (H, H) in place."""

    def _start_recurrent(self, layer: nn.RNNBase) -> None:
        gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
        for name, parameter in layer.named_parameters(recurse=False):
            if name.startswith("bias"):
                parameter.zero_()
                if layer.mode == "LSTM" and name.startswith("bias_ih"):
                    parameter.chunk(gates)[1].fill_(
                        1.0
                    )  # gates stand as input, forget, cell, output
                continue
            draw = self.recurrent if name.startswith("weight_hh") else self.linear
            for gate in parameter.chunk(gates) if name[:9] != "weight_hr" else (parameter,):
                draw(gate)


def _new_layers(module: nn.Module, seen: set[int] | None = None) -> Iterator[nn.Module]:
    """Yield modules below `module`, each once, leaving out what keeps its own start values."""
    seen = set() if seen is None else seen
    if id(module) in seen or getattr(module, "keeps_own_init", False):
        return
    seen.add(id(module))
    yield module
    for part in module.children():
        yield from _new_layers(part, seen)


def _start_norm(layer: nn.Module) -> None:
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if weight is not None:
        weight.fill_(1.0)
    _zero(bias)


def _zero(bias: Tensor | None) -> None:
    if bias is not None:
        bias.zero_()
