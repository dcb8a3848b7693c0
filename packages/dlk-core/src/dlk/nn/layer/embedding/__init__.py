"""Embeddings: what turns a batch's ids into vectors."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.nn.layer.embedding.base import Embedding
    from dlk.nn.layer.embedding.identity import IdentityEmbedding
    from dlk.nn.layer.embedding.random import RandomEmbedding
    from dlk.nn.layer.embedding.static import StaticEmbedding

_HOME = {
    "Embedding": "dlk.nn.layer.embedding.base",
    "IdentityEmbedding": "dlk.nn.layer.embedding.identity",
    "RandomEmbedding": "dlk.nn.layer.embedding.random",
    "StaticEmbedding": "dlk.nn.layer.embedding.static",
}

__all__ = ["Embedding", "IdentityEmbedding", "RandomEmbedding", "StaticEmbedding"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
