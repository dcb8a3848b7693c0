"""Encoders: what reads vectors in context."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.layer.encoder.base import Encoder
    from dlk.nn.layer.encoder.identity import IdentityEncoder
    from dlk.nn.layer.encoder.linear import LinearEncoder
    from dlk.nn.layer.encoder.lstm import LSTMEncoder

_HOME = {
    "Encoder": "dlk.nn.layer.encoder.base",
    "IdentityEncoder": "dlk.nn.layer.encoder.identity",
    "LSTMEncoder": "dlk.nn.layer.encoder.lstm",
    "LinearEncoder": "dlk.nn.layer.encoder.linear",
}

__all__ = ["Encoder", "IdentityEncoder", "LSTMEncoder", "LinearEncoder"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
