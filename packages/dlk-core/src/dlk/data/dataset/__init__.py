"""Datasets: records by number. Names come from `dlk.data.dataset.base` when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.dataset.base import Dataset, Items

__all__ = ["Dataset", "Items"]

__getattr__ = lazy(__name__, {"dlk.data.dataset.base": ("Dataset", "Items")})
