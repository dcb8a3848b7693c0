"""Collates: rows to tensors. Names come from `dlk.data.data_collate.base` when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.data_collate.base import DataCollate

__all__ = ["DataCollate"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.data.data_collate import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
