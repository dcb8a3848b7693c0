"""Subprocessors.

The steps of a processor. Names come from `dlk.data.subprocessor.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext

__all__ = ["Columns", "Subprocessor", "TransformContext"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.data.subprocessor import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
