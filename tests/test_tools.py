"""`dlk diff` and `dlk resolve` on a run as it was left, and on all shipped configs."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dlk.cli import main
from dlk.cli._configs import read
from dlk.config import jsonc
from dlk.config.difference import differences
from dlk.config.origins import annotated, sources
from tests.conftest import Trained

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = sorted(
    path
    for pattern in ("examples/*/*.jsonc", "tests/fixtures/*/*.jsonc")
    for path in ROOT.glob(pattern)
    if path.name[0] != "."
)


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


@functools.cache
def places(file: str) -> tuple[Any, dict[tuple[int, int], Any]]:
    """A file's value, and the path of what starts at each line and column."""
    document = jsonc.read(file)
    return document.value, {(p.line, p.column): path for path, p in document.values.items()}


def standing_at(file: str, line: int, column: int) -> Any:
    """The value that starts at a place of a file."""
    here, paths = places(file)
    path = paths[line, column]
    for part in path:
        here = here[part]
    return here


@pytest.mark.parametrize("config", CONFIGS, ids=lambda file: str(file.relative_to(ROOT)))
def test_where_values_come_from_is_where_they_stand(config: Path) -> None:
    (point,) = read(str(config)).loaded
    assert jsonc.parse(annotated(point)).value == point.resolved
    assert differences(point.resolved, point.resolved) == []
    found = sources(point)
    assert {source.kind for source in found} <= {"text", "base", "default"}
    for source in found:
        if source.kind == "default":
            assert source.owner
            continue
        written = standing_at(source.file, source.line, source.column)
        if source.expression:
            assert written == source.expression
        elif isinstance(written, str) and written != source.value:  # a file's name, now absolute
            folder = os.path.dirname(os.path.abspath(source.file))
            assert source.value == os.path.normpath(os.path.join(folder, written))
        else:
            assert written == source.value
