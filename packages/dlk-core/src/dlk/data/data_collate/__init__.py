"""Collates: rows to tensors. Names come from `dlk.data.data_collate.base` when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.data_collate.base import DataCollate

__all__ = ["DataCollate"]

__getattr__ = lazy(__name__, {"dlk.data.data_collate.base": ("DataCollate",)})
