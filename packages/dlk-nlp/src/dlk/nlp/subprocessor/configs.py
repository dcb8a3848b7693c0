"""The options of dlk-nlp's subprocessors."""

from __future__ import annotations
