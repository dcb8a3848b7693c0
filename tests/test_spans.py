"""Spans end to end: nested entities, long texts in windows, one path of decoding everywhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.testing.data import tiny_tokenizer
from dlk.train import RunResult, Train

Row = dict[str, Any]

MARKED = [
    "[ORG bank of [LOC [LOC new york] city]] opens",
    "she left [LOC new york] by train",
    "the [ORG [PER ada] foundation] met [PER ada]",
    "nothing happens here today",
    "[ORG university of [LOC paris]] and [LOC paris] agree",
    "[PER [TITLE king] arthur] rules [LOC york]",
    "a bank and a train",
    "[LOC the [LOC new york] river] is cold",
]
LONG = [
    f"{MARKED[0]} {MARKED[3]} {MARKED[2]} {MARKED[6]} {MARKED[4]}",
    f"{MARKED[6]} {MARKED[7]} {MARKED[1]} {MARKED[5]} {MARKED[3]}",
]


def annotated(marked: str) -> Row:
    """Return the text of ``[LABEL words]`` marks, which nest, and its entities."""
    text, entities, stack = "", [], []
    for part in re.split(r"(\[[A-Z]+ |\])", marked):
        if part == "]":
            start, label = stack.pop()
            entities.append({"start": start, "end": len(text), "labels": [label]})
        elif part.startswith("["):
            stack.append((len(text), part[1:-1]))
        else:
            text += part
    return {"sentence": text, "entities_info": entities}


ROWS = [annotated(marked) for marked in (*MARKED, *LONG)]


def spans_of(row: Row) -> set[tuple[Any, ...]]:
    return {(e["start"], e["end"], *e["labels"]) for e in row["entities_info"]}


def configs(folder: Path, *, level: str, window: int) -> None:
    """Write process.jsonc and fit.jsonc: the tagger of all spans, as small as it can be."""
    words = {word for row in ROWS for word in row["sentence"].split()}
    tiny_tokenizer(folder / "tokenizer.json", sorted(words))
    process = {
        "processed_data_dir": "processed",
        "@subprocessor@fast_tokenizer": {
            "tokenizer_path": "tokenizer.json",
            "truncation": {"max_length": window, "stride": window // 2},
            "expand_examples": True,
        },
        "@subprocessor@token_gather": {
            "gather_columns": [{"column": "entities_info", "trace": "labels"}],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": "O",
        },
        "@subprocessor@span_cls_relabel": {"level": level},
    }
    fit = {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "seed": 3,
        "@trainer@lightning": {"accelerator": "cpu", "max_epochs": 40},
        "@datamodule@default": {
            "train_batch_size": 8,
            "predict_batch_size": 3,
            "@dataset@default": {
                "key_type_pairs": {
                    "input_ids": "long",
                    "unit_mask": "bool",
                    "span_cells": "long",
                }
            },
            "@data_collate@span": {
                "gen_mask": {"input_ids": "attention_mask"},
                "matrices": {
                    "label_ids": {"cells": "span_cells", "mask": "unit_mask", "triangle": True}
                },
            },
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.tokenizer.size",
                    "embedding_dim": 32,
                },
                "@encoder@lstm": {"input_size": 32, "output_size": 64},
                "@decoder@biaffine": {
                    "input_size": 64,
                    "hidden_size": 32,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "rotary": True,
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@optimizer@adamw": {"lr": 1e-2},
            "@postprocessor@span_cls": {"label_vocab": "label_vocab.json", "columns": []},
        },
    }
    (folder / "process.jsonc").write_text(json.dumps({"@processor@default": process}))
    (folder / "fit.jsonc").write_text(json.dumps({"@fit": fit}))


@dataclass(frozen=True)
class Trained:
    bundle: Path
    result: RunResult
    report: Any


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on a handful of rows until it knows them; its folder is gone, the bundle moved."""
    folder = tmp_path_factory.mktemp("spans") / "task"
    folder.mkdir()
    configs(folder, level="piece", window=12)
    report = Process(folder / "process.jsonc").run({"train": ROWS, "valid": ROWS, "test": ROWS})
    (done,) = Train(folder / "fit.jsonc").run().runs
    assert done.state == "done", done.error
    moved = folder.parent / "elsewhere"
    shutil.move(done.bundle, moved)
    shutil.rmtree(folder)
    return Trained(moved, done, report)


def test_nested_entities_come_back_exactly_once_learnt(trained: Trained) -> None:
    answers = Server(trained.bundle).fit([{"sentence": row["sentence"]} for row in ROWS])
    for row, answer in zip(ROWS, answers, strict=True):
        assert spans_of(answer) == spans_of(row), row["sentence"]
    assert trained.result.metrics["test_f1"] == 1.0


def test_long_texts_are_windows_that_become_one_prediction(trained: Trained) -> None:
    rows = trained.report.rows["train"], trained.report.records["train"]
    assert rows[0] == len(ROWS) < rows[1]
    nested = [span for span in spans_of(ROWS[-2]) if span[2] == "ORG"]
    assert len(nested) == 3
    (answer,) = Server(trained.bundle).fit([{"sentence": ROWS[-2]["sentence"]}])
    assert spans_of(answer) >= set(nested)


def test_nothing_of_the_truth_is_asked_of_a_request(trained: Trained) -> None:
    assert Server(trained.bundle).inputs == ["sentence"]


def test_predict_server_and_evaluation_say_the_same(trained: Trained) -> None:
    predict = Predict(trained.bundle)
    texts = [{"sentence": row["sentence"]} for row in ROWS]
    answers = Server(trained.bundle).fit(texts)
    evaluated = predict.evaluate(ROWS)
    for name in ("f1", "precision", "recall", "f1_macro"):
        assert evaluated.metrics[name] == trained.result.metrics[f"test_{name}"]
    alone = [Server(trained.bundle).fit([text])[0] for text in texts]
    for one, other in zip(answers, alone, strict=True):
        assert spans_of(one) == spans_of(other)
        for a, b in zip(one["entities_info"], other["entities_info"], strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)


def test_predictions_feed_back_as_data(trained: Trained) -> None:
    answers = Server(trained.bundle).fit([{"sentence": row["sentence"]} for row in ROWS])
    assert Predict(trained.bundle).evaluate(answers).metrics["f1"] == 1.0


def test_words_nobody_has_seen_and_empty_texts_have_answers(trained: Trained) -> None:
    answers = Server(trained.bundle).fit([{"sentence": text} for text in ("", " ", "zzz", "😀 a")])
    assert all(isinstance(answer["entities_info"], list) for answer in answers)
    assert answers[0]["entities_info"] == answers[1]["entities_info"] == []


def test_what_training_cannot_say_is_in_the_report(tmp_path: Path) -> None:
    configs(tmp_path, level="word", window=6)
    given = [
        {
            "sentence": "bank of new york",
            "entities_info": [{"start": 0, "end": 16, "labels": ["A"]}],
        },
        {
            "sentence": "new york city opens today by train",
            "entities_info": [
                {"start": 0, "end": 34, "labels": ["A"]},
                {"start": 0, "end": 8, "labels": ["A"]},
                {"start": 0, "end": 8, "labels": ["B"]},
            ],
        },
    ]
    report = Process(tmp_path / "process.jsonc").run({"train": given})
    assert report.counts["train"] == {
        "span_cls_relabel: entities": 4,
        "span_cls_relabel: entities cut by the edges of windows": 1,
        "span_cls_relabel: entities of a second type on the same units": 1,
    }
