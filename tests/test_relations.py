"""Entities and relations end to end, on two dozen real sentences that the model learns by heart."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train

Row = dict[str, Any]

FIXTURE = Path(__file__).parent / "fixtures" / "treebank" / "rows.jsonl"
ROWS: list[Row] = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
TEXTS = [{"sentence": row["sentence"]} for row in ROWS]


def relations_of(row: Row) -> set[tuple[Any, ...]]:
    """Return (from, to, type), the ends as places and kinds."""
    ends = {e["entity_id"]: (e["start"], e["end"], *e["labels"]) for e in row["entities_info"]}
    return {(ends[r["from"]], ends[r["to"]], *r["labels"]) for r in row["relations_info"]}


def gather(column: str, kind: str) -> dict[str, Any]:
    return {
        "gather_columns": [{"column": column, "trace": "labels"}],
        "token_vocab": f"{kind}_vocab.json",
        "pad": None,
        "unk": "O",
    }


def configs(folder: Path, *, separate: bool, epochs: int) -> None:
    """Write process.jsonc and fit.jsonc: words, a table of vectors, an LSTM, two decoders."""
    process = {
        "processed_data_dir": "processed",
        "@subprocessor@pre_tokenize": {"method": "bert"},
        "@subprocessor@token_gather": {"gather_columns": ["tokens"]},
        "@subprocessor@token2id": {
            "vocab": "token_vocab.json",
            "output_map": {"token_ids": "input_ids"},
        },
        "@subprocessor@token_gather#entity": gather("entities_info", "entity"),
        "@subprocessor@token_gather#relation": gather("relations_info", "relation"),
        "@subprocessor@span_cls_relabel": {"vocab": "entity_vocab.json"},
        "@subprocessor@span_relation_relabel": {"label_seperate": separate},
    }
    types = "@_G.meta.relation_vocab.size"
    layers: Any = f"{types} @lambda n: 2 * (n - 1)" if separate else 2
    fit = {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "seed": 3,
        "@trainer@lightning": {"accelerator": "cpu", "max_epochs": epochs},
        "@datamodule@default": {
            "train_batch_size": 8,
            "predict_batch_size": 8,
            "@dataset@default": {
                "key_type_pairs": {
                    "input_ids": "long",
                    "unit_mask": "bool",
                    "span_cells": "long",
                    "relation_cells": "long",
                }
            },
            "@data_collate@span": {
                "gen_mask": {"input_ids": "attention_mask"},
                "matrices": {
                    "entity_ids": {"cells": "span_cells", "mask": "unit_mask", "triangle": True},
                    "relation_ids": {
                        "cells": "relation_cells",
                        "mask": "unit_mask",
                        "layers": layers,
                    },
                },
            },
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.token_vocab.size",
                    "embedding_dim": 32,
                },
                "@encoder@lstm": {"input_size": 32, "output_size": 64},
                "@decoder@multi_decoder": {
                    "@decoder@biaffine#entity": {
                        "input_size": 64,
                        "hidden_size": 32,
                        "output_size": "@lambda @_G.meta.entity_vocab.size",
                        "rotary": True,
                        "output_map": {"logits": "entity_logits"},
                    },
                    "@decoder@biaffine#relation": {
                        "input_size": 64,
                        "hidden_size": 32,
                        "output_size": 2 if separate else f"@lambda {types}",
                        "multi_matrix": layers,
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
            "@optimizer@adamw": {"lr": 1e-2},
            "@postprocessor@span_relation": {
                "label_vocab": "entity_vocab.json",
                "relation_groups": f"{types} @lambda n: n - 1" if separate else 1,
            },
        },
    }
    (folder / "process.jsonc").write_text(json.dumps({"@processor@default": process}))
    (folder / "fit.jsonc").write_text(json.dumps({"@fit": fit}))


@dataclass(frozen=True)
class Trained:
    bundle: Path
    result: RunResult


def train(folder: Path, *, separate: bool, epochs: int) -> Trained:
    """Process and train; the folder goes, and the bundle moves away from all that made it."""
    folder.mkdir()
    configs(folder, separate=separate, epochs=epochs)
    Process(folder / "process.jsonc").run({"train": ROWS, "valid": ROWS, "test": ROWS})
    (done,) = Train(folder / "fit.jsonc").run().runs
    assert done.state == "done", done.error
    moved = folder.parent / "elsewhere"
    shutil.move(done.bundle, moved)
    shutil.rmtree(folder)
    return Trained(moved, done)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("relations") / "task", separate=False, epochs=60)


def test_real_relations_are_learnt_by_heart(trained: Trained) -> None:
    found = trained.result.metrics
    assert found["test_ent_f1"] > 0.98
    assert found["test_rel_f1"] > 0.95
    assert found["test_rel_boundary_f1"] >= found["test_rel_f1"]
    assert found["test_rel_given_f1"] >= found["test_rel_f1"]


def test_a_sentence_has_its_words_and_dependencies(trained: Trained) -> None:
    """One sentence exactly: a prediction that a reader can check against the treebank."""
    sentence = "Birçok federasyonda takım kemerleri kazandılar."
    (answer,) = Server(trained.bundle).fit([{"sentence": sentence}])
    words = {e["entity_id"]: (e["text"], *e["labels"]) for e in answer["entities_info"]}
    assert list(words.values()) == [
        ("Birçok", "DET"),
        ("federasyonda", "NOUN"),
        ("takım", "NOUN"),
        ("kemerleri", "NOUN"),
        ("kazandılar", "VERB"),
        (".", "PUNCT"),
    ]
    (row,) = [row for row in ROWS if row["sentence"] == sentence]
    assert relations_of(answer) == relations_of(row)
    assert all(0 < relation["score"] <= 1 for relation in answer["relations_info"])


def test_evaluation_predict_and_server_say_the_same(trained: Trained) -> None:
    answers = Server(trained.bundle).fit(TEXTS)
    evaluated = Predict(trained.bundle).evaluate(ROWS).metrics
    for name, value in evaluated.items():
        if not name.endswith("loss"):
            assert value == trained.result.metrics[f"test_{name}"], name
    truth, found = [relations_of(row) for row in ROWS], [relations_of(row) for row in answers]
    hits = sum(len(a & b) for a, b in zip(truth, found, strict=True))
    assert evaluated["rel_precision"] == pytest.approx(hits / sum(map(len, found)))
    assert evaluated["rel_recall"] == pytest.approx(hits / sum(map(len, truth)))


def test_predictions_feed_back_as_data_and_are_right(trained: Trained) -> None:
    answers = Server(trained.bundle).fit(TEXTS)
    found = Predict(trained.bundle).evaluate(answers).metrics
    assert found["ent_f1"] == found["rel_f1"] == found["rel_given_f1"] == 1.0


def test_nothing_of_the_truth_is_asked_of_a_request(trained: Trained) -> None:
    server = Server(trained.bundle)
    assert server.inputs == ["sentence"]
    (empty, new) = server.fit([{"sentence": ""}, {"sentence": "hiç görülmemiş kelimeler"}])
    assert (empty["entities_info"], empty["relations_info"]) == ([], [])
    assert isinstance(new["relations_info"], list)


@pytest.mark.slow
def test_a_pair_of_matrices_for_each_type_learns_them_too(tmp_path: Path) -> None:
    found = train(tmp_path / "task", separate=True, epochs=100).result.metrics
    assert found["test_rel_f1"] > 0.95
