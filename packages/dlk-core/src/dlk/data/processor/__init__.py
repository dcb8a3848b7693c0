"""Processors: raw data to processed data.

Names come from `dlk.data.processor.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.processor.base import Online, Processor, Report

__all__ = ["Online", "Processor", "Report"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.data.processor import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
