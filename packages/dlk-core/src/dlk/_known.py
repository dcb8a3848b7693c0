"""Which first-party distribution brings which component, so that a missing one can be named."""

from __future__ import annotations

__all__ = ["KNOWN"]

KNOWN: dict[tuple[str, str], str] = {
    ("data_collate", "span"): "dlk-nlp",
    ("decoder", "biaffine"): "dlk-nlp",
    ("embedding", "bert_like"): "dlk-nlp",
    ("postprocessor", "txt_cls"): "dlk-nlp",
    ("postprocessor", "txt_reg"): "dlk-nlp",
}
