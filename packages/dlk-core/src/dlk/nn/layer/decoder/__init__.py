"""Decoders: what turns vectors into a task's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.layer.decoder.base import Decoder
    from dlk.nn.layer.decoder.identity import IdentityDecoder
    from dlk.nn.layer.decoder.linear import LinearDecoder
    from dlk.nn.layer.decoder.multi_decoder import MultiDecoder
    from dlk.nn.layer.decoder.regression import RegressionDecoder

__all__ = ["Decoder", "IdentityDecoder", "LinearDecoder", "MultiDecoder", "RegressionDecoder"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.layer.decoder.base": ("Decoder",),
        "dlk.nn.layer.decoder.identity": ("IdentityDecoder",),
        "dlk.nn.layer.decoder.linear": ("LinearDecoder",),
        "dlk.nn.layer.decoder.multi_decoder": ("MultiDecoder",),
        "dlk.nn.layer.decoder.regression": ("RegressionDecoder",),
    },
)
