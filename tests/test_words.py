"""Models over words and characters: from a file of vectors to a bundle that needs none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import Train

if TYPE_CHECKING:
    from tests.conftest import Task

Config = dict[str, Any]

STEPS: Config = {
    "@subprocessor@pre_tokenize": {},
    "@subprocessor@token_gather#words": {"gather_columns": ["tokens"]},
    "@subprocessor@token_embedding": {
        "embedding_file": "vectors.txt",
        "embedding_size": 16,
        "vocab": "token_vocab.json",
        "extend_vocab": None,
    },
    "@subprocessor@token_norm": {"vocab": "token_vocab.json"},
    "@subprocessor@token2id": {
        "input_map": {"tokens": "norm_tokens"},
        "output_map": {"token_ids": "input_ids"},
    },
    "@subprocessor@char_gather": {"gather_columns": ["tokens"]},
    "@subprocessor@token2charid": {},
    "@subprocessor@token_gather#labels": {
        "gather_columns": ["labels"],
        "token_vocab": "label_vocab.json",
        "pad": None,
        "unk": None,
    },
    "@subprocessor@token2id-label": {},
}
WORD: Config = {
    "vocab_size": "@lambda @_G.meta.token_embedding.size",
    "embedding_dim": "@lambda @_G.meta.token_embedding.dim",
    "embedding_meta": "token_embedding.npy",
    "freeze": True,
}
CHAR: Config = {
    "vocab_size": "@lambda @_G.meta.char_vocab.size",
    "embedding_dim": 8,
    "kernel_sizes": [1, 3],
}


def train(task: Task, embedding: Config, width: int) -> Path:
    """Process and train; return the bundle, moved away from all that made it."""
    text = Path(task.data("train")).read_text(encoding="utf-8")
    words = sorted({word.lower() for line in text.splitlines() for word in _words(line)})
    drawn = np.random.default_rng(0).normal(size=(len(words), 16)).round(3)
    rows = dict(zip(words, drawn, strict=True))
    rows["whosoever"] = rows["who"]  # a word that no question has, beside one that many have
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items()]
    (task.folder / "vectors.txt").write_text("".join(lines), encoding="utf-8")
    process = {"processed_data_dir": "processed", **STEPS}
    columns = {"input_ids": "long", "char_ids": "long", "label_ids": "long"}
    fit = {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "seed": 3,
        "@trainer@lightning": {"accelerator": "cpu", "max_epochs": 8},
        "@datamodule@default": {
            "train_batch_size": 8,
            "@dataset@default": {"key_type_pairs": columns},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0},
                "key_padding_pairs_2d": {"char_ids": 0},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": {
            "@optimizer@adamw": {"lr": 1e-2},
            "@model@basic": {
                **embedding,
                "@decoder@linear": {
                    "input_size": width,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "pool": "mean",
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json"},
        },
    }
    task.process.write_text(json.dumps({"@processor@default": process}))
    task.fit.write_text(json.dumps({"@fit": fit}))
    Process(task.process).run({split: task.data(split) for split in ("train", "valid")})
    assert (task.folder / "processed" / "meta" / "token_embedding.npy").is_file()
    done = Train(task.fit).run().runs[0]
    moved = task.folder.parent / "elsewhere"
    shutil.move(done.bundle, moved)
    shutil.rmtree(task.folder)
    return moved


def _words(line: str) -> list[str]:
    found: list[str] = json.loads(line)["sentence"].split()
    return found


def test_words_unseen_in_training_are_served_by_their_vectors(task: Task) -> None:
    bundle = train(task, {"@embedding@static": WORD}, 16)
    assert sorted(path.name for path in (bundle / "meta").iterdir()) == [
        "char_vocab.json",
        "label_vocab.json",
        "meta.json",
        "token_vocab.json",
    ]
    server = Server(bundle)
    assert server.inputs == ["sentence"]
    known, unseen, rewritten, unknown = server.fit(
        [
            {"sentence": f"{word} was the president ?"}
            for word in ("who", "whosoever", "WHOSOEVER", "x")
        ]
    )
    assert known["predicts"] == unseen["predicts"] == rewritten["predicts"]
    assert unknown["predicts"] != known["predicts"]


def test_words_and_characters_learn_together_and_every_path_agrees(task: Task) -> None:
    rows = [json.loads(line) for line in Path(task.data("train")).read_text("utf-8").splitlines()]
    embedding = {
        "@embedding@combine_word_char_cnn": {
            "@embedding@static#word": {**WORD, "freeze": False},
            "@embedding@static_char_cnn#char": CHAR,
            "dropout": 0.1,
        }
    }
    bundle = train(task, embedding, 24)
    answers = Server(bundle).fit([{"sentence": row["sentence"]} for row in rows])
    right = [answer["label"] == row["labels"] for answer, row in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.8
    assert Predict(bundle).evaluate(rows).metrics["acc"] == pytest.approx(np.mean(right))
    empty, short = Server(bundle).fit([{"sentence": ""}, {"sentence": "?"}])
    assert empty["label"]
    assert short["label"]
