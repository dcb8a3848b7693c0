"""Collates of text tasks: sparse cells to dense matrices. Importing this loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.data_collate.span import SpanDataCollate

__all__ = ["SpanDataCollate"]

__getattr__ = lazy(__name__, {"dlk.nlp.data_collate.span": ("SpanDataCollate",)})
