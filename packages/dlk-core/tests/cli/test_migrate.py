"""``dlk migrate``."""

from __future__ import annotations

import json

import pytest

from dlk.cli import main
from dlk.config import jsonc

OLD = """{
  "@processor@default": {
    "train_data_type": "json", // told by the file
    "processed_data_dir": "processed",
    "@subprocessor@token_gather": {
      "gather_columns": ["label"],
      "token_vocab": "label_vocab.json",
      "unk": null
    },
    "@subprocessor@token2id-label": {"input_map": {"tokens": "label"}}
  }
}
"""


@pytest.fixture
def old(project):
    """An old process config in a folder of its own."""
    (project / "old").mkdir()
    (project / "old" / "config.hjson").write_text(OLD)
    return "old/config.hjson"


def test_writes_beside_the_old_file_and_lists_what_changed(old, project, capsys):
    assert main(["migrate", old]) == 0
    said = capsys.readouterr().out
    assert said.startswith("old/process.jsonc\n")
    assert "old/config.hjson:3:5 train_data_type: left out: the kind of input is seen" in said
    assert said.endswith("dlk check accepts what came out\n")
    assert main(["check", "old/process.jsonc"]) == 0
    assert (project / "old" / "config.hjson").read_text() == OLD


def test_writes_to_another_folder(old, project, capsys):
    assert main(["migrate", "-q", old, "-o", "new/deep"]) == 0
    assert capsys.readouterr().out == "new/deep/process.jsonc\n"
    assert jsonc.read("new/deep/process.jsonc").value["@processor@default"]


def test_a_file_that_is_there_is_replaced_on_request_only(old, project, capsys):
    before = (project / "process.jsonc").read_text()
    assert main(["migrate", old, "-o", "."]) == 2
    assert "./process.jsonc is there already" in capsys.readouterr().err
    assert (project / "process.jsonc").read_text() == before
    assert main(["migrate", old, "-o", ".", "--force"]) == 0
    assert (project / "process.jsonc").read_text() != before


def test_what_is_refused_afterwards_is_told(project, capsys):
    (project / "old.jsonc").write_text('{"@processor@my_own": {}}')
    assert main(["migrate", "old.jsonc", "-o", "new"]) == 1
    said = capsys.readouterr().out
    assert 'old.jsonc:1:2 processor: processor "my_own" is left as it is' in said
    assert "dlk check refuses what came out:" in said
    assert 'there is no processor "my_own"' in said


def test_the_notes_as_json(old, capsys):
    assert main(["migrate", old, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["refused"] == []
    (file,) = told["files"]
    assert file["file"] == "old/process.jsonc"
    assert {key: file["notes"][0][key] for key in ("kind", "path", "line", "column")} == {
        "kind": "gone",
        "path": "train_data_type",
        "line": 3,
        "column": 5,
    }


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["none.jsonc"], "none.jsonc"),
        (["data/train.jsonl"], "train.jsonl"),
        (["process.jsonc", "process.jsonc", "-o", "new"], "two of the files become new/process.j"),
    ],
)
def test_what_cannot_be_migrated_is_refused_and_nothing_is_written(project, capsys, files, said):
    assert main(["migrate", *files]) != 0
    assert said in capsys.readouterr().err
    assert not (project / "new").exists()
