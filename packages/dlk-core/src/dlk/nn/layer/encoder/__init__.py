"""Encoders: what reads vectors in context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.layer.encoder.base import Encoder
    from dlk.nn.layer.encoder.identity import IdentityEncoder
    from dlk.nn.layer.encoder.linear import LinearEncoder
    from dlk.nn.layer.encoder.lstm import LSTMEncoder
    from dlk.nn.layer.encoder.transformer import TransformerEncoder

__all__ = ["Encoder", "IdentityEncoder", "LSTMEncoder", "LinearEncoder", "TransformerEncoder"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.layer.encoder.base": ("Encoder",),
        "dlk.nn.layer.encoder.identity": ("IdentityEncoder",),
        "dlk.nn.layer.encoder.linear": ("LinearEncoder",),
        "dlk.nn.layer.encoder.lstm": ("LSTMEncoder",),
        "dlk.nn.layer.encoder.transformer": ("TransformerEncoder",),
    },
)
