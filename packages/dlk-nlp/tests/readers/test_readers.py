"""The readers as components: what `Process` and the command line find by a file's ending."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from dlk.cli import main
from dlk.data.store import open_split
from dlk.preprocess import Process
from dlk.testing import ReaderConformance

CONLL = "Ada B-PER\nlives O\n\nin O\nRome B-LOC\n"
CONLLU = """\
# text = Ada lives
1\tAda\t_\tPROPN\t_\t_\t2\tnsubj\t_\t_
2\tlives\t_\tVERB\t_\t_\t0\troot\t_\t_

# text = Rome
1\tRome\t_\tPROPN\t_\t_\t0\troot\t_\t_
"""


class TestConll(ReaderConformance):
    component = ("reader", "conll")
    files: ClassVar = {"a.conll": CONLL}
    rows = 2
    broken = "Ada X-PER\n"


class TestConllu(ReaderConformance):
    component = ("reader", "conllu")
    files: ClassVar = {"a.conllu": CONLLU}
    rows = 2
    broken = "1\tAda\n"


class TestBrat(ReaderConformance):
    component = ("reader", "ann")
    files: ClassVar = {"a.ann": "T1\tPER 0 3\tAda\n", "a.txt": "Ada lives"}
    rows = 1
    broken = "T1\tPER 0 3\tRome\n"


@pytest.fixture
def config(tmp_path):
    """A process config that learns tags of words between spaces."""
    steps = {
        "@subprocessor@pre_tokenize": {"method": "whitespacesplit"},
        "@subprocessor@seq_lab_relabel": {
            "vocab": "label_vocab.json",
            "input_map": {"offsets": "offsets"},
        },
    }
    path = tmp_path / "process.jsonc"
    path.write_text(
        json.dumps({"@processor@default": {"processed_data_dir": "processed", **steps}})
    )
    return path


def entities(folder, split):
    found = open_split(folder / "processed" / split)
    return [
        [(row["sentence"][e["start"] : e["end"]], *e["labels"]) for e in row["entities_info"]]
        for row in found.rows(range(len(found)), ["sentence", "entities_info"])
    ]


def test_process_takes_annotated_files_of_any_kind(tmp_path, config):
    (tmp_path / "train.conll").write_text(CONLL)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("Ada lives in Rome")
        (tmp_path / f"{name}.ann").write_text("T1\tLOC 13 17\tRome\n")
    (tmp_path / "test.jsonl").write_text('{"sentence": "x", "entities_info": []}\n')
    report = Process(config).run(
        {
            "train": tmp_path / "train.conll",
            "valid": str(tmp_path / "*.ann"),
            "test": [str(tmp_path / "test.jsonl"), str(tmp_path / "train.conll")],
        }
    )
    assert report.rows == {"train": 2, "valid": 2, "test": 3}
    assert entities(tmp_path, "train") == [[("Ada", "PER")], [("Rome", "LOC")]]
    assert entities(tmp_path, "valid") == [[("Rome", "LOC")]] * 2
    assert entities(tmp_path, "test") == [[], [("Ada", "PER")], [("Rome", "LOC")]]


def test_the_command_line_takes_them_too(tmp_path, config, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.conll").write_text(CONLL)
    assert main(["process", str(config)]) == 0
    assert entities(tmp_path, "train") == [[("Ada", "PER")], [("Rome", "LOC")]]
    (tmp_path / "data" / "train.conll").write_text("Ada X-PER\n")
    assert main(["process", str(config)]) == 1
    assert "train.conll:1" in capsys.readouterr().err
