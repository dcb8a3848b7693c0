"""``dlk process``."""

from __future__ import annotations

import json

from dlk.cli import main
from dlk.data.meta import Meta


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
