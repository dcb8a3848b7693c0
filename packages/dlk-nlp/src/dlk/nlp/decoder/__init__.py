"""Decoders of text tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.decoder.biaffine import BiaffineDecoder

__all__ = ["BiaffineDecoder"]

__getattr__ = lazy(__name__, {"dlk.nlp.decoder.biaffine": ("BiaffineDecoder",)})
