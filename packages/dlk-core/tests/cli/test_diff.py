"""``dlk diff``."""

from __future__ import annotations

import json

import pytest

from dlk.cli import main


@pytest.fixture
def other(project):
    """A second config beside process.jsonc: another vocabulary, one step less."""
    config = json.loads((project / "process.jsonc").read_text())
    processor = config["@processor@default"]
    processor["chunk_size"] = 7
    del processor["@subprocessor@token2id-label"]
    (project / "other.jsonc").write_text(json.dumps(config))
    return "other.jsonc"


def test_a_config_equals_itself_and_its_own_defaults(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["bad_rows"] = "stop"  # the default
    (project / "longer.jsonc").write_text(json.dumps(config))
    assert main(["diff", "process.jsonc", "longer.jsonc"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "no difference\n")


def test_differences_are_lines_with_both_values(other, capsys):
    assert main(["diff", "process.jsonc", other]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("changed    chunk_size: ") for line in lines)
    assert "removed    subprocessor@token2id-label: token2id-label" in lines
    assert len(lines) == 2


def test_differences_as_json_hold_the_values(other, capsys):
    assert main(["diff", "process.jsonc", other, "--json"]) == 1
    found = {d["path"]: d for d in json.loads(capsys.readouterr().out)}
    assert found["chunk_size"]["after"] == 7
    assert found["subprocessor@token2id-label"]["before"]["vocab"] == "label_vocab.json"


def test_either_side_takes_overrides(other, capsys):
    sets = ["--set-a", "chunk_size=9", "--set-b", "chunk_size=9"]
    assert main(["diff", "process.jsonc", other, *sets]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["diff", other, other, "--set-b", "chunk_size=9"]) == 1
    assert capsys.readouterr().out == "changed    chunk_size: 7 -> 9\n"


def test_the_folder_of_a_run_is_compared_by_its_resolved_config(project, capsys):
    assert main(["resolve", "process.jsonc"]) == 0
    run = project / "logs" / "0"
    run.mkdir(parents=True)
    (run / "config.json").write_text(capsys.readouterr().out)
    assert main(["diff", "process.jsonc", "logs/0"]) == 0
    assert main(["diff", "logs/0", "process.jsonc", "--set-b", "seed=5"]) == 1


def test_of_a_bundle_the_config_of_the_same_kind_is_compared(project, capsys):
    assert main(["resolve", "process.jsonc"]) == 0
    bundle = project / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text("{}")
    (bundle / "process.json").write_text(capsys.readouterr().out)
    (bundle / "fit.json").write_text('{"@fit": {"seed": 1}}')
    assert main(["diff", "process.jsonc", "bundle"]) == 0
    assert main(["diff", "bundle", "bundle"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["process.jsonc", "data"], "data is neither a run nor a bundle: there is no data"),
        (["process.jsonc", "run", "--set-b", "seed=2"], "--set changes files only"),
        (["process.jsonc", "run"], "nothing to compare: process.jsonc holds processor, run holds"),
        (["process.jsonc", "none.jsonc"], "none.jsonc: there is no such file"),
    ],
)
def test_what_cannot_be_compared_is_refused(project, capsys, arguments, said):
    (project / "run").mkdir()
    (project / "run" / "config.json").write_text('{"@fit": {}}')
    assert main(["diff", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_search_is_no_single_config(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["diff", "process.jsonc", "search.jsonc"]) == 2
    assert "searches (chunk_size)" in capsys.readouterr().err
    assert main(["diff", "search.jsonc", "search.jsonc", *SET]) == 0


SET = ["--set-a", "chunk_size=1", "--set-b", "chunk_size=1"]
