"""``dlk new``."""

from __future__ import annotations

import json

import pytest

from dlk._local import scan
from dlk.cli import main
from dlk.config import jsonc


def test_a_project_has_all_that_a_run_needs(project, capsys):
    assert main(["new", "project", "my-start"]) == 0
    said = capsys.readouterr()
    assert "my-start/fit.jsonc\n" in said.out
    assert said.err == "next: cd my-start && dlk run process.jsonc fit.jsonc && pytest\n"
    settings = jsonc.read("my-start/.intc.json").value
    assert settings["src"] == ["dlk.intc", "src"]
    rows = (project / "my-start" / "data" / "train.jsonl").read_text().splitlines()
    assert {json.loads(row)["labels"] for row in rows} == {"cold", "warm"}


def test_a_component_is_found_by_its_name_in_the_project(project, capsys, monkeypatch):
    assert main(["new", "project", "with-parts"]) == 0
    monkeypatch.chdir(project / "with-parts")
    capsys.readouterr()
    assert main(["new", "component", "damped", "--type", "encoder"]) == 0
    said = capsys.readouterr()
    assert "tests/test_damped.py" in said.out
    assert "it is called @encoder@damped" in said.err
    assert [(row.type, row.name) for row in scan("src").components] == [("encoder", "damped")]
    assert main(["new", "component", "damped", "--type", "encoder"]) == 1
    assert "src/with_parts/damped.py" in capsys.readouterr().err


def test_a_plugin_stands_in_a_folder_of_its_own(project, capsys):
    assert main(["new", "plugin", "dimmed", "--type", "loss", "-o", "data"]) == 0
    said = capsys.readouterr()
    assert "data/dlk-dimmed/pyproject.toml\n" in said.out
    assert "cd data/dlk-dimmed && pip install" in said.err


def test_quiet_names_the_files_alone(project, capsys):
    assert main(["new", "-q", "plugin", "hushed"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 8
    assert said.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["component", "mine"], 2, "there is no .intc.json here or above"),
        (["project", "x", "-o", "nowhere"], 2, "-o nowhere: there is no such folder"),
        (["project", "data"], 1, "data is there already; nothing was written"),
        (["project", "json"], 1, "which Python has already"),
        (["plugin", "Mine"], 1, "expected lower-case words"),
        (["thing", "mine"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_made_is_refused(project, capsys, arguments, code, said):
    assert main(["new", *arguments]) == code
    assert said in capsys.readouterr().err
