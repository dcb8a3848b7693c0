"""Data modules: processed splits to batches.

Names come from `dlk.data.datamodule.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.datamodule.base import DataModule

__all__ = ["DataModule"]

__getattr__ = lazy(__name__, {"dlk.data.datamodule.base": ("DataModule",)})
