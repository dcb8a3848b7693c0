"""``dlk process``."""

from __future__ import annotations

import json

import pytest

from dlk.cli import main
from dlk.data.meta import Meta
from dlk.data.processor import _ledger


def test_processes_the_data_beside_the_config_and_reports(project, capsys):
    assert main(["process", "process.jsonc"]) == 0
    said = capsys.readouterr()
    assert "processed data in" in said.out
    assert "meta.label_vocab: size 3" in said.out
    assert "data/train.jsonl, data/valid.jsonl" in said.err
    assert Meta.load(project / "processed").vocabulary("label_vocab.json").words == ("a", "b", "c")


def test_quiet_prints_the_folder_alone(project, capsys):
    assert main(["process", "-q", "process.jsonc"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{project / 'processed'}\n", "")


def test_data_and_overrides_are_taken_from_the_arguments(project):
    arguments = ["--data", "train=data/*.jsonl", "--set", "processor.processed_data_dir=elsewhere"]
    assert main(["process", "process.jsonc", *arguments]) == 0
    assert (project / "elsewhere" / "train" / "split.json").is_file()
    assert not (project / "elsewhere" / "valid").exists()
    assert not (project / "processed").exists()


def test_stage_predict_writes_data_without_labels(project):
    assert main(["process", "process.jsonc"]) == 0
    (project / "new.jsonl").write_text(json.dumps({"sentence": "new"}) + "\n")
    assert main(["process", "process.jsonc", "--stage", "predict", "--data", "new.jsonl"]) == 0
    assert (project / "processed" / "predict").is_dir()


def test_a_missing_file_fails_the_run(project, capsys):
    assert main(["process", "process.jsonc", "--data", "train=nowhere.jsonl"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "nowhere.jsonl" in said


def test_no_data_is_a_usage_error(project, capsys):
    for file in (project / "data").iterdir():
        file.unlink()
    assert main(["process", "process.jsonc"]) == 2
    assert "--data train=FILE" in capsys.readouterr().err


def test_a_mistake_in_the_config_is_found_before_the_data_is_read(project, capsys):
    assert main(["process", "process.jsonc", "--set", "processor.chunk_size=0"]) == 2
    said = capsys.readouterr().err
    assert "chunk_size: expected an integer >= 1, got 0" in said
    assert "Traceback" not in said
    assert not (project / "processed").exists()


def test_a_config_that_is_not_there_is_named(project, capsys):
    assert main(["process", "nowhere.jsonc", "--data", "data"]) in (1, 2)
    assert "nowhere.jsonc" in capsys.readouterr().err


def test_explain_shows_the_plan_and_processes_nothing(project, capsys):
    assert main(["process", "process.jsonc", "--explain"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("reads   train    ")
    assert "1 chunk, " in lines[0]
    assert lines[0].endswith(": data/train.jsonl")
    assert lines[2] == f"writes  {project / 'processed'}"
    assert lines[3].startswith(f"keeps   {project / '.dlk-cache'}: 0 B of ")
    assert lines[5].split() == ["step", "reads", "writes", "kept", "train", "valid"]
    assert any(line.startswith("token2id-label") for line in lines)
    assert "meta/label_vocab.json" in said.out
    assert "has yet to learn it" in said.err
    assert "\x1b" not in said.out
    assert not (project / "processed").exists()
    assert not (project / ".dlk-cache").exists()


def test_explain_as_json_tells_what_is_kept_and_what_would_be_replaced(
    project, capsys, monkeypatch
):
    monkeypatch.setattr(_ledger, "WORTH_S", 0.0)
    monkeypatch.setattr("dlk.data.processor._code._started", lambda: float("inf"))

    def plan(*more):
        capsys.readouterr()
        assert main(["process", "process.jsonc", "--explain", "--format", "json", *more]) == 0
        return json.loads(capsys.readouterr().out)

    def cached(found):
        steps = [each for each in found["steps"] if each["name"] == "token2id-label"]
        return steps[0]["cached"], found["inputs"]["train"]["chunks"]

    assert cached(plan()) == ({"train": 0, "valid": 0}, 1)
    assert main(["process", "process.jsonc", "--workers", "0"]) == 0
    after = plan()
    assert cached(after) == ({"train": 1, "valid": 1}, 1)
    assert after["replaces"] > 1000
    assert after["cache_bytes"] > 100
    assert after["inputs"]["train"]["files"] == ["data/train.jsonl"]
    assert cached(plan("--cache-dir", "elsewhere"))[0] == {"train": 0, "valid": 0}
    without = plan("--no-cache")
    assert (without["cache"], without["cache_bytes"]) == ("", 0)


def test_the_number_of_workers_and_the_cache_change_no_file(project, capsys):
    found = []
    for more in (["--workers", "0"], ["--workers", "1", "--no-cache"], ["--cache-dir", "kept"]):
        assert main(["process", "process.jsonc", *more]) == 0
        paths = sorted(path for path in (project / "processed").rglob("*") if path.is_file())
        found.append([(path.name, path.read_bytes()) for path in paths])
    assert found[0] == found[1] == found[2]
    assert main(["process", "process.jsonc", "--workers", "-1"]) == 2
    assert "number >= 0" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_folder_that_cannot_keep_results_is_told_in_one_line(project, capsys, monkeypatch):
    monkeypatch.setattr(_ledger, "WORTH_S", 0.0)
    (project / "file").write_text("no folder")
    assert main(["process", "process.jsonc", "--cache-dir", "file"]) == 0
    said = capsys.readouterr().err
    assert f"warning: results of steps are not kept in {project / 'file'}: Not a dir" in said
    assert "_ledger.py" not in said
