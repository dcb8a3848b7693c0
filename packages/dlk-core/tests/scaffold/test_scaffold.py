"""Starts of projects, components and plugins; whole projects are tested across packages."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dlk.errors import DlkError
from dlk.scaffold import KINDS, new_component, new_plugin, new_project

pytestmark = pytest.mark.once


def project(folder: Path) -> tuple[str, list[str]]:
    """A project with a package for components; its settings file and sources."""
    (folder / "src" / "parts_of_mine").mkdir(parents=True)
    (folder / "src" / "parts_of_mine" / "__init__.py").touch()
    (folder / ".intc.json").write_text('{"src": ["dlk.intc", "src"]}')
    return str(folder / ".intc.json"), [str(folder / "src")]


def test_a_start_of_every_kind_passes_its_own_tests(tmp_path: Path) -> None:
    file, sources = project(tmp_path)
    for kind in KINDS:
        new_component(kind, f"scaffolded_{kind}", file, sources)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    command += ["--import-mode=importlib", "-W", "error"]
    done = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 10 * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_is_a_config_a_class_and_a_test_in_the_project_s_package(
    kind: str, tmp_path: Path
) -> None:
    made = new_component(kind, "my_own", *project(tmp_path))
    parts = os.path.join("src", "parts_of_mine")
    assert made == sorted(
        [
            os.path.join(parts, "my_own.py"),
            os.path.join(parts, "my_own_config.py"),
            os.path.join("tests", "conftest.py"),
            os.path.join("tests", "test_my_own.py"),
        ]
    )
    for path in made:
        ast.parse((tmp_path / path).read_text(encoding="utf-8"))
    imported = (tmp_path / parts / "my_own_config.py").read_text(encoding="utf-8")
    assert "import torch" not in imported
    assert "from parts_of_mine.my_own_config" in (tmp_path / parts / "my_own.py").read_text() or (
        kind == "subprocessor"
    )


def test_the_tests_of_a_second_component_stand_beside_those_of_the_first(tmp_path: Path) -> None:
    where = project(tmp_path)
    new_component("encoder", "first_one", *where)
    assert os.path.join("tests", "conftest.py") not in new_component("loss", "second", *where)


def test_without_a_package_a_component_stands_in_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    made = new_component("encoder", "mine", str(tmp_path / ".intc.json"), [str(tmp_path / "own")])
    assert os.path.join("own", "mine.py") in made
    assert "    from mine_config import" in (tmp_path / "own" / "mine.py").read_text()


def test_a_file_that_is_there_is_not_touched_and_nothing_else_is_written(tmp_path: Path) -> None:
    where = project(tmp_path)
    own = tmp_path / "src" / "parts_of_mine" / "mine.py"
    own.write_text("precious")
    with pytest.raises(DlkError, match=r"mine.py is there already; nothing was written"):
        new_component("encoder", "mine", *where)
    assert own.read_text() == "precious"
    assert not (tmp_path / "tests").exists()


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("encoder", "Mine", "no name: expected lower-case words joined by _"),
        ("encoder", "a-b", "no name"),
        ("encoder", "class", "no name"),
        ("encoder", "../x", "no name"),
        ("encoder", "lstm", 'there is the encoder "lstm" already'),
        ("enkoder", "mine", 'Did you mean "encoder"'),
    ],
)
def test_a_name_that_will_not_do_is_refused(
    kind: str, name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DlkError, match=said):
        new_component(kind, name, *project(tmp_path))
    with pytest.raises(DlkError, match=said):
        new_plugin(kind, name, str(tmp_path))


def test_a_project_without_a_folder_for_components_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(DlkError, match=r'"src": \["dlk.intc", "src"\]'):
        new_component("encoder", "mine", str(tmp_path / ".intc.json"), [])


def test_a_plugin_is_a_distribution_that_names_its_table(tmp_path: Path) -> None:
    made = new_plugin("loss", "my_loss", str(tmp_path))
    assert {os.path.dirname(path).split(os.sep)[0] for path in made} == {"dlk-my-loss"}
    with (tmp_path / "dlk-my-loss" / "pyproject.toml").open("rb") as file:
        about = tomllib.load(file)
    assert about["project"]["entry-points"]["dlk"] == {"my_loss": "dlk_my_loss.plugin"}
    assert about["project"]["dependencies"] == ["dlk-core>=0.2,<0.3"]
    table = (tmp_path / "dlk-my-loss" / "src" / "dlk_my_loss" / "plugin.py").read_text()
    assert 'config="dlk_my_loss.my_loss_config:MyLossConfig"' in table
    assert len(made) == 8


def test_a_project_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_project("my-texts", str(tmp_path))
    assert os.path.join("my-texts", ".intc.json") in made
    assert os.path.join("my-texts", "src", "my_texts", "__init__.py") in made
    assert sorted(os.listdir(tmp_path)) == ["my-texts"]
    with pytest.raises(DlkError, match="is there already; nothing was written"):
        new_project("my-texts", str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        new_project("other", str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["my-texts"]


@pytest.mark.parametrize("name", ["torch", "1st", "a b", "../up", "class", "json", "-x"])
def test_a_project_s_name_must_be_free_as_a_package(name: str, tmp_path: Path) -> None:
    with pytest.raises(DlkError, match=r"no name|Python has already"):
        new_project(name, str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_no_word_of_a_template_is_left_open(tmp_path: Path) -> None:
    new_project("words-of-mine", str(tmp_path))
    new_plugin("encoder", "mine_too", str(tmp_path))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert "{{" not in text
            assert "__name__" not in path.name
            assert all(len(line) <= 100 for line in text.splitlines()), path
