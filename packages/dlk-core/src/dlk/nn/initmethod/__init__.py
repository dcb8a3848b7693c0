"""Init methods: the start values of a model's new weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.initmethod.base import InitMethod
    from dlk.nn.initmethod.default import DefaultInit
    from dlk.nn.initmethod.range_norm import RangeNormInit
    from dlk.nn.initmethod.range_uniform import RangeUniformInit

__all__ = ["DefaultInit", "InitMethod", "RangeNormInit", "RangeUniformInit"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.initmethod.base": ("InitMethod",),
        "dlk.nn.initmethod.default": ("DefaultInit",),
        "dlk.nn.initmethod.range_norm": ("RangeNormInit",),
        "dlk.nn.initmethod.range_uniform": ("RangeUniformInit",),
    },
)
