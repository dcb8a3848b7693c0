from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlk.plugin import FitFacts, FitOutcome, RequestFacts, RequestOutcome
from dlk_run_log import plugin


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLK_RUN_LOG", str(tmp_path / "log.jsonl"))
    return tmp_path / "log.jsonl"


def test_a_run_is_two_lines(log: Path) -> None:
    facts = FitFacts("0", "logs/0", {"lr": 0.1}, {})
    plugin.dlk_before_fit(facts)
    plugin.dlk_after_fit(facts, FitOutcome(2.5, metrics={"val_acc": 0.9}))
    begins, ended = [json.loads(line) for line in log.read_text().splitlines()]
    assert (begins["event"], begins["parameters"]) == ("run begins", {"lr": 0.1})
    assert (ended["event"], ended["metrics"]) == ("run ended", {"val_acc": 0.9})


def test_a_failure_is_told(log: Path) -> None:
    plugin.dlk_after_request(RequestFacts(2), RequestOutcome(0.1, "DataError: no rows"))
    assert json.loads(log.read_text())["error"] == "DataError: no rows"
