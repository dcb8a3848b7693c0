"""Tasks beside classification of one text, each from rows to a bundle that serves elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.errors import DataError
from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.registry import register
from dlk.server import Server
from dlk.train import RunResult, Train

if TYPE_CHECKING:
    from tests.conftest import Task

Config = dict[str, Any]
Rows = list[dict[str, Any]]
LABELS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
GATHER = {
    "@subprocessor@token_gather": {
        "gather_columns": ["labels"],
        "token_vocab": "label_vocab.json",
        "pad": None,
        "unk": None,
    }
}
LABEL_IDS: Config = {"@subprocessor@token2id-label": {}}


def questions(task: Task, split: str) -> Rows:
    lines = Path(task.data(split)).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def train(
    task: Task,
    *,
    steps: Config,
    data: Any,
    columns: dict[str, str],
    imodel: Config,
    epochs: int = 12,
    collate: Config | None = None,
) -> tuple[Path, RunResult]:
    """Process and train; return the result, and its bundle moved away from all that made it."""
    padded = {name: 0 for name, kind in columns.items() if name in ("input_ids", "type_ids")}
    process = {"processed_data_dir": "processed", **steps}
    fit = {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "seed": 3,
        "@trainer@lightning": {"accelerator": "cpu", "max_epochs": epochs},
        "@datamodule@default": {
            "train_batch_size": 8,
            "predict_batch_size": 5,
            "@dataset@default": {"key_type_pairs": columns},
            "@data_collate@default": {
                "key_padding_pairs": padded,
                "gen_mask": {"input_ids": "attention_mask"},
                **(collate or {}),
            },
        },
        "@imodel@default": {"@optimizer@adamw": {"lr": 1e-2}, **imodel},
    }
    task.process.write_text(json.dumps({"@processor@default": process}))
    task.fit.write_text(json.dumps({"@fit": fit}))
    Process(task.process).run(data)
    done: RunResult = Train(task.fit).run().runs[0]
    moved = task.folder.parent / "elsewhere"
    shutil.move(done.bundle, moved)
    shutil.rmtree(task.folder)
    return moved, done


def model(output_size: Any, embedding: Config | None = None) -> Config:
    table = {"vocab_size": "@lambda @_G.meta.tokenizer.size", "embedding_dim": 16}
    return {
        **(embedding or {"@embedding@random": table}),
        "@decoder@linear": {"input_size": 16, "output_size": output_size, "pool": "mean"},
    }


def tokenizer(**options: Any) -> Config:
    return {"@subprocessor@fast_tokenizer": {"tokenizer_path": "tokenizer.json", **options}}


def test_a_number_per_text_from_a_frame(task: Task) -> None:
    rows = [
        {"sentence": row["sentence"], "values": LABELS.index(row["labels"]) / 2}
        for row in questions(task, "train")
    ]
    bundle, done = train(
        task,
        steps=tokenizer(),
        data={"train": pd.DataFrame(rows), "valid": rows, "test": rows},
        columns={"input_ids": "long", "values": "float"},
        imodel={
            "@model@basic": model(1),
            "@loss@mse": {"pred_truth_pair": {"logits": "values"}},
            "@postprocessor@txt_reg": {},
        },
    )
    assert done.metrics["test_pearson"] > 0.8
    assert done.metrics["test_mse"] == pytest.approx(done.metrics["test_loss"], rel=1e-5)
    server = Server(bundle)
    assert server.inputs == ["sentence"]
    answers = server.fit(pd.DataFrame(rows))
    found = Predict(bundle).evaluate(rows).metrics
    errors = [answer["value"] - row["values"] for answer, row in zip(answers, rows, strict=True)]
    assert found["mse"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
    assert found["mse"] == pytest.approx(done.metrics["test_mse"], rel=1e-5)


def test_a_label_per_pair_of_texts(task: Task) -> None:
    one = questions(task, "train")
    rows = [
        {
            "sentence_a": a["sentence"],
            "sentence_b": b["sentence"],
            "labels": "same" if a["labels"] == b["labels"] else "other",
        }
        for a, b in zip(one, [*one[1:], one[0]], strict=True)
    ]
    bundle, done = train(
        task,
        steps={**tokenizer(input_type="pair"), **GATHER, **LABEL_IDS},
        data={"train": rows, "valid": rows},
        columns={"input_ids": "long", "type_ids": "long", "label_ids": "long"},
        imodel={
            "@model@basic": model("@lambda @_G.meta.label_vocab.size"),
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json", "data_type": "pair"},
        },
    )
    server = Server(bundle)
    assert server.inputs == ["sentence_a", "sentence_b"]
    answers = server.fit([{key: row[key] for key in server.inputs} for row in rows])
    right = [answer["label"] == row["labels"] for answer, row in zip(answers, rows, strict=True)]
    assert np.mean(right) == pytest.approx(done.metrics["val_acc"])
    assert np.mean(right) > np.mean([row["labels"] == "other" for row in rows]) > 0.5
    assert [answer["sentence_b"] for answer in answers] == [row["sentence_b"] for row in rows]


def test_any_number_of_labels_per_text(task: Task) -> None:
    # A second label wherever a question has a long word; a few questions have none at all.
    rows = [
        {
            "sentence": row["sentence"],
            "labels": [row["labels"]] * (number % 7 > 0) + ["LONG"] * (len(row["sentence"]) > 45),
        }
        for number, row in enumerate(questions(task, "train"))
    ]
    bundle, done = train(
        task,
        steps={**tokenizer(), **GATHER, **LABEL_IDS},
        data={"train": rows, "valid": rows},
        columns={"input_ids": "long", "label_ids": "long"},
        collate={"key_multi_hot": {"label_ids": "@lambda @_G.meta.label_vocab.size"}},
        epochs=60,
        imodel={
            "@model@basic": model("@lambda @_G.meta.label_vocab.size"),
            "@loss@bce": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json", "multi_label": True},
        },
    )
    server = Server(bundle)
    assert server.inputs == ["sentence"]
    answers = server.fit([{"sentence": row["sentence"]} for row in rows])
    right = [
        set(answer["labels"]) == set(row["labels"])
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert np.mean(right) == pytest.approx(done.metrics["val_acc"])
    assert np.mean(right) > 0.6
    assert done.metrics["val_f1_micro"] <= done.metrics["val_f1_micro_best"]
    found = Predict(bundle).evaluate(rows).metrics
    assert found["f1_micro_best"] == pytest.approx(done.metrics["val_f1_micro_best"])


def test_thousands_of_labels_stay_short_on_disk_and_rows_may_have_none(task: Task) -> None:
    names = [f"label {number}" for number in range(3000)]
    train_rows = [
        {"sentence": "Who ?", "labels": [names[number], names[number * 7 % 3000]]}
        for number in range(3000)
    ]
    none = [{"sentence": "Who ?", "labels": []}]
    task.process.write_text(
        json.dumps(
            {"@processor@default": {"processed_data_dir": "processed", **GATHER, **LABEL_IDS}}
        )
    )
    done = Process(task.process).run(
        {"train": train_rows, "valid": none, "test": train_rows[:1] + none}
    )
    assert sum(file.stat().st_size for file in Path(done.dir).rglob("*.arrow")) < 300_000
    config = {
        "@dataset@default": {"key_type_pairs": {"label_ids": "long"}},
        "@data_collate@default": {"key_multi_hot": {"label_ids": 3000}},
    }
    setup = Setup(meta=Meta.load(done.dir))
    datamodule = register.build(make("datamodule", "default", config), setup)
    datamodule.open(done.dir)
    batches = {split: next(iter(datamodule.loader(split))) for split in ("train", "valid", "test")}
    assert batches["train"]["label_ids"].shape == (32, 3000)
    assert batches["valid"]["label_ids"].sum() == 0
    assert batches["test"]["label_ids"].sum(-1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("bad_rows", ["stop", "reject"])
def test_a_label_that_training_never_saw_is_a_bad_row_with_the_nearest_names(
    task: Task, bad_rows: str
) -> None:
    rows = questions(task, "train")
    later = [*rows[:3], {"sentence": "Who ?", "labels": "HUMM"}]
    steps = {**tokenizer(), **GATHER, **LABEL_IDS}
    config = {"processed_data_dir": "processed", "bad_rows": bad_rows, **steps}
    task.process.write_text(json.dumps({"@processor@default": config}))
    process = Process(task.process)
    says = "'HUMM' is not in the vocabulary. Did you mean \"HUM\"?"
    if bad_rows == "stop":
        with pytest.raises(DataError, match=r"valid.*3") as caught:
            process.run({"train": rows, "valid": later})
        assert says in str(caught.value)
    else:
        done = process.run({"train": rows, "valid": later})
        assert done.rejects == {"train": 0, "valid": 1}
        (line,) = (Path(done.dir) / "valid" / "rejects.jsonl").read_text("utf-8").splitlines()
        assert says in json.dumps(json.loads(line), ensure_ascii=False).replace('\\"', '"')


def test_a_table_of_vectors_is_in_the_bundle(task: Task) -> None:
    size = 300
    np.save(task.folder / "vectors.npy", np.random.default_rng(0).normal(size=(size, 16)))
    static = {"embedding_file": "vectors.npy", "embedding_dim": 16, "vocab_size": size}
    rows = questions(task, "train")
    bundle, done = train(
        task,
        steps={**tokenizer(), **GATHER, **LABEL_IDS},
        data={"train": rows, "valid": rows},
        columns={"input_ids": "long", "label_ids": "long"},
        imodel={
            "@model@basic": model(
                "@lambda @_G.meta.label_vocab.size", {"@embedding@static": static}
            ),
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@postprocessor@txt_cls": {"label_vocab": "label_vocab.json"},
        },
    )
    assert Predict(bundle).evaluate(rows).metrics["acc"] == pytest.approx(done.metrics["val_acc"])
