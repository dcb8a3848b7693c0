"""What files and folders tell."""

from __future__ import annotations

import json

import pytest

from dlk.config import load
from dlk.flow.files import columns_of, missing_files, read_processed
from dlk.flow.finding import Places

ROWS = [{"a": 1, "b": "x"}, {"a": 2, "c": None}]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("x.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS), {"a", "b", "c"}),
        ("x.json", json.dumps(ROWS), {"a", "b", "c"}),
        ("x.json", json.dumps({"a": [1], "b": ["x"]}), {"a", "b"}),
        ("x.csv", 'a,"b, and c"\n1,2\n', {"a", "b, and c"}),
        ("x.tsv", "\ufeffa\tb\n1\t2\n", {"a", "b"}),
        ("x.jsonl", "", None),
        ("x.jsonl", "[1]\n", None),
        ("x.jsonl", "{", None),
        ("x.json", "3", None),
        ("x.csv", "", frozenset()),
        ("x.conll", "a b\n", None),
    ],
)
def test_the_columns_of_a_file_are_read_or_left_open(tmp_path, name, text, columns):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = columns_of(str(tmp_path / name))
    assert found == (None if columns is None else frozenset(columns))


def test_a_file_that_is_not_there_tells_nothing(tmp_path):
    assert columns_of(str(tmp_path / "none.jsonl")) is None


def test_a_folder_without_anything_processed_tells_nothing(tmp_path):
    assert read_processed(str(tmp_path)) is None
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "meta.json").write_text("damaged")
    assert read_processed(str(tmp_path)) is None


def test_a_processed_folder_tells_columns_files_and_sizes(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "split.json").write_text('{"columns": {"ids": "list<int64>"}}')
    (tmp_path / "meta").mkdir()
    entries = {"words": {"file": "words.json", "size": 3}, "table": {"file": "table.npy"}}
    (tmp_path / "meta" / "meta.json").write_text(json.dumps({"entries": entries}))
    found = read_processed(str(tmp_path))
    assert found is not None
    assert found.columns == {"train": ("ids",)}
    assert found.files == ("words.json", "table.npy")
    assert found.sizes == {"words": 3}


def missing(folder, value: str) -> list[str]:
    """Return what is said of a vocabulary to start from, in a config of this folder."""
    steps = {"@subprocessor@token_gather": {"gather_columns": ["x"], "update": value}}
    (folder / "process.json").write_text(json.dumps({"@processor@default": steps}))
    point = load(folder / "process.json").one()
    return [f.message for f in missing_files(point.root("processor"), Places(point))]


def test_a_file_that_is_there_is_not_missing(tmp_path):
    (tmp_path / "words.json").write_text("{}")
    assert missing(tmp_path, "words.json") == []


def test_a_file_on_another_machine_is_left_alone(tmp_path):
    assert missing(tmp_path, "https://example.org/words.json") == []


def test_a_missing_file_names_the_nearest_and_the_folder_that_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.json").write_text("{}")
    (said,) = missing(tmp_path, "word.json")
    assert said.endswith('"word.json", which is not there. Did you mean "words.json"?')
    (said,) = missing(tmp_path, "data/deep/word.json")
    assert said.endswith('"data/deep/word.json", which is not there (data is not there either).')
