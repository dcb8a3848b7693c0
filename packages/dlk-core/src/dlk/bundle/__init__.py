"""Bundles: the self-contained folder that a run leaves, to predict and serve with anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlk.bundle.read import Bundle

__all__ = ["Bundle"]


def __getattr__(name: str) -> Any:
    if name == "Bundle":
        from dlk.bundle.read import Bundle

        return Bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
