"""`dlk diff` and `dlk resolve` on a run as it was left."""

from __future__ import annotations

import json

import pytest

from dlk.cli import main
from dlk.config import jsonc
from tests.conftest import Trained


def test_a_run_is_compared_with_its_config(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    fit, run = str(trained.task.fit), trained.result.dir
    assert main(["diff", fit, run]) == 0
    capsys.readouterr()
    assert main(["diff", fit, run, "--set-a", "imodel.optimizer.lr=0.5"]) == 1
    assert capsys.readouterr().out == "changed    imodel.optimizer.lr: 0.5 -> 0.01\n"


def test_a_bundle_is_compared_with_either_config(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    for config in (trained.task.process, trained.task.fit):
        main(["diff", str(config), str(trained.bundle), "--json"])
        paths = [difference["path"] for difference in json.loads(capsys.readouterr().out)]
        # what a bundle changes are names of files, which lie inside of it
        assert [p for p in paths if not p.endswith(("_path", "_dir", "_file"))] == []


def test_numbers_that_process_learnt_are_shown_with_what_they_were_computed_from(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resolve", str(trained.task.fit), "--origins"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    (line,) = [line for line in said.out.splitlines() if '"vocab_size"' in line]
    assert "= @lambda @_G.meta.tokenizer.size" in line
    assert '"vocab_size": 1000000' not in line
    assert main(["resolve", str(trained.task.fit)]) == 0
    assert jsonc.parse(said.out).value == json.loads(capsys.readouterr().out)
