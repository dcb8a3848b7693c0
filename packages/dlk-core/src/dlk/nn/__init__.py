"""Networks: embeddings, encoders, decoders, models, their start values and their losses.

Importing this package loads nothing heavy: its names come from `dlk.nn.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.base import Batch, Module, chain, merge

__all__ = ["Batch", "Module", "chain", "merge"]

__getattr__ = lazy(__name__, {"dlk.nn.base": ("Batch", "Module", "chain", "merge")})
