"""What the README shows works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dlk.cli import main
from tests.example_copies import copy_of, edited

if TYPE_CHECKING:
    from tests.conftest import Task

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(heading: str, language: str) -> list[str]:
    """Return the code blocks of one language in one section."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_first_example_s_commands_and_python_run(
    task: Task, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(task.folder)
    Path("new.jsonl").write_text('{"sentence": "Who wrote Hamlet ?"}\n', encoding="utf-8")
    (commands,) = blocks("First example", "bash")
    lines = [shlex.split(line) for line in commands.splitlines() if line.startswith("dlk ")]
    assert [line[1] for line in lines] == ["run", "evaluate", "predict"]
    for line in lines:
        assert main(line[1:]) == 0, capsys.readouterr().err
    (answer,) = Path("answers.jsonl").read_text(encoding="utf-8").splitlines()
    Path("answers.jsonl").unlink()

    (long_runs,), (packing,) = (
        blocks(name, "bash") for name in ("Large data, long runs", "Deploy")
    )
    lines = [shlex.split(line, comments=True) for line in (long_runs + packing).splitlines()]
    assert [line[1] for line in lines] == [
        "process",
        "process",
        "train",
        "bundle",
        "bundle",
        "export",
    ]
    for line in lines[:-1]:  # tests of their own export
        assert main(line[1:]) == 0, capsys.readouterr().err
    assert Path("trec.zip").is_file()

    (python,) = blocks("First example", "python")
    exec(compile(python, "README.md", "exec"), {})
    (again,) = Path("answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(again)["label"] == json.loads(answer)["label"]

    (serving,) = blocks("Deploy", "python")
    names: dict[str, object] = {}
    exec(compile(serving, "README.md", "exec"), names)
    assert list(Path("logs").iterdir())


def test_the_component_passes_the_kit_as_shown(tmp_path: Path) -> None:
    component, _plugin, test = blocks("Bring your own component", "python")
    (tmp_path / "test_mine.py").write_text(f"{component}\n\n{test}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= 10


def test_dlk_check_answers_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copy_of("text_cls", tmp_path, rows=False))
    edited(Path("fit.jsonc"), '"val_acc"', '"val_accc"')
    edited(Path("fit.jsonc"), '"embedding_dim": 384', '"embedding_dim": 256')
    assert main(["check", "process.jsonc", "fit.jsonc"]) != 0
    answered = capsys.readouterr()
    lines = [*answered.out.splitlines(), *answered.err.splitlines()]
    for page in ("README.md", "README_zh.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        (shown,) = re.findall(r"  \$ dlk check .*\n((?:  \S.*\n)+)  ```", text)
        said = [line.strip() for line in shown.splitlines()]
        assert len(said) == 3, page
        assert set(said) <= set(lines), page


def test_the_plugin_table_is_one() -> None:
    _component, plugin, _test = blocks("Bring your own component", "python")
    names: dict[str, object] = {}
    exec(compile(plugin, "README.md", "exec"), names)
    (row,) = names["dlk_components"]()  # type: ignore[operator]  # a function of the block
    assert (row.type, row.name) == ("encoder", "mine")


def test_the_commands_named_in_the_text_exist() -> None:
    from dlk.cli._app import COMMANDS

    named = set(re.findall(r"`dlk ([a-z]+)", README)) | set(re.findall(r"^dlk ([a-z]+)", README))
    assert named
    assert named <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)`", README)) | {"demo", "test"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
