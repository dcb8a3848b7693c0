"""dlk-nlp's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in dlk-nlp."""
    return [*_embeddings(), *_postprocessors()]


def _embeddings() -> list[Component]:
    return [
        Component(
            "embedding",
            "bert_like",
            config="dlk.nlp.embedding.configs:BertLikeEmbeddingConfig",
            cls="dlk.nlp.embedding.bert_like:BertLikeEmbedding",
            help="the states of any encoder of transformers",
            needs=("torch", "transformers"),
        ),
    ]


def _postprocessors() -> list[Component]:
    return []
