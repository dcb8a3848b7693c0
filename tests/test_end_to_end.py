"""One task from configs to served predictions: every path to a prediction gives the same one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from dlk.predict import Predict
from dlk.server import Server

if TYPE_CHECKING:
    from tests.conftest import Task, Trained

Prediction = dict[str, Any]


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def inputs(path: str) -> list[dict[str, Any]]:
    """Return the rows as a client sends them: without the truth."""
    return [{"sentence": row["sentence"]} for row in rows(path)]


def same(one: list[Prediction], other: list[Prediction]) -> None:
    """Assert equal labels, and scores within what another batch may change."""
    assert [p["label"] for p in one] == [p["label"] for p in other]
    assert [p["score"] for p in one] == pytest.approx([p["score"] for p in other], abs=1e-6)


def test_training_learns_the_questions_it_saw(task: Task) -> None:
    done = task.run("trainer.callback.monitor=null")  # 12 others may like another epoch best
    found = Server(done.bundle).fit(inputs(task.data("train")))
    truth = [row["labels"] for row in rows(task.data("train"))]
    right = sum(p["label"] == label for p, label in zip(found, truth, strict=True))
    assert right >= 55  # of 60


def test_evaluation_of_the_run_and_of_the_bundle_agree(trained: Trained) -> None:
    found = Predict(trained.bundle).evaluate(trained.task.data("test"))
    assert found.rows == 12
    assert found.metrics["acc"] == pytest.approx(trained.result.metrics["test_acc"])
    assert found.metrics["f1_macro"] == pytest.approx(trained.result.metrics["test_f1_macro"])


def test_the_metric_is_what_counting_the_answers_gives(trained: Trained) -> None:
    found = Server(trained.bundle).fit(inputs(trained.task.data("test")))
    truth = [row["labels"] for row in rows(trained.task.data("test"))]
    right = sum(p["label"] == label for p, label in zip(found, truth, strict=True))
    assert right / len(truth) == pytest.approx(trained.result.metrics["test_acc"])


def test_predict_and_server_give_the_same_bits_for_the_same_batch(trained: Trained) -> None:
    data = inputs(trained.task.data("test"))
    assert Predict(trained.bundle).run(data) == Server(trained.bundle).fit(data)


def test_a_row_alone_gets_what_it_gets_among_others(trained: Trained) -> None:
    data = inputs(trained.task.data("test"))
    server = Server(trained.bundle)
    same([server.fit(row) for row in data], server.fit(data))


def test_rows_columns_frame_and_file_are_one_input(trained: Trained, tmp_path: Path) -> None:
    data = inputs(trained.task.data("test"))
    predict = Predict(trained.bundle)
    expected = predict.run(data)
    assert predict.run(pd.DataFrame(data)) == expected
    assert Server(trained.bundle).fit(pd.DataFrame(data)) == expected
    assert predict.run({"sentence": [row["sentence"] for row in data]}) == expected
    predict.run(trained.task.data("test"), output=tmp_path / "answers.jsonl")
    same(rows(str(tmp_path / "answers.jsonl")), expected)


def test_threads_get_their_own_answers(trained: Trained) -> None:
    data = inputs(trained.task.data("train"))
    server = Server(trained.bundle)
    with ThreadPoolExecutor(8) as pool:
        same(list(pool.map(server.fit, data)), server.fit(data))


def test_a_bundle_serves_elsewhere_with_data_and_tokenizer_gone(
    trained: Trained, tmp_path: Path
) -> None:
    data = inputs(trained.task.data("test"))
    expected = Server(trained.bundle).fit(data)
    whole = shutil.copytree(trained.task.folder, tmp_path / "task")
    moved = shutil.move(whole / "logs" / trained.result.name / "bundle", tmp_path / "moved")
    shutil.rmtree(whole)
    assert Server(moved).fit(data) == expected


def test_configs_and_checkpoint_serve_as_the_bundle_does(trained: Trained) -> None:
    data = inputs(trained.task.data("test"))
    (best,) = (Path(trained.result.dir) / "checkpoint").glob("epoch*.ckpt")
    server = Server(trained.task.process, trained.task.fit, best)
    assert server.fit(data) == Server(trained.bundle).fit(data)


def test_serving_loads_no_lightning_no_datasets_and_no_pandas(trained: Trained) -> None:
    code = (
        "import sys; from dlk.server import Server\n"
        f"print(Server({str(trained.bundle)!r}).fit({{'sentence': 'Who is it ?'}})['label'])\n"
        "heavy = {'lightning', 'pytorch_lightning', 'datasets', 'pandas', 'transformers'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_same_seed_gives_the_same_weights(trained: Trained, task: Task) -> None:
    again = task.run()
    assert again.metrics == trained.result.metrics
    first, second = (Path(r.bundle) / "model.safetensors" for r in (trained.result, again))
    assert first.read_bytes() == second.read_bytes()
