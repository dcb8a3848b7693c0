"""Tiny trainings of the examples' configs: what they predict, to the digit, on every path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlk.predict import Predict
from dlk.server import Server
from dlk.train import RunResult
from scripts import golden
from scripts.golden import FIXTURES, GOLDENS, TOLERANCE, Golden, differences

ELSEWHERE = {"sequence_labeling"}  # in tests/test_sequence_labeling.py, of one training with others


@dataclass(frozen=True)
class Trained:
    """A golden run."""

    golden: Golden
    result: RunResult

    @property
    def bundle(self) -> Path:
        return Path(self.result.bundle)


@pytest.fixture(scope="module", params=sorted(set(GOLDENS) - ELSEWHERE))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    chosen = GOLDENS[request.param]
    return Trained(chosen, chosen.train(tmp_path_factory.mktemp("golden") / "task"))


def test_a_golden_run_predicts_what_is_written(trained: Trained) -> None:
    """Renew by ``python -m scripts.golden`` where a change is meant; read the difference."""
    expected = json.loads(trained.golden.file.read_text(encoding="utf-8"))
    assert differences(trained.golden.found(trained.result), expected) == []


def test_its_evaluation_prediction_and_serving_agree(trained: Trained) -> None:
    texts = trained.golden.texts("test")
    predict, server = Predict(trained.bundle), Server(trained.bundle)
    assert server.inputs == list(texts[0])
    served = server.fit(texts)
    assert predict.run(texts) == served
    assert differences([server.fit(text) for text in texts], served) == []
    found = predict.evaluate(trained.golden.rows("test"))
    assert found.rows == len(texts)
    assert {f"test_{name}" for name in found.metrics} <= set(trained.result.metrics)
    for name, value in found.metrics.items():
        assert value == pytest.approx(trained.result.metrics[f"test_{name}"], abs=1e-6), name


def test_its_files_are_those_of_the_golden_runs() -> None:
    files = {file.stem for file in (FIXTURES / "golden").iterdir()}
    assert files == set(GOLDENS)


def test_what_differs_is_told_with_its_place() -> None:
    one = {"score": 0.5, "labels": ["a", "b"], "entities_info": [{"start": 1, "score": 1.0}]}
    near, far = 0.5 + TOLERANCE / 2, 0.5 + 2 * TOLERANCE
    assert differences(one | {"score": near}, one) == []
    assert differences(one | {"score": far}, one) == [f".score: expected 0.5, found {far}"]
    assert differences({"e": [{"start": 1}]}, {"e": [{"start": 2}]}) == [
        ".e[0].start: expected 2, found 1"
    ]
    assert differences(["a"], ["a", "b"]) == [": expected ['a', 'b'], found ['a']"]
    assert differences({"a": 1}, {"b": 1}) == [": expected {'b': 1}, found {'a': 1}"]


def test_the_command_writes_the_runs_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "golden").mkdir()
    monkeypatch.setattr(golden, "FIXTURES", tmp_path)
    monkeypatch.setattr(Golden, "train", lambda self, folder: self.name)
    monkeypatch.setattr(Golden, "found", lambda self, done: {"of": done})
    golden.main(["span_cls", "text_reg"])
    written = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "golden").iterdir()}
    assert written == {name: {"of": name} for name in ("span_cls", "text_reg")}
    with pytest.raises(SystemExit, match="2"):
        golden.main(["span_class"])
