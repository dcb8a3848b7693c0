"""What is known of dlk's own distributions: which one brings a component, and which is too old."""

from __future__ import annotations

import sys

__all__ = ["KNOWN", "shadow"]


def shadow() -> str:
    """Return what to say of an old dlk whose ``__init__.py`` hides other parts; "" without one."""
    file = getattr(sys.modules.get("dlk"), "__file__", None)
    if file is None:
        return ""
    import importlib.metadata

    try:
        version = importlib.metadata.version("dlk")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    old = f"dlk {version}" if version.startswith("0.1") else "an old dlk (0.1.x)"
    return (
        f"{file} makes dlk one plain package and hides parts of it; it belongs to {old}. "
        "Remove that, then install again what shares its folder: "
        "pip uninstall dlk && pip install --force-reinstall --no-deps dlk-core dlk-nlp"
    )


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
