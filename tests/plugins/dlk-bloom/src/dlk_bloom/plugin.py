"""What dlk asks this distribution: which components it brings, and where they are."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the table of components; nothing of them is imported yet."""
    return [
        Component(
            "embedding",
            "bloom",
            config="dlk_bloom.configs:BloomEmbeddingConfig",
            cls="dlk_bloom.bloom:BloomEmbedding",
            help="sums of hashed rows: a table much smaller than the vocabulary",
            needs=("torch",),
        )
    ]
