"""Embeddings of text: any encoder of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.embedding.bert_like import BertLikeEmbedding

__all__ = ["BertLikeEmbedding"]

__getattr__ = lazy(__name__, {"dlk.nlp.embedding.bert_like": ("BertLikeEmbedding",)})
