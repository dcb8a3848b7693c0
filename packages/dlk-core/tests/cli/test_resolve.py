"""``dlk resolve``."""

from __future__ import annotations

import json

import pytest

from dlk.cli import main
from dlk.config import jsonc


def test_prints_the_config_with_defaults_as_json(project, capsys):
    assert main(["resolve", "process.jsonc", "--set", "processor.chunk_size=7"]) == 0
    said = capsys.readouterr()
    processor = json.loads(said.out)["@processor@default"]
    assert processor["chunk_size"] == 7
    assert processor["bad_rows"] == "stop"
    assert processor["@subprocessor@token_gather"]["gather_columns"] == ["label"]
    assert said.err == ""


def test_a_search_gives_a_list_and_says_what_each_run_chose(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2], "seed": [3, 4]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["resolve", "search.jsonc"]) == 0
    said = capsys.readouterr()
    points = [
        (p["chunk_size"], p["seed"])
        for p in (r["@processor@default"] for r in json.loads(said.out))
    ]
    assert points == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert "run 2 of 4: " in said.err
    assert "chunk_size=1" in said.err


def test_a_mistake_is_a_config_error(project, capsys):
    assert main(["resolve", "process.jsonc", "--set", "processor.seed=-1"]) == 2
    assert "seed: expected an integer >= 0, got -1" in capsys.readouterr().err


def test_origins_name_the_place_of_each_value(project, capsys):
    path = project / "process.jsonc"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert main(["resolve", "process.jsonc", "--origins", "--set", "processor.seed=7"]) == 0
    text = capsys.readouterr().out
    assert '"seed": 7,  // --set\n' in text
    assert '"bad_rows": "stop",  // default of processor default\n' in text
    assert '"gather_columns": ["label"],  // process.jsonc:5:25\n' in text
    assert main(["resolve", "process.jsonc", "--set", "processor.seed=7"]) == 0
    assert jsonc.parse(text).value == json.loads(capsys.readouterr().out)


def test_origins_as_json_hold_the_config_and_its_sources(project, capsys):
    assert main(["resolve", "process.jsonc", "--origins", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["choice"] == {}
    (seed,) = (o for o in found["origins"] if o["path"] == "seed")
    assert seed == {
        "path": "seed",
        "keys": ["@processor@default", "seed"],
        "value": found["config"]["@processor@default"]["seed"],
        "kind": "default",
        "owner": "processor default",
    }


def test_origins_of_a_search_are_a_list_of_the_runs(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["resolve", "-q", "search.jsonc", "--origins"]) == 0
    text = capsys.readouterr().out
    assert text.count("(search point)") == 2
    chunks = [run["@processor@default"]["chunk_size"] for run in jsonc.parse(text).value]
    assert chunks == [1, 2]
    assert main(["resolve", "-q", "search.jsonc", "--origins", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [run["choice"]["chunk_size"] for run in runs] == [1, 2]


@pytest.mark.filterwarnings("default")
def test_equal_runs_are_told_in_a_line_of_their_own(project, capsys):
    config = json.loads((project / "process.jsonc").read_text())
    config["@processor@default"]["_search"] = {"chunk_size": [1, 2, 1]}
    (project / "search.jsonc").write_text(json.dumps(config))
    assert main(["resolve", "search.jsonc"]) == 0
    said = capsys.readouterr()
    assert [run["@processor@default"]["chunk_size"] for run in json.loads(said.out)] == [1, 2]
    assert said.err.splitlines()[0] == (
        "warning: point 2 of the search (chunk_size=1) equals point 0 (chunk_size=1) "
        "and is left out"
    )
