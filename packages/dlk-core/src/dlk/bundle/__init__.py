"""Bundles: the self-contained folder that a run leaves, to predict and serve with anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.bundle.read import Bundle

__all__ = ["Bundle"]

__getattr__ = lazy(__name__, {"dlk.bundle.read": ("Bundle",)})
