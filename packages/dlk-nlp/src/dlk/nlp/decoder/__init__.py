"""Decoders of text tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.decoder.biaffine import BiaffineDecoder
    from dlk.nlp.decoder.linear_crf import LinearCrfDecoder

__all__ = ["BiaffineDecoder", "LinearCrfDecoder"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nlp.decoder.biaffine": ("BiaffineDecoder",),
        "dlk.nlp.decoder.linear_crf": ("LinearCrfDecoder",),
    },
)
