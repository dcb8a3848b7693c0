"""Data modules: processed splits to batches.

Names come from `dlk.data.datamodule.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.datamodule.base import DataModule

__all__ = ["DataModule"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.data.datamodule import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
