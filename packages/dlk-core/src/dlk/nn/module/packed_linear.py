"""Linear layers whose weights are kept in the layout of oneDNN's fastest product, where it pays.

PyTorch sends float32 `nn.Linear` to MKL. On some CPUs (AMD's with AVX-512, above all) oneDNN with a
weight packed beforehand is two to four times as fast at four rows and more; on others it is no
faster. So each layer's shape is timed at several numbers of rows when a model is packed, and the
faster of both is used for each. The product that is used is that of PyTorch's own compiler, which
is no documented interface: where it is missing, or gives other numbers, all stays as it was.

`state_dict` and the parameters stay what they are; a packed weight is a copy beside them.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PackedLinear", "Packing", "pack"]

ROWS = (1, 4, 16, 64, 256)
"""Numbers of rows that are timed; the choice for one holds up to the next."""
GAIN = 1.05
"""How many times as fast the packed product must be to be used."""
CLOSE = 1e-5
"""How far its numbers may be from the others, by the size of the greatest."""

_Shape = tuple[int, int, bool]


@dataclass(frozen=True, slots=True)
class Packing:
    """What packing a model came to.

    Attributes:
        layers: linear layers that are packed.
        considered: linear layers that could have been.
        gains: by (inputs, outputs) and rows, how many times as fast the packed product was.
        reason: why none is packed; empty where some are.
    """

    layers: int
    considered: int
    gains: Mapping[tuple[int, int], Mapping[int, float]]
    reason: str = ""


class PackedLinear(nn.Linear):
    """A linear layer with a packed copy of its weight, used in inference from some rows on.

    The parameters are those of the layer it stands for. With gradients, in training, on another
    device, in another type, or once the weight was changed, it is that layer.
    """

    def __init__(self, linear: nn.Linear, faster: tuple[bool, ...]) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.training = linear.training
        self._faster = faster
        self._packed: Tensor | None = _packed(linear.weight)
        self._of = _state_of(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        rows = input.numel() // self.in_features if self.in_features else 0
        if rows and self._faster[bisect_right(ROWS, rows) - 1] and self._is_sound(input):
            assert self._packed is not None
            return _product(input, self._packed, self.bias)
        return functional.linear(input, self.weight, self.bias)

    def _is_sound(self, x: Tensor) -> bool:
        return (
            not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and x.dtype is torch.float32
            and x.device.type == "cpu"
            and x.shape[-1] == self.in_features  # else the plain layer says what is wrong
            and self._packed is not None
            and self._of == _state_of(self.weight)
            and not torch.compiler.is_compiling()
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the packed weight out, which cannot be copied: a copy is a plain linear layer."""
        return {**self.__dict__, "_packed": None}


def pack(model: nn.Module, *, always: bool = False) -> Packing:
    """Replace the linear layers of a model in evaluation mode where a packed weight is faster.

    A subclass of `nn.Linear` is left alone: it may do something else. The packed copies take as
    much memory again as the weights that they are of.

    Args:
        model: on the CPU, in float32.
        always: replace all of them, for all numbers of rows, whatever is faster.
    """
    fit = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype is torch.float32
    }
    if not fit:
        return Packing(0, 0, {}, "there is no linear layer in float32 on the CPU")
    if not is_supported():
        return Packing(0, len(fit), {}, "this PyTorch has no packed product")
    shapes: dict[_Shape, dict[int, float]] = {}
    for module in fit.values():
        shape = module.in_features, module.out_features, module.bias is not None
        if shape not in shapes:
            shapes[shape] = _gains(module)
    done: dict[nn.Linear, PackedLinear] = {}  # a layer that stands in two places stays one
    for name, module in fit.items():
        gains = shapes[module.in_features, module.out_features, module.bias is not None]
        faster = tuple(gains[rows] > (0 if always else GAIN) for rows in ROWS)
        if not any(faster):
            continue
        parent, _, own = name.rpartition(".")
        if own:  # a model that is a linear layer itself has nobody to hold another
            if module not in done:
                done[module] = PackedLinear(module, faster)
            setattr(model.get_submodule(parent), own, done[module])
    by_size = {(inputs, outputs): gains for (inputs, outputs, _), gains in shapes.items()}
    reason = "" if done else "it is not faster here for any layer"
    return Packing(len(done), len({*fit.values()}), by_size, reason)


def is_supported() -> bool:
    """Return whether the packed product is there, and gives the numbers of the other."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 48, generator=generator)
    x, bias = torch.randn(5, 48, generator=generator), torch.randn(32, generator=generator)
    try:
        with torch.inference_mode():
            found = _product(x, _packed(weight), bias)
    except (AttributeError, RuntimeError, NotImplementedError):  # other versions, other builds
        return False
    return _are_close(found, functional.linear(x, weight, bias))


def _state_of(weight: Tensor) -> tuple[int, int]:
    """Return what changes when a weight is moved or written to, as far as PyTorch counts that."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


def _packed(weight: Tensor) -> Tensor:
    with torch.inference_mode():
        made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return made


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return made


def _are_close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    bound = CLOSE * max(1.0, float(other.abs().max()))
    return bool((one - other).abs().max() <= bound)  # false for NaN


def _gains(module: nn.Linear) -> dict[int, float]:
    """Return, by rows, how many times as fast the packed product is; 0 where its numbers differ."""
    packed = _packed(module.weight)
    gains: dict[int, float] = {}
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for rows in ROWS:
            x = torch.randn(rows, module.in_features, generator=generator)

            def plain(x: Tensor = x) -> Tensor:
                return functional.linear(x, module.weight, module.bias)

            def other(x: Tensor = x) -> Tensor:
                return _product(x, packed, module.bias)

            gains[rows] = _ratio(plain, other) if _are_close(other(), plain()) else 0.0
    return gains


def _ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Return how many times as long `one` takes: the fastest of some turns, taken by turns."""
    best = [float("inf"), float("inf")]
    start = time.perf_counter()
    turns = 0
    while turns < 5 or (turns < 40 and time.perf_counter() - start < 0.01):
        for place, call in enumerate((one, other)):
            before = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - before)
        turns += 1
    return best[0] / best[1]
