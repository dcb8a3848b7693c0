"""What is trained: model, loss, postprocessor, optimizer and scheduler as one Lightning module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlk.imodel.base import IModel
    from dlk.imodel.default import DefaultIModel

__all__ = ["DefaultIModel", "IModel"]


def __getattr__(name: str) -> Any:
    if name == "IModel":
        from dlk.imodel.base import IModel

        return IModel
    if name == "DefaultIModel":
        from dlk.imodel.default import DefaultIModel

        return DefaultIModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
