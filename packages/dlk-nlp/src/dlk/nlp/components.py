"""dlk-nlp's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in dlk-nlp."""
    return [
        *_subprocessors(),
        *_data_collates(),
        *_embeddings(),
        *_decoders(),
        *_models(),
        *_postprocessors(),
        *_displays(),
    ]


def _subprocessors() -> list[Component]:
    return []


def _data_collates() -> list[Component]:
    return [
        Component(
            "data_collate",
            "span",
            config="dlk.nlp.data_collate.configs:SpanDataCollateConfig",
            cls="dlk.nlp.data_collate.span:SpanDataCollate",
            help="as default, and dense matrices of targets from sparse cells",
            needs=("torch",),
        ),
    ]


def _decoders() -> list[Component]:
    return [
        Component(
            "decoder",
            "biaffine",
            config="dlk.nlp.decoder.configs:BiaffineDecoderConfig",
            cls="dlk.nlp.decoder.biaffine:BiaffineDecoder",
            help="scores of all spans or pairs",
            needs=("torch",),
        ),
    ]


def _models() -> list[Component]:
    return []


def _displays() -> list[Component]:
    return []


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
    configs = "dlk.nlp.postprocessor.configs"
    return [
        Component(
            "postprocessor",
            "txt_cls",
            config=f"{configs}:TxtClsConfig",
            cls="dlk.nlp.postprocessor.txt_cls:TxtCls",
            help="labels of texts with their probabilities; accuracy and F1",
            needs=("torch",),
        ),
        Component(
            "postprocessor",
            "txt_reg",
            config=f"{configs}:TxtRegConfig",
            cls="dlk.nlp.postprocessor.txt_reg:TxtReg",
            help="a number per text; squared and absolute error, correlations",
            needs=("torch",),
        ),
    ]
