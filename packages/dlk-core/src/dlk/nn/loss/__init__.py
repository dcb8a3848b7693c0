"""Losses: what a model is trained to make small."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.loss.base import Loss, LossOut
    from dlk.nn.loss.bce import BCELoss
    from dlk.nn.loss.cross_entropy import CrossEntropyLoss
    from dlk.nn.loss.focal import FocalLoss
    from dlk.nn.loss.identity import IdentityLoss
    from dlk.nn.loss.mse import MSELoss
    from dlk.nn.loss.multi_loss import MultiLoss

_HOME = {
    "BCELoss": "dlk.nn.loss.bce",
    "CrossEntropyLoss": "dlk.nn.loss.cross_entropy",
    "FocalLoss": "dlk.nn.loss.focal",
    "IdentityLoss": "dlk.nn.loss.identity",
    "Loss": "dlk.nn.loss.base",
    "LossOut": "dlk.nn.loss.base",
    "MSELoss": "dlk.nn.loss.mse",
    "MultiLoss": "dlk.nn.loss.multi_loss",
}

__all__ = [
    "BCELoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "IdentityLoss",
    "Loss",
    "LossOut",
    "MSELoss",
    "MultiLoss",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
