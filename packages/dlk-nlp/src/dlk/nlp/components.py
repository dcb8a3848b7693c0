"""dlk-nlp's table of components: names, and where config and class live. Imports nothing heavy."""

from __future__ import annotations

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components() -> list[Component]:
    """Return the rows of all families in dlk-nlp."""
    return [
        *_readers(),
        *_subprocessors(),
        *_label_subprocessors(),
        *_word_subprocessors(),
        *_span_subprocessors(),
        *_data_collates(),
        *_embeddings(),
        *_decoders(),
        *_models(),
        *_postprocessors(),
        *_span_postprocessors(),
        *_displays(),
    ]


def _readers() -> list[Component]:
    """Return the rows of readers, by the endings of their files."""
    configs = "dlk.nlp.readers.configs"
    return [
        Component(
            "reader",
            "conll",
            config=f"{configs}:ConllReaderConfig",
            cls="dlk.nlp.readers.conll:ConllReader",
            help="words and tags in columns, as CoNLL-2003 has them; sentences with entities",
        ),
        Component(
            "reader",
            "conllu",
            config=f"{configs}:ConlluReaderConfig",
            cls="dlk.nlp.readers.conllu:ConlluReader",
            help="Universal Dependencies; sentences with words as entities, and their relations",
        ),
        Component(
            "reader",
            "ann",
            config=f"{configs}:BratReaderConfig",
            cls="dlk.nlp.readers.brat:BratReader",
            help="annotations of BRAT beside a .txt; a document with entities and relations",
        ),
    ]


def _subprocessors() -> list[Component]:
    return []


def _label_subprocessors() -> list[Component]:
    """Return the rows of steps that tag units by annotations."""
    configs = "dlk.nlp.subprocessor.configs"
    return [
        Component(
            "subprocessor",
            "seq_lab_relabel",
            config=f"{configs}:SeqLabRelabelConfig",
            cls="dlk.nlp.subprocessor.seq_lab_relabel:SeqLabRelabel",
            help="entities of a text to a tag per piece",
        ),
        Component(
            "subprocessor",
            "seq_lab_firstpiece_relabel",
            config=f"{configs}:SeqLabFirstpieceRelabelConfig",
            cls="dlk.nlp.subprocessor.seq_lab_firstpiece_relabel:SeqLabFirstpieceRelabel",
            help="entities of a text to a tag per word, and each word's first piece",
        ),
    ]


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


def _span_subprocessors() -> list[Component]:
    """Return the rows of steps that label spans of units, and pairs of them."""
    configs = "dlk.nlp.subprocessor.configs"
    return [
        Component(
            "subprocessor",
            "span_cls_relabel",
            config=f"{configs}:SpanClsRelabelConfig",
            cls="dlk.nlp.subprocessor.span_cls_relabel:SpanClsRelabel",
            help="entities in characters to cells over units, nested ones too",
        ),
        Component(
            "subprocessor",
            "span_relation_relabel",
            config=f"{configs}:SpanRelationRelabelConfig",
            cls="dlk.nlp.subprocessor.span_relation_relabel:SpanRelationRelabel",
            help="relations between entities to cells over units",
        ),
        Component(
            "subprocessor",
            "piece_rerank_relabel",
            config=f"{configs}:PieceRerankRelabelConfig",
            cls="dlk.nlp.subprocessor.piece_rerank_relabel:PieceRerankRelabel",
            help="the right order of shuffled words to cells over pieces",
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
        Component(
            "decoder",
            "linear_crf",
            config="dlk.nlp.decoder.configs:LinearCrfDecoderConfig",
            cls="dlk.nlp.decoder.linear_crf:LinearCrfDecoder",
            help="a tag for each position, by a CRF over the tags of a row",
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
        Component(
            "embedding",
            "static_char_cnn",
            config="dlk.nlp.embedding.configs:StaticCharCnnConfig",
            cls="dlk.nlp.embedding.static_char_cnn:StaticCharCnn",
            help="a vector of each word from its characters",
            needs=("torch",),
        ),
        Component(
            "embedding",
            "combine_word_char_cnn",
            config="dlk.nlp.embedding.configs:CombineWordCharCnnConfig",
            cls="dlk.nlp.embedding.combine_word_char_cnn:CombineWordCharCnn",
            help="word vectors and those made of characters, side by side",
            needs=("torch",),
        ),
    ]


def _span_postprocessors() -> list[Component]:
    """Return the rows of what reads scores of spans, and of pairs of units."""
    configs = "dlk.nlp.postprocessor.configs"
    return [
        Component(
            "postprocessor",
            "span_cls",
            config=f"{configs}:SpanClsConfig",
            cls="dlk.nlp.postprocessor.span_cls:SpanCls",
            help="entities from scores of all spans, nested ones too; precision, recall and F1",
            needs=("torch",),
        ),
        Component(
            "postprocessor",
            "span_relation",
            config=f"{configs}:SpanRelationConfig",
            cls="dlk.nlp.postprocessor.span_relation:SpanRelation",
            help="entities and relations between them; precision, recall and F1 of both",
            needs=("torch",),
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
            "txt_match",
            config=f"{configs}:TxtMatchConfig",
            cls="dlk.nlp.postprocessor.txt_match:TxtMatch",
            help="whether two texts belong together; F1 and the best threshold",
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
