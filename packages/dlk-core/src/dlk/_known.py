"""Which first-party distribution brings which component, so that a missing one can be named."""

from __future__ import annotations

__all__ = ["KNOWN"]

KNOWN: dict[tuple[str, str], str] = {
    ("display", "seq_lab"): "dlk-nlp",
    ("display", "span_cls"): "dlk-nlp",
    ("display", "span_relation"): "dlk-nlp",
    ("display", "txt_cls"): "dlk-nlp",
    ("display", "txt_match"): "dlk-nlp",
    ("display", "txt_reg"): "dlk-nlp",
    ("data_collate", "span"): "dlk-nlp",
    ("decoder", "biaffine"): "dlk-nlp",
    ("decoder", "linear_crf"): "dlk-nlp",
    ("embedding", "bert_like"): "dlk-nlp",
    ("embedding", "combine_word_char_cnn"): "dlk-nlp",
    ("embedding", "static_char_cnn"): "dlk-nlp",
    ("postprocessor", "seq_lab"): "dlk-nlp",
    ("postprocessor", "txt_cls"): "dlk-nlp",
    ("postprocessor", "txt_match"): "dlk-nlp",
    ("postprocessor", "txt_reg"): "dlk-nlp",
    ("reader", "ann"): "dlk-nlp",
    ("reader", "conll"): "dlk-nlp",
    ("reader", "conllu"): "dlk-nlp",
    ("subprocessor", "char_gather"): "dlk-nlp",
    ("subprocessor", "pre_tokenize"): "dlk-nlp",
    ("subprocessor", "seq_lab_firstpiece_relabel"): "dlk-nlp",
    ("subprocessor", "seq_lab_relabel"): "dlk-nlp",
    ("subprocessor", "token2charid"): "dlk-nlp",
    ("subprocessor", "token_embedding"): "dlk-nlp",
    ("subprocessor", "token_norm"): "dlk-nlp",
    ("postprocessor", "span_cls"): "dlk-nlp",
    ("postprocessor", "span_relation"): "dlk-nlp",
    ("subprocessor", "piece_rerank_relabel"): "dlk-nlp",
    ("subprocessor", "span_cls_relabel"): "dlk-nlp",
    ("subprocessor", "span_relation_relabel"): "dlk-nlp",
}
