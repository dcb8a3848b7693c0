"""Files of other tools as rows. Importing this package loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.reader.base import Reader
    from dlk.data.reader.configs import ReaderConfig

__all__ = ["Reader", "ReaderConfig"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.data.reader.base": ("Reader",),
        "dlk.data.reader.configs": ("ReaderConfig",),
    },
)
