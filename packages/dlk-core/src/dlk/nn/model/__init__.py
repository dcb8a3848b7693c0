"""Models: what ties embedding, encoder and decoder together."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.model.base import Model
    from dlk.nn.model.basic import BasicModel

_HOME = {
    "BasicModel": "dlk.nn.model.basic",
    "Model": "dlk.nn.model.base",
}

__all__ = ["BasicModel", "Model"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
