"""Embeddings of text: any encoder of transformers, and words with their characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nlp.embedding.bert_like import BertLikeEmbedding
    from dlk.nlp.embedding.combine_word_char_cnn import CombineWordCharCnn
    from dlk.nlp.embedding.static_char_cnn import StaticCharCnn

__all__ = ["BertLikeEmbedding", "CombineWordCharCnn", "StaticCharCnn"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nlp.embedding.bert_like": ("BertLikeEmbedding",),
        "dlk.nlp.embedding.combine_word_char_cnn": ("CombineWordCharCnn",),
        "dlk.nlp.embedding.static_char_cnn": ("StaticCharCnn",),
    },
)
