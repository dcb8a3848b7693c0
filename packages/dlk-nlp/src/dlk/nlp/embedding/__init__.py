"""Embeddings of text: any encoder of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nlp.embedding.bert_like import BertLikeEmbedding

__all__ = ["BertLikeEmbedding"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dlk.nlp.embedding import bert_like

        return getattr(bert_like, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
