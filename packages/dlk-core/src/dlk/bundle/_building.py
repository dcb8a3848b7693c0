"""Building a model whose weights are there already, from a config that may not be believed.

While it is built, no time is spent on random start values, and nothing much larger than its weights
can be asked for: a ``hidden_size`` of 10^9 is refused before memory is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dlk.errors import BundleError

__all__ = ["Building"]

# Beyond its weights a model may make tables, masks and copies for a while.
_FREE_NUMBERS = 1 << 27
_FREE_TENSORS = 100_000
_TIMES = 8

_BY_SHAPE = ("empty", "zeros", "ones", "rand", "randn", "empty_strided")
_METHODS = ("new_empty", "new_zeros", "new_ones")
# By name: methods of Tensor, functions of torch.nn.init, and what transformers puts in their place.
_START_VALUES = frozenset(
    [
        *("normal_", "uniform_", "log_normal_", "cauchy_", "exponential_", "bernoulli_"),
        *("trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_"),
        *("kaiming_normal_", "orthogonal_", "sparse_"),
    ]
)


class Building(TorchFunctionMode):
    """Bounds what is made, and leaves random start values out, in this thread.

    Args:
        tensors: how many the weights are.
        numbers: how many numbers are in them.
    """

    def __init__(self, *, tensors: int, numbers: int) -> None:
        super().__init__()
        self._tensors = _TIMES * tensors + _FREE_TENSORS
        self._numbers = _TIMES * numbers + _FREE_NUMBERS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # Any: torch's own protocol
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _START_VALUES:
            tensor = args[0] if args else kwargs["tensor"]
            with torch.no_grad():
                tensor.zero_()
            return tensor
        size = _SIZES.get(func)
        if size is not None:
            self._count(size(args, kwargs))
        return func(*args, **kwargs)

    def _count(self, numbers: int) -> None:
        self._tensors -= 1
        self._numbers -= numbers
        if self._tensors < 0 or self._numbers < 0:
            raise BundleError(
                "its config asks for a model that is far larger than the weights in the bundle"
            )


def _shape(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    given = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
    if isinstance(given, int):
        return abs(given)
    return math.prod(abs(each) for each in given if isinstance(each, int))


def _square(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    rows = int(args[0] if args else kwargs.get("n", 0))
    return abs(rows * int(kwargs.get("m", args[1] if len(args) > 1 else rows)))


def _own_shape(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    return _shape(args[1:], kwargs)


def _repeated(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    return int(args[0].numel()) * _shape(args[1:], kwargs)


def _range(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    numbers = [each for each in args if isinstance(each, int | float)]
    low, high = (numbers[0], numbers[1]) if len(numbers) > 1 else (0, numbers[0] if numbers else 0)
    step = abs(numbers[2]) if len(numbers) > 2 and numbers[2] else kwargs.get("step", 1) or 1
    return int(abs(high - low) / abs(step))


def _last_shape(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Of ``full(size, value)`` and ``randint(low, high, size)``: the first tuple or list."""
    found = next((each for each in args if isinstance(each, tuple | list)), kwargs.get("size", ()))
    return _shape((found,), {})


_SIZES: Mapping[Any, Callable[[tuple[Any, ...], Mapping[str, Any]], int]] = {
    **{getattr(torch, name): _shape for name in _BY_SHAPE},
    **{getattr(torch.Tensor, name): _own_shape for name in _METHODS},
    torch.Tensor.repeat: _repeated,
    torch.Tensor.new_full: _last_shape,
    torch.full: _last_shape,
    torch.randint: _last_shape,
    torch.arange: _range,
    torch.linspace: lambda args, kwargs: int(kwargs.get("steps", args[2] if len(args) > 2 else 0)),
    torch.randperm: _shape,
    torch.eye: _square,
}
