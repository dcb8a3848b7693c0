"""The options of dlk-nlp's decoders."""

from __future__ import annotations
