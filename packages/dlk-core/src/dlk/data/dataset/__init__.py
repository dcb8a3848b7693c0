"""Datasets: records by number. Names come from `dlk.data.dataset.base` when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.dataset.base import Dataset, Items

__all__ = ["Dataset", "Items"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.data.dataset import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
