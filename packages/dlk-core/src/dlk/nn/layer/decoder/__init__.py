"""Decoders: what turns vectors into a task's outputs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.layer.decoder.base import Decoder
    from dlk.nn.layer.decoder.identity import IdentityDecoder
    from dlk.nn.layer.decoder.linear import LinearDecoder

_HOME = {
    "Decoder": "dlk.nn.layer.decoder.base",
    "IdentityDecoder": "dlk.nn.layer.decoder.identity",
    "LinearDecoder": "dlk.nn.layer.decoder.linear",
}

__all__ = ["Decoder", "IdentityDecoder", "LinearDecoder"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
