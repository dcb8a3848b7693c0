"""Init methods: the start values of a model's new weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.initmethod.base import InitMethod
    from dlk.nn.initmethod.default import DefaultInit
    from dlk.nn.initmethod.range_norm import RangeNormInit
    from dlk.nn.initmethod.range_uniform import RangeUniformInit

_HOME = {
    "DefaultInit": "dlk.nn.initmethod.default",
    "InitMethod": "dlk.nn.initmethod.base",
    "RangeNormInit": "dlk.nn.initmethod.range_norm",
    "RangeUniformInit": "dlk.nn.initmethod.range_uniform",
}

__all__ = ["DefaultInit", "InitMethod", "RangeNormInit", "RangeUniformInit"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
