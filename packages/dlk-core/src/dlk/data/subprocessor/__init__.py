"""Subprocessors.

The steps of a processor. Names come from `dlk.data.subprocessor.base` when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.subprocessor.base import (
        Columns,
        CountingSubprocessor,
        Subprocessor,
        TransformContext,
    )

__all__ = ["Columns", "CountingSubprocessor", "Subprocessor", "TransformContext"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.data.subprocessor.base": (
            "Columns",
            "CountingSubprocessor",
            "Subprocessor",
            "TransformContext",
        )
    },
)
