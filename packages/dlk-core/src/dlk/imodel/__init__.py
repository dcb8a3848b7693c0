"""What is trained: model, loss, postprocessor, optimizer and scheduler as one Lightning module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.imodel.base import IModel
    from dlk.imodel.default import DefaultIModel

__all__ = ["DefaultIModel", "IModel"]

__getattr__ = lazy(
    __name__, {"dlk.imodel.base": ("IModel",), "dlk.imodel.default": ("DefaultIModel",)}
)
