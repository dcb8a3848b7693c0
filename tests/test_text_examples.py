"""The examples of matching and regression: their configs, from rows to a bundle that serves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.table import Table
from transformers import BertConfig, BertModel

from dlk.cli import main as dlk
from dlk.predict import Predict
from dlk.preprocess import Process
from dlk.server import Server
from dlk.train import RunResult, Train
from examples import end_to_end
from examples.text_cls.variants import FINE, MULTI, SMS, Changes

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "trec"
Rows = list[dict[str, Any]]


def questions() -> Rows:
    lines = (FIXTURE / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def folder_of(name: str, target: Path) -> Path:
    """Return a copy of an example with a small model of no knowledge in the place of MiniLM."""
    leftovers = shutil.ignore_patterns("data", "processed", "logs", "__pycache__")
    folder = shutil.copytree(ROOT / "examples" / name, target / name, ignore=leftovers)
    small = BertConfig(
        vocab_size=300, hidden_size=384, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=128,
    )  # fmt: skip
    model = folder / "data" / "minilm"
    BertModel(small).save_pretrained(model)
    shutil.copy(FIXTURE / "tokenizer.json", model)
    return folder


def trained(
    folder: Path, rows: Rows, *, process: str = "process.jsonc", fit: str = "fit.jsonc", epochs: int
) -> tuple[Path, RunResult]:
    """Train; return the bundle, moved away from all that made it, and the result."""
    Process(folder / process).run(dict.fromkeys(("train", "valid", "test"), rows))
    (done,) = Train(folder / fit, overrides=[f"trainer.max_epochs={epochs}"]).run().runs
    assert done.state == "done", done.error
    bundle = folder.parent / "elsewhere"
    shutil.move(done.bundle, bundle)
    shutil.rmtree(folder)
    return bundle, done


@pytest.mark.parametrize("changes", [FINE, SMS], ids=["fine", "sms"])
def test_the_variants_of_text_cls_fit_their_configs(changes: Changes, tmp_path: Path) -> None:
    folder = folder_of("text_cls", tmp_path)
    for name, overrides in (("process", changes["process_set"]), ("fit", changes["fit_set"])):
        options = [word for override in overrides for word in ("--set", override)]
        assert dlk(["check", str(folder / f"{name}.jsonc"), *options]) == 0


def test_the_fine_variant_learns_the_fine_labels(tmp_path: Path) -> None:
    rows = [{**row, "fine": f"{row['labels']}:{n % 2}"} for n, row in enumerate(questions())]
    folder = folder_of("text_cls", tmp_path)
    done = Process(folder / "process.jsonc", overrides=FINE["process_set"]).run({"train": rows})
    assert done.meta["label_vocab"]["size"] == len({row["fine"] for row in rows})


def test_the_multi_variant_serves_with_the_threshold_that_validation_found(tmp_path: Path) -> None:
    rows = [
        {"sentence": row["sentence"], "labels": [row["labels"]] * (number % 3 > 0)}
        for number, row in enumerate(questions())
    ]
    folder = folder_of("text_cls", tmp_path)
    bundle, done = trained(folder, rows, epochs=2, **MULTI)
    threshold = done.found["imodel.postprocessor.threshold"]
    answers = Server(bundle).fit([{"sentence": row["sentence"]} for row in rows])
    given = [answer["labels"] for answer in answers]
    assert given == [
        [one["label"] for one in answer["predicts"] if one["score"] >= np.float32(threshold)]
        for answer in answers
    ]
    found = Predict(bundle).evaluate(rows).metrics
    assert found["f1_micro"] == pytest.approx(done.metrics["test_f1_micro"])
    assert found["f1_micro"] == pytest.approx(found["f1_micro_best"])  # here both splits are one


def pairs() -> Rows:
    """Questions with themselves in other words, and with the next one."""
    texts = [row["sentence"] for row in questions()]
    made = []
    for number, text in enumerate(texts):
        is_match = number % 3 == 0
        other = text.rstrip(" ?") if is_match else texts[(number + 1) % len(texts)]
        row = {"sentence_a": text, "sentence_b": other, "match": int(is_match)}
        row |= {"id_a": number, "id_b": number if is_match else number + 1}
        made.append({**row, "labels": "match" if is_match else "no"})
    return made


@pytest.mark.parametrize("kind", ["cross", "bi"])
def test_evaluation_prediction_and_serving_of_a_matcher_agree(kind: str, tmp_path: Path) -> None:
    rows = pairs()
    bundle, done = trained(
        folder_of("text_match", tmp_path),
        rows,
        process=f"process_{kind}.jsonc",
        fit=f"fit_{kind}.jsonc",
        epochs=3,
    )
    server = Server(bundle)
    assert server.inputs == ["sentence_a", "sentence_b"]
    texts = [{key: row[key] for key in server.inputs} for row in rows]
    served, predicted = server.fit(texts), Predict(bundle).run(texts)
    assert isinstance(predicted, list)
    assert [answer["label"] for answer in served] == [answer["label"] for answer in predicted]
    assert [answer["score"] for answer in served] == pytest.approx(
        [answer["score"] for answer in predicted], abs=1e-5
    )
    right = [answer["label"] == row["labels"] for answer, row in zip(served, rows, strict=True)]
    found = Predict(bundle).evaluate(rows).metrics
    assert np.mean(right) == pytest.approx(found["acc"]) == pytest.approx(done.metrics["test_acc"])
    assert found["f1"] == pytest.approx(done.metrics["test_f1"])
    if kind == "bi":  # texts that share their words are near without any training
        assert found["auc"] > 0.9
        (one,) = server.fit([{"sentence_a": "", "sentence_b": "Who ?"}])
        assert one["label"] in {"match", "no"}


def test_evaluation_prediction_and_serving_of_a_rating_agree_in_its_own_unit(
    tmp_path: Path,
) -> None:
    rows = [
        {"sentence": row["sentence"], "values": len(row["sentence"]) / 10 - 4, "domain": "x"}
        for row in questions()
    ]
    bundle, done = trained(folder_of("text_reg", tmp_path), rows, epochs=3)
    server = Server(bundle)
    assert server.inputs == ["sentence"]
    served = server.fit([{"sentence": row["sentence"]} for row in rows])
    values = np.array([answer["value"] for answer in served])
    assert values.min() > -4
    assert values.max() < 4
    truth = np.array([row["values"] for row in rows])
    found = Predict(bundle).evaluate(rows).metrics
    assert np.square(values - truth).mean() == pytest.approx(found["mse"], rel=1e-4)
    assert found["mse"] == pytest.approx(done.metrics["test_loss"], rel=1e-4)
    assert found["pearson"] == pytest.approx(done.metrics["test_pearson"], abs=1e-5)


def wordy(name: str, fixture: str, target: Path, fit: str) -> Path:
    """Return a copy of an example with a fixture's rows, and a table of words for MiniLM."""
    leftovers = shutil.ignore_patterns("data", "processed", "logs", "__pycache__")
    folder = shutil.copytree(ROOT / "examples" / name, target / name, ignore=leftovers)
    shutil.copytree(FIXTURE.parent / fixture, folder / "data")
    (folder / "data" / "minilm").mkdir()
    shutil.move(folder / "data" / "tokenizer.json", folder / "data" / "minilm")
    words = '"@embedding@random": {"vocab_size": 2000, "embedding_dim": 384}'
    text = (folder / fit).read_text(encoding="utf-8")
    changed, count = re.subn(r'"@embedding@bert_like": \{.*?\n +\}', words, text, flags=re.DOTALL)
    assert count == 1
    (folder / fit).write_text(changed, encoding="utf-8")
    return folder


def test_a_variant_keeps_its_data_runs_and_answers_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = wordy("text_reg", "ratings", tmp_path, "fit.jsonc")
    put: list[tuple[list[str], Path]] = []

    def put_all(names: list[str], place: Path) -> None:
        put.append((names, place))
        if names == ["vader"]:
            shutil.copytree(FIXTURE.parent / "ratings", place)

    monkeypatch.setattr(end_to_end, "put_all", put_all)
    done = end_to_end.run(
        folder,
        ["vader", "minilm"],
        ["I love it."],
        measures={"pearson": "test_pearson"},
        variant="short",
        fit_set=["trainer.max_epochs=1"],
        further=lambda run: Table("further", run.name),
    )
    assert put == [(["minilm"], folder / "data"), (["vader"], folder / "data" / "short")]
    assert (folder / "processed" / "short" / "meta").is_dir()
    assert Path(done.bundle).is_relative_to(folder / "logs" / "short")
    printed = capsys.readouterr().out
    assert "further" in printed
    summary = json.loads(printed.splitlines()[-1])
    assert summary["pearson"] == round(done.metrics["test_pearson"], 4)
    assert re.search(r"I love it\. +│ -?\d\.\d{3} ", printed)
