"""Embeddings: what turns a batch's ids into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.nn.layer.embedding.base import Embedding
    from dlk.nn.layer.embedding.identity import IdentityEmbedding
    from dlk.nn.layer.embedding.random import RandomEmbedding
    from dlk.nn.layer.embedding.static import StaticEmbedding

__all__ = ["Embedding", "IdentityEmbedding", "RandomEmbedding", "StaticEmbedding"]

__getattr__ = lazy(
    __name__,
    {
        "dlk.nn.layer.embedding.base": ("Embedding",),
        "dlk.nn.layer.embedding.identity": ("IdentityEmbedding",),
        "dlk.nn.layer.embedding.random": ("RandomEmbedding",),
        "dlk.nn.layer.embedding.static": ("StaticEmbedding",),
    },
)
