"""dlk-nlp's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in dlk-nlp."""
    return [
        *_subprocessors(),
        *_word_subprocessors(),
        *_data_collates(),
        *_embeddings(),
        *_decoders(),
        *_models(),
        *_postprocessors(),
        *_displays(),
    ]


def _subprocessors() -> list[Component]:
    return []


def _word_subprocessors() -> list[Component]:
    """Return the rows of steps over words and characters."""
    configs = "dlk.nlp.subprocessor.configs"
    return [
        Component(
            "subprocessor",
            "pre_tokenize",
            config=f"{configs}:PreTokenizeConfig",
            cls="dlk.nlp.subprocessor.pre_tokenize:PreTokenize",
            help="texts to words with their places, without a tokenizer file",
        ),
        Component(
            "subprocessor",
            "token_norm",
            config=f"{configs}:TokenNormConfig",
            cls="dlk.nlp.subprocessor.token_norm:TokenNorm",
            help="unknown words to their lower case or with digits as 0, where that is known",
        ),
        Component(
            "subprocessor",
            "char_gather",
            config=f"{configs}:CharGatherConfig",
            cls="dlk.nlp.subprocessor.char_gather:CharGather",
            help="learns a vocabulary of characters",
        ),
        Component(
            "subprocessor",
            "token2charid",
            config=f"{configs}:Token2CharIdConfig",
            cls="dlk.nlp.subprocessor.token2charid:Token2CharId",
            help="the characters of each word to ids",
        ),
        Component(
            "subprocessor",
            "token_embedding",
            config=f"{configs}:TokenEmbeddingConfig",
            cls="dlk.nlp.subprocessor.token_embedding:TokenEmbedding",
            help="the rows of GloVe, word2vec or fastText that a vocabulary needs",
        ),
    ]


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
    package = "dlk.nlp.display"
    configs = f"{package}.configs"
    return [
        Component(
            "display",
            "seq_lab",
            config=f"{configs}:SeqLabDisplayConfig",
            cls=f"{package}.seq_lab:SeqLabDisplay",
            help="entities highlighted in their text",
        ),
        Component(
            "display",
            "span_cls",
            config=f"{configs}:SpanClsDisplayConfig",
            cls=f"{package}.span_cls:SpanClsDisplay",
            help="entities highlighted in their text, those inside of others too",
        ),
        Component(
            "display",
            "span_relation",
            config=f"{configs}:SpanRelationDisplayConfig",
            cls=f"{package}.span_relation:SpanRelationDisplay",
            help="relations as arrows over their text",
        ),
        Component(
            "display",
            "txt_cls",
            config=f"{configs}:TxtClsDisplayConfig",
            cls=f"{package}.txt_cls:TxtClsDisplay",
            help="probabilities of a text's labels as bars",
        ),
        Component(
            "display",
            "txt_match",
            config=f"{configs}:TxtMatchDisplayConfig",
            cls=f"{package}.txt_match:TxtMatchDisplay",
            help="two texts, and how well they match",
            aliases=("txt_match_reg",),
        ),
        Component(
            "display",
            "txt_reg",
            config=f"{configs}:TxtRegDisplayConfig",
            cls=f"{package}.txt_reg:TxtRegDisplay",
            help="the value of a text on a scale",
        ),
    ]


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
            "seq_lab",
            config=f"{configs}:SeqLabConfig",
            cls="dlk.nlp.postprocessor.seq_lab:SeqLab",
            help="entities from tags, with their probabilities; precision, recall, F1",
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
