"""Every task in its smallest form: a few rows, no pretrained parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlk.preprocess import Process
from dlk.train import Train

Config = dict[str, Any]
Row = dict[str, Any]

TOKENIZER = Path(__file__).parent / "fixtures" / "trec" / "tokenizer.json"
NAMES = {"Ada": "PER", "Paris": "LOC", "France": "LOC", "Bob": "PER", "Rome": "LOC"}
SENTENCES = (
    "What did Ada write in Paris ?",
    "Who is Bob ?",
    "Where is Rome , and where is France ?",
    "Ada and Bob live in Rome .",
    "How many people live in Paris , France ?",
    "What is the name of the river ?",
    "Bob went to Paris .",
    "Who wrote to Ada ?",
)


@dataclass(frozen=True)
class SmallTask:
    """A task: its configs without folders, and rows to learn from.

    Attributes:
        name: what it is called here.
        texts: columns of the texts.
        truths: columns of the truth.
        answers: keys that each prediction has beside its texts.
        rows: rows with their truth.
        steps: subprocessors.
        columns: `key_type_pairs` of the dataset.
        collate: the collate's name and options.
        imodel: model, loss and postprocessor.
    """

    name: str
    texts: tuple[str, ...]
    truths: tuple[str, ...]
    answers: tuple[str, ...]
    rows: tuple[Row, ...]
    steps: Config
    columns: Mapping[str, str]
    imodel: Config
    collate: Config = field(default_factory=dict)
    collate_name: str = "default"

    def process_config(self, folder: Path, **options: Any) -> Config:
        """Return the process config, its output in the folder."""
        return {
            "@processor@default": {
                "processed_data_dir": str(folder / "processed"),
                **options,
                **json.loads(json.dumps(self.steps).replace("TOKENIZER", str(TOKENIZER))),
            }
        }

    def fit_config(self, folder: Path, *, batch_size: int = 4) -> Config:
        """Return the fit config."""
        return {
            "@fit": {
                "processed_data_dir": str(folder / "processed"),
                "log_dir": str(folder / "logs"),
                "seed": 3,
                "@trainer@lightning": {
                    "accelerator": "cpu",
                    "max_epochs": 2,
                    "enable_progress_bar": False,
                },
                "@datamodule@default": {
                    "train_batch_size": batch_size,
                    "predict_batch_size": 3,
                    "@dataset@default": {"key_type_pairs": dict(self.columns)},
                    f"@data_collate@{self.collate_name}": {
                        "key_padding_pairs": {
                            name: {"gather_index": -1, "label_ids": -100}.get(name, 0)
                            for name in self.columns
                            if name in ("input_ids", "type_ids", "gather_index")
                            or (name == "label_ids" and "entities_info" in self.truths)
                        },
                        "gen_mask": {"input_ids": "attention_mask"},
                        **self.collate,
                    },
                },
                "@imodel@default": {"@optimizer@adamw": {"lr": 1e-2}, **self.imodel},
            }
        }

    def process(self, folder: Path, data: Mapping[str, Any], **options: Any) -> Any:
        """Process data into the folder; return the report."""
        return Process(self.process_config(folder, **options)).run(data)

    def train(
        self, folder: Path, rows: Sequence[Row] | None = None, *, batch_size: int = 4
    ) -> Path:
        """Process and train in the folder; return the bundle."""
        rows = list(self.rows if rows is None else rows)
        self.process(folder, {"train": rows, "valid": rows[:8]})
        (done,) = Train(self.fit_config(folder, batch_size=batch_size)).run().runs
        bundle = folder / "bundle"
        shutil.move(done.bundle, bundle)
        return bundle


def _tokens(**options: Any) -> Config:
    return {"@subprocessor@fast_tokenizer": {"tokenizer_path": "TOKENIZER", **options}}


def _labels(column: str = "labels", **options: Any) -> Config:
    return {
        "@subprocessor@token_gather": {
            "gather_columns": [column],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
            **options,
        }
    }


LABEL_IDS: Config = {"@subprocessor@token2id-label": {"vocab": "label_vocab.json"}}
CUT = {"truncation": {"max_length": 24}}
WINDOWS = {"truncation": {"max_length": 24, "stride": 6}, "expand_examples": True}
TABLE = {"@embedding@random": {"vocab_size": "@lambda @_G.meta.tokenizer.size", "embedding_dim": 8}}
SIZE = "@lambda @_G.meta.label_vocab.size"
CROSS_ENTROPY = {"@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}}}


def _pooled(size: Any) -> Config:
    linear = {"input_size": 8, "output_size": size, "pool": "mean"}
    return {"@model@basic": {**TABLE, "@decoder@linear": linear}}


def _entities(sentence: str) -> list[Row]:
    found, start = [], 0
    for word in sentence.split(" "):
        if word in NAMES:
            found.append({"start": start, "end": start + len(word), "labels": [NAMES[word]]})
        start += len(word) + 1
    return found


def _kind(sentence: str) -> str:
    return sentence.split(" ")[0].lower()


_SINGLE = tuple({"sentence": s, "labels": _kind(s)} for s in SENTENCES)
_PAIRS = tuple(
    {"sentence_a": a, "sentence_b": b, "match": float((len(a) + len(b)) % 2)}
    for a, b in zip(SENTENCES, (*SENTENCES[1:], SENTENCES[0]), strict=True)
)
_TAGGED = tuple({"sentence": s, "entities_info": _entities(s)} for s in SENTENCES)


def _related(row: Row) -> Row:
    ends = [place for place, one in enumerate(row["entities_info"]) if one["labels"] == ["LOC"]]
    relations = [{"from": 0, "to": end, "labels": ["in"]} for end in ends if end]
    return {**row, "relations_info": relations}


TXT_CLS = SmallTask(
    "txt_cls",
    texts=("sentence",),
    truths=("labels",),
    answers=("label", "score", "predicts"),
    rows=_SINGLE,
    steps={**_tokens(**CUT), **_labels(), **LABEL_IDS},
    columns={"input_ids": "long", "label_ids": "long"},
    imodel={
        **_pooled(SIZE),
        **CROSS_ENTROPY,
        "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json"},
    },
)
TXT_CLS_PAIR = SmallTask(
    "txt_cls_pair",
    texts=("sentence_a", "sentence_b"),
    truths=("labels",),
    answers=("label", "score", "predicts"),
    rows=tuple({**row, "labels": "yes" if row["match"] else "no"} for row in _PAIRS),
    steps={**_tokens(input_type="pair", **CUT), **_labels(), **LABEL_IDS},
    columns={"input_ids": "long", "type_ids": "long", "label_ids": "long"},
    imodel={
        **_pooled(SIZE),
        **CROSS_ENTROPY,
        "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json", "data_type": "pair"},
    },
)
TXT_CLS_SETS = SmallTask(
    "txt_cls_sets",
    texts=("sentence",),
    truths=("labels",),
    answers=("labels", "predicts"),
    rows=tuple({**row, "labels": [row["labels"], "any"]} for row in _SINGLE),
    steps={**_tokens(**CUT), **_labels(), **LABEL_IDS},
    columns={"input_ids": "long", "label_ids": "long"},
    collate={"key_multi_hot": {"label_ids": SIZE}},
    imodel={
        **_pooled(SIZE),
        "@loss@bce": {"pred_truth_pair": {"logits": "label_ids"}},
        "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json", "multi_label": True},
    },
)
TXT_REG = SmallTask(
    "txt_reg",
    texts=("sentence",),
    truths=("values",),
    answers=("value",),
    rows=tuple({"sentence": s, "values": len(s) / 10} for s in SENTENCES),
    steps=_tokens(**CUT),
    columns={"input_ids": "long", "values": "float"},
    imodel={
        **_pooled(1),
        "@loss@mse": {"pred_truth_pair": {"logits": "values"}},
        "@postprocessor@txt_reg": {},
    },
)
TXT_MATCH = SmallTask(
    "txt_match",
    texts=("sentence_a", "sentence_b"),
    truths=("match",),
    answers=("label", "score"),
    rows=_PAIRS,
    steps=_tokens(input_type="pair", **CUT),
    columns={"input_ids": "long", "type_ids": "long", "match": "float"},
    imodel={
        **_pooled(1),
        "@loss@bce": {"pred_truth_pair": {"logits": "match"}},
        "@postprocessor@txt_match": {},
    },
)
SEQ_LAB = SmallTask(
    "seq_lab",
    texts=("sentence",),
    truths=("entities_info",),
    answers=("entities_info",),
    rows=_TAGGED,
    steps={**_tokens(**WINDOWS), "@subprocessor@seq_lab_relabel": {"vocab": "label_vocab.json"}},
    columns={"input_ids": "long", "label_ids": "long"},
    imodel={
        "@model@basic": {**TABLE, "@decoder@linear": {"input_size": 8, "output_size": SIZE}},
        **CROSS_ENTROPY,
        "@postprocessor@seq_lab": {"label_vocab": "label_vocab.json"},
    },
)
SEQ_LAB_CRF = SmallTask(
    "seq_lab_crf",
    texts=("sentence",),
    truths=("entities_info",),
    answers=("entities_info",),
    rows=_TAGGED,
    steps={**_tokens(**WINDOWS), "@subprocessor@seq_lab_relabel": {"vocab": "label_vocab.json"}},
    columns={"input_ids": "long", "label_ids": "long", "unit_mask": "bool"},
    imodel={
        "@model@basic": {
            **TABLE,
            "@decoder@linear_crf": {
                "input_size": 8,
                "output_size": SIZE,
                "label_vocab": "label_vocab.json",
                "input_map": {"embedding_mask": "unit_mask"},
            },
        },
        "@loss@identity": {"loss": "loss"},
        "@postprocessor@seq_lab": {"label_vocab": "label_vocab.json", "use_crf": True},
    },
)
_SPANS: Config = {
    **_tokens(**WINDOWS),
    "@subprocessor@token_gather": {
        "gather_columns": [{"column": "entities_info", "trace": "labels"}],
        "token_vocab": "label_vocab.json",
        "pad": None,
        "unk": "O",
    },
    "@subprocessor@span_cls_relabel": {"vocab": "label_vocab.json"},
}
SPAN_CLS = SmallTask(
    "span_cls",
    texts=("sentence",),
    truths=("entities_info",),
    answers=("entities_info",),
    rows=_TAGGED,
    steps=_SPANS,
    columns={"input_ids": "long", "unit_mask": "bool", "span_cells": "long"},
    collate_name="span",
    collate={
        "matrices": {"label_ids": {"cells": "span_cells", "mask": "unit_mask", "triangle": True}}
    },
    imodel={
        "@model@basic": {
            **TABLE,
            "@decoder@biaffine": {"input_size": 8, "hidden_size": 4, "output_size": SIZE},
        },
        **CROSS_ENTROPY,
        "@postprocessor@span_cls": {"label_vocab": "label_vocab.json"},
    },
)
SPAN_RELATION = SmallTask(
    "span_relation",
    texts=("sentence",),
    truths=("entities_info", "relations_info"),
    answers=("entities_info", "relations_info"),
    rows=tuple(map(_related, _TAGGED)),
    steps={
        **_SPANS,
        "@subprocessor@token_gather#relation": {
            "gather_columns": [{"column": "relations_info", "trace": "labels"}],
            "token_vocab": "relation_vocab.json",
            "pad": None,
            "unk": "O",
        },
        "@subprocessor@span_relation_relabel": {"vocab": "relation_vocab.json"},
    },
    columns={
        "input_ids": "long",
        "unit_mask": "bool",
        "span_cells": "long",
        "relation_cells": "long",
    },
    collate_name="span",
    collate={
        "matrices": {
            "entity_ids": {"cells": "span_cells", "mask": "unit_mask", "triangle": True},
            "relation_ids": {"cells": "relation_cells", "mask": "unit_mask", "layers": 2},
        }
    },
    imodel={
        "@model@basic": {
            **TABLE,
            "@decoder@multi_decoder": {
                "@decoder@biaffine#entity": {
                    "input_size": 8,
                    "hidden_size": 4,
                    "output_size": SIZE,
                    "output_map": {"logits": "entity_logits"},
                },
                "@decoder@biaffine#relation": {
                    "input_size": 8,
                    "hidden_size": 4,
                    "output_size": "@lambda @_G.meta.relation_vocab.size",
                    "multi_matrix": 2,
                    "output_map": {"logits": "relation_logits"},
                },
            },
        },
        "@loss@multi_loss": {
            "@loss@cross_entropy#entity": {"pred_truth_pair": {"entity_logits": "entity_ids"}},
            "@loss@cross_entropy#relation": {
                "pred_truth_pair": {"relation_logits": "relation_ids"}
            },
        },
        "@postprocessor@span_relation": {"label_vocab": "label_vocab.json"},
    },
)
_WORDS: Config = {
    "@subprocessor@pre_tokenize": {},
    "@subprocessor@token_gather#words": {"gather_columns": ["tokens"]},
    "@subprocessor@token2id": {"output_map": {"token_ids": "input_ids"}},
    "@subprocessor@char_gather": {"gather_columns": ["tokens"]},
    "@subprocessor@token2charid": {},
}
_BY_WORD: Config = {
    "@embedding@combine_word_char_cnn": {
        "@embedding@random#word": {
            "vocab_size": "@lambda @_G.meta.token_vocab.size",
            "embedding_dim": 5,
        },
        "@embedding@static_char_cnn#char": {
            "vocab_size": "@lambda @_G.meta.char_vocab.size",
            "embedding_dim": 3,
        },
    },
    "@encoder@lstm": {"input_size": 8, "output_size": 8},
}
TXT_CLS_WORDS = SmallTask(
    "txt_cls_words",
    texts=("sentence",),
    truths=("labels",),
    answers=("label", "score", "predicts"),
    rows=_SINGLE,
    steps={**_WORDS, **_labels(), **LABEL_IDS},
    columns={"input_ids": "long", "char_ids": "long", "label_ids": "long"},
    collate={"key_padding_pairs_2d": {"char_ids": 0}},
    imodel={
        "@model@basic": {
            **_BY_WORD,
            "@decoder@linear": {"input_size": 8, "output_size": SIZE, "pool": "first"},
        },
        **CROSS_ENTROPY,
        "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json"},
    },
)
SEQ_LAB_WORDS = SmallTask(
    "seq_lab_words",
    texts=("sentence",),
    truths=("entities_info",),
    answers=("entities_info",),
    rows=_TAGGED,
    steps={
        **_WORDS,
        "@subprocessor@seq_lab_relabel": {"vocab": "label_vocab.json", "scheme": "BIOES"},
    },
    columns={"input_ids": "long", "char_ids": "long", "label_ids": "long"},
    collate={"key_padding_pairs_2d": {"char_ids": 0}},
    imodel={
        "@model@basic": {
            **_BY_WORD,
            "@decoder@linear_crf": {
                "input_size": 8,
                "output_size": SIZE,
                "scheme": "BIOES",
                "label_vocab": "label_vocab.json",
            },
        },
        "@loss@identity": {"loss": "loss"},
        "@postprocessor@seq_lab": {
            "label_vocab": "label_vocab.json",
            "scheme": "BIOES",
            "use_crf": True,
        },
    },
)


def _side(side: str) -> Config:
    names = {"input_map": {"sentence": f"sentence_{side}"}, "output_map": {"ids": f"ids_{side}"}}
    return {f"@subprocessor@fast_tokenizer#{side}": {"tokenizer_path": "TOKENIZER", **CUT, **names}}


TXT_MATCH_BI = SmallTask(
    "txt_match_bi",
    texts=("sentence_a", "sentence_b"),
    truths=("match",),
    answers=("label", "score"),
    rows=_PAIRS,
    steps={**_side("a"), **_side("b")},
    columns={"ids_a": "long", "ids_b": "long", "match": "float"},
    collate={
        "key_padding_pairs": {"ids_a": 0, "ids_b": 0},
        "gen_mask": {"ids_a": "mask_a", "ids_b": "mask_b"},
    },
    imodel={
        "@model@bi_encoder": {
            "@embedding@random": {
                **TABLE["@embedding@random"],
                "input_map": {"input_ids": "ids", "attention_mask": "mask"},
            },
            "scale": 20.0,
            "bias": -15.0,
        },
        "@loss@multi_loss": {
            "@loss@info_nce#rank": {"input_map": {"match": "match"}},
            "@loss@bce#pair": {"pred_truth_pair": {"logits": "match"}},
        },
        "@postprocessor@txt_match": {},
    },
)
TASKS = (
    TXT_CLS,
    TXT_CLS_PAIR,
    TXT_CLS_SETS,
    TXT_CLS_WORDS,
    TXT_REG,
    TXT_MATCH,
    TXT_MATCH_BI,
    SEQ_LAB,
    SEQ_LAB_CRF,
    SEQ_LAB_WORDS,
    SPAN_CLS,
    SPAN_RELATION,
)
