"""``dlk run``, ``train``, ``predict`` and ``evaluate`` on a model of a few weights."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow.parquet as pq
import pytest

from dlk.cli import main

PROCESS = {
    "@processor@default": {
        "processed_data_dir": "processed",
        "@subprocessor@token_gather#words": {
            "gather_columns": ["words"],
            "token_vocab": "vocab.json",
        },
        "@subprocessor@token_gather#labels": {
            "gather_columns": ["label"],
            "token_vocab": "label_vocab.json",
            "pad": None,
            "unk": None,
        },
        "@subprocessor@token2id": {
            "vocab": "vocab.json",
            "input_map": {"tokens": "words"},
            "output_map": {"token_ids": "input_ids"},
        },
        "@subprocessor@token2id-label": {
            "vocab": "label_vocab.json",
            "input_map": {"tokens": "label"},
        },
    }
}
FIT = {
    "@fit": {
        "processed_data_dir": "processed",
        "log_dir": "logs",
        "@trainer@lightning": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "num_sanity_val_steps": 0,
        },
        "@datamodule@default": {
            "train_batch_size": 4,
            "@dataset@default": {"key_type_pairs": {"input_ids": "long", "label_ids": "long"}},
            "@data_collate@default": {"gen_mask": {"input_ids": "attention_mask"}},
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.vocab.size",
                    "embedding_dim": 4,
                },
                "@encoder@identity": {},
                "@decoder@linear": {
                    "input_size": 4,
                    "output_size": "@lambda @_G.meta.label_vocab.size",
                    "pool": "mean",
                },
            },
            "@loss@cross_entropy": {"pred_truth_pair": {"logits": "label_ids"}},
            "@optimizer@adamw": {"lr": 0.05},
            "@scheduler@constant": {},
            "@postprocessor@identity": {"outputs": ["logits"]},
        },
    }
}


def write_project(folder):
    (folder / "process.jsonc").write_text(json.dumps(PROCESS))
    (folder / "fit.jsonc").write_text(json.dumps(FIT))
    (folder / "data").mkdir()
    rows = [{"words": ["ab"[k % 2], "x", "y"][: 1 + k % 3], "label": "ab"[k % 2]} for k in range(8)]
    for split in ("train", "valid"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{split}.jsonl").write_text(lines)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder where `dlk run` has trained run 0."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "process.jsonc", "fit.jsonc", "-q"]) == 0
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """Return a copy of the trained project that is the working directory."""
    folder = shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def test_run_processes_trains_and_prints_the_bundle(tmp_path, monkeypatch, capsys):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "process.jsonc", "fit.jsonc", "--set", "log_dir=elsewhere"]) == 0
    said = capsys.readouterr()
    assert "val_loss" in said.out
    assert f"bundle  {tmp_path / 'elsewhere' / '0' / 'bundle'}" in said.out
    assert "processed data in" in said.err
    assert f"next: dlk predict {tmp_path / 'elsewhere' / '0' / 'bundle'}" in said.err


def test_quiet_prints_the_bundle_alone(here, capsys):
    assert main(["train", "fit.jsonc", "-q"]) == 0
    assert capsys.readouterr().out == f"{here / 'logs' / '1' / 'bundle'}\n"


@pytest.mark.parametrize("wrong", ["imodel.optimizer.lr=-1", "imodel.optimiser.lr=1"])
def test_run_finds_a_mistake_of_the_fit_config_before_it_processes(
    tmp_path, monkeypatch, capsys, wrong
):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "process.jsonc", "fit.jsonc", "--set", wrong]) == 2
    assert "optimi" in capsys.readouterr().err
    assert not (tmp_path / "processed").exists()


def test_run_refuses_a_processor_in_the_place_of_the_fit_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    assert main(["run", "process.jsonc", "process.jsonc"]) == 2
    assert 'expected one "@fit" at the top, got @processor@default' in capsys.readouterr().err
    assert not (tmp_path / "processed").exists()


def test_run_holds_sizes_to_what_processing_learnt(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    text = json.dumps(FIT).replace("@lambda @_G.meta.vocab.size", "SIZE").replace('"SIZE"', "2")
    (tmp_path / "fit.jsonc").write_text(text)
    assert main(["run", "process.jsonc", "fit.jsonc"]) == 2
    assert "fit.jsonc:1:" in capsys.readouterr().err
    assert (tmp_path / "processed").exists()
    assert not (tmp_path / "logs").exists()


def test_run_refuses_configs_of_different_data(tmp_path, monkeypatch, capsys):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "process.jsonc", "fit.jsonc", "--set-process", "processed_data_dir=other"]
    assert main(arguments) == 2
    assert "name different folders" in capsys.readouterr().err


def test_training_before_processing_says_what_to_do(tmp_path, monkeypatch, capsys):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "fit.jsonc"]) == 1
    assert "process" in capsys.readouterr().err


def test_check_needs_no_processed_data_and_says_so(tmp_path, monkeypatch, capsys):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "process.jsonc", "fit.jsonc"]) == 0
    said = capsys.readouterr()
    assert said.out == "process.jsonc: ok\nfit.jsonc: ok\n"
    assert "numbers of _G.meta are made up" in said.err


def test_resolve_fills_in_the_numbers_of_the_data(here, capsys):
    assert main(["resolve", "fit.jsonc"]) == 0
    said = capsys.readouterr()
    model = json.loads(said.out)["@fit"]["@imodel@default"]["@model@basic"]
    assert model["@decoder@linear"]["output_size"] == 2
    assert said.err == ""


def test_a_search_prints_a_table_of_its_runs(here, capsys):
    config = json.loads(json.dumps(FIT))
    config["@fit"]["specific"] = {"imodel.optimizer.lr": "lr"}
    config["@fit"]["@imodel@default"]["@optimizer@adamw"]["_search"] = {"lr": [0.1, 0.2]}
    (here / "search.jsonc").write_text(json.dumps(config))
    assert main(["train", "search.jsonc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["run", "state", "lr"]
    assert [line.split()[:2] for line in lines[1:3]] == [["lr=0.1", "done"], ["lr=0.2", "done"]]
    assert lines[3] == f"bundle {here / 'logs' / 'lr=0.1' / 'bundle'}"


def test_predict_writes_lines_to_stdout(here, capsys):
    assert main(["predict", "logs/0/bundle", "data/valid.jsonl"]) == 0
    said = capsys.readouterr()
    predictions = [json.loads(line) for line in said.out.splitlines()]
    assert len(predictions) == 8
    assert len(predictions[0]["logits"]) == 2


def test_predict_writes_files(here, capsys):
    assert main(["predict", "logs/0/bundle", "data/*.jsonl", "-o", "out.jsonl"]) == 0
    assert "predictions in out.jsonl" in capsys.readouterr().err
    assert len((here / "out.jsonl").read_text().splitlines()) == 16
    assert main(["predict", "logs/0/bundle", "data/valid.jsonl", "-o", "out.parquet"]) == 0
    assert pq.read_table(here / "out.parquet").num_rows == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere", "data/valid.jsonl"], 1, "no bundle"),
        (["logs/0/bundle", "nowhere.jsonl"], 1, "nowhere.jsonl"),
        (["logs/0/bundle", "data/valid.jsonl", "-o", "out.txt"], 2, "ends in .jsonl"),
        (["logs/0/bundle", "data/valid.jsonl", "--device", "nope"], 2, "--device nope"),
        (["logs/0/bundle", "data/valid.jsonl", "--batch-size", "0"], 2, "number >= 1"),
    ],
)
def test_predict_says_what_is_wrong(here, capsys, arguments, code, said):
    assert main(["predict", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_evaluate_prints_scores(here, capsys):
    assert main(["evaluate", "logs/0/bundle", "data/valid.jsonl"]) == 0
    assert capsys.readouterr().out == "metric  value\nrows    8\n"
    assert main(["evaluate", "logs/0/bundle", "data/valid.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 8, "metrics": {}, "table": []}


def test_a_run_is_not_overwritten_unless_asked(here, capsys):
    config = json.loads(json.dumps(FIT))
    config["@fit"]["specific"] = {"seed": "seed"}
    (here / "named.jsonc").write_text(json.dumps(config))
    assert main(["train", "named.jsonc", "-q"]) == 0
    assert main(["train", "named.jsonc", "-q"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["train", "named.jsonc", "-q", "--overwrite"]) == 0


def test_process_says_what_another_config_is(here, capsys):
    assert main(["process", "fit.jsonc"]) == 2
    said = capsys.readouterr().err
    assert 'fit.jsonc: expected one "@processor" at the top, got @fit' in said
    assert main(["train", "process.jsonc"]) == 2
    assert 'expected "@fit" at the top, got @processor@default' in capsys.readouterr().err


def test_process_says_of_a_config_that_is_no_text_where(here, capsys):
    (here / "latin.jsonc").write_bytes(b'{\n"@processor@default": {"\xe9": 1}}')
    assert main(["process", "latin.jsonc", "--data", "train=train.jsonl"]) == 2
    assert "latin.jsonc:2:25: not UTF-8 text" in capsys.readouterr().err


def test_process_reads_a_config_once_as_a_pipe_gives_it(here, capsys):
    reading, writing = os.pipe()
    os.write(writing, b'{"@fit": {}}')
    os.close(writing)
    assert main(["process", f"/dev/fd/{reading}", "--data", "train=train.jsonl"]) == 2
    os.close(reading)
    said = capsys.readouterr().err
    assert "fit" in said
    assert "the end of the file" not in said
