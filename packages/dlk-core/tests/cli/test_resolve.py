"""``dlk resolve``."""

from __future__ import annotations

import json

from dlk.cli import main


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
