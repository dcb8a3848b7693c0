"""Networks: embeddings, encoders, decoders, models, their start values and their losses.

Importing this package loads nothing heavy: its names come from `dlk.nn.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.base import Batch, Module, chain, merge

__all__ = ["Batch", "Module", "chain", "merge"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.nn import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
