"""`docs/plugins.md` is followed word by word: from an empty folder to a trained model."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlk.testing
from dlk.components import dlk_components as core_components
from dlk.nlp.components import dlk_components as nlp_components
from dlk.plugin import Hooks
from tests.installed import Installed

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
TUTORIAL = PAGE.split("\n## Write a plugin in ten minutes\n")[1].split("\n## ")[0]
BLOCK = re.compile(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def steps() -> Iterator[tuple[str, str]]:
    """Yield what to do, in order: ("file name", its text), or ("", a command)."""
    for name, language, text in BLOCK.findall(TUTORIAL):
        if language == "bash":
            assert not name
            yield from (("", line) for line in text.splitlines() if line)
        else:
            assert name, f"a block of {language} without a file name"
            yield name, text


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the page was followed, and what each command wrote to stdout."""
    folder = tmp_path_factory.mktemp("page")
    project = folder / "project"
    project.mkdir()
    installed = Installed(folder / "site")
    said = {}
    for name, text in steps():
        if name:
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text, encoding="utf-8")
            continue
        program, *rest = shlex.split(text)
        if program == "pip":
            assert rest == ["install", "-e", "dlk-unit"]
            installed.add(project / "dlk-unit")
            continue
        done = run(installed, program, rest, project)
        assert done.returncode == 0, text + done.stdout + done.stderr
        said[text] = done.stdout
    return project, said


def run(
    installed: Installed, program: str, rest: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    assert program in ("dlk", "python"), program
    command = ["-m", "dlk.cli", *rest] if program == "dlk" else rest
    return installed.run(*command, cwd=folder)


def test_the_plugin_is_shown(followed: tuple[Path, dict[str, str]]) -> None:
    folder, said = followed
    (line,) = [line for line in said["dlk plugins"].splitlines() if "dlk-unit" in line]
    assert line.split()[:4] == ["unit", "dlk-unit", "0.1.0", "loaded"]
    assert "length that each vector has" in said["dlk list embedding unit"]
    source = folder / "dlk-unit" / "src" / "dlk_unit" / "unit.py"
    assert f"class     {source}:8\n" in said["dlk why embedding unit"]


def test_the_kit_passes(followed: tuple[Path, dict[str, str]]) -> None:
    tested = followed[1]["python -m pytest -q dlk-unit/tests"]
    assert re.search(r"^1[0-9] passed", tested, re.MULTILINE)


def test_the_model_is_trained_with_the_plugin_s_embedding(
    followed: tuple[Path, dict[str, str]],
) -> None:
    folder, _ = followed
    run_dir = folder / "logs" / "0"
    needs = json.loads((run_dir / "bundle" / "bundle.json").read_text())["needs"]
    (unit,) = [need for need in needs if need["name"] == "unit"]
    assert (unit["distribution"], unit["version"]) == ("dlk-unit", "0.1.0")
    assert json.loads((run_dir / "result.json").read_text())["metrics"]["test_acc"] == 1.0
    answers = (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    truth = (folder / "data" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    for answer, row in zip(answers, truth, strict=True):
        assert json.loads(answer)["label"] == json.loads(row)["labels"]


def test_the_page_names_every_hook_and_every_class_of_the_kit() -> None:
    hooks = [name for name in vars(Hooks) if name.startswith("dlk_")]
    assert re.findall(r"^\| `(dlk_\w+)`", PAGE, re.MULTILINE) == hooks
    kit = PAGE.split("\n## The conformance kit\n")[1]
    assert set(re.findall(r"`(\w+Conformance)`", kit)) == set(dlk.testing.__all__)
    families = set(re.findall(r"^\| (\w+) \| `", kit, re.MULTILINE))
    tables = (*core_components(), *nlp_components())
    assert families == {row.type for row in tables} - {"fit"}


@pytest.mark.parametrize("hook", [name for name in vars(Hooks) if name.startswith("dlk_")])
def test_the_page_gives_a_hook_its_arguments(hook: str) -> None:
    (arguments,) = re.findall(rf"^\| `{hook}` \|([^|]*)\|", PAGE, re.MULTILINE)
    code = getattr(Hooks, hook).__code__
    assert re.findall(r"`(\w+)`", arguments) == list(code.co_varnames[1 : code.co_argcount])
