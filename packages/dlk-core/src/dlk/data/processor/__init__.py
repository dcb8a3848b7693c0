"""Processors: raw data to processed data.

Names come from `dlk.data.processor.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.processor.base import Online, Processor, Report

__all__ = ["Online", "Processor", "Report"]

__getattr__ = lazy(__name__, {"dlk.data.processor.base": ("Online", "Processor", "Report")})
