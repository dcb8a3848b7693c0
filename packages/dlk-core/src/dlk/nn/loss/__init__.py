"""Losses: what a model is trained to make small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.loss.base import Loss, LossOut
    from dlk.nn.loss.bce import BCELoss
    from dlk.nn.loss.cross_entropy import CrossEntropyLoss
    from dlk.nn.loss.focal import FocalLoss
    from dlk.nn.loss.identity import IdentityLoss
    from dlk.nn.loss.info_nce import InfoNCELoss
    from dlk.nn.loss.mse import MSELoss
    from dlk.nn.loss.multi_loss import MultiLoss

__all__ = [
    "BCELoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "IdentityLoss",
    "InfoNCELoss",
    "Loss",
    "LossOut",
    "MSELoss",
    "MultiLoss",
]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.loss.base": ("Loss", "LossOut"),
        "dlk.nn.loss.bce": ("BCELoss",),
        "dlk.nn.loss.cross_entropy": ("CrossEntropyLoss",),
        "dlk.nn.loss.focal": ("FocalLoss",),
        "dlk.nn.loss.identity": ("IdentityLoss",),
        "dlk.nn.loss.info_nce": ("InfoNCELoss",),
        "dlk.nn.loss.mse": ("MSELoss",),
        "dlk.nn.loss.multi_loss": ("MultiLoss",),
    },
)
