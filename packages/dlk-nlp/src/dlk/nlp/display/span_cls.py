"""Entities highlighted in their text, those inside of others too."""

from __future__ import annotations

from dlk.nlp.display.seq_lab import SeqLabDisplay
from dlk.registry import register


@register("display", "span_cls")
class SpanClsDisplay(SeqLabDisplay):
    """As `seq_lab`, for predictions whose entities may lie inside of each other or overlap."""
