"""Pictures of predictions. Importing this package loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.display.base import Display, Rendered
    from dlk.display.configs import DisplayConfig

__all__ = ["Display", "DisplayConfig", "Rendered"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.display.base": ("Display", "Rendered"),
        "dlk.display.configs": ("DisplayConfig",),
    },
)
