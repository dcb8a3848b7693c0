"""The meta folder."""

from __future__ import annotations

import json

import pytest

from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.errors import DataError


@pytest.fixture
def meta(tmp_path):
    made = Meta(tmp_path / "meta")
    made.save()
    return made


def labels(*words):
    made = Vocabulary()
    made.add(dict.fromkeys(words, 1))
    return made


def test_numbers_hold_sizes_and_ids_under_the_file_name(meta):
    meta.put_vocabulary("label_vocab.json", labels("a", "b"))
    assert meta.numbers() == {"label_vocab": {"size": 2}}


def test_what_was_put_is_loaded_from_the_folder_or_the_one_above(meta, tmp_path):
    meta.put_vocabulary("label_vocab.json", labels("a", "b"))
    for folder in (tmp_path, tmp_path / "meta"):
        loaded = Meta.load(folder)
        assert loaded.vocabulary("label_vocab.json").words == ("a", "b")
        assert loaded.numbers() == meta.numbers()
        assert loaded.path("label_vocab.json") == str(tmp_path / "meta" / "label_vocab.json")
        assert "label_vocab.json" in loaded
        assert loaded.files == ("label_vocab.json",)


def test_no_label_can_reach_the_numbers(meta, tmp_path):
    hostile = "@lambda _: 1"
    meta.put_vocabulary("label_vocab.json", labels(hostile))
    assert hostile not in json.dumps(Meta.load(tmp_path).numbers())
    path = tmp_path / "meta" / "meta.json"
    plain = json.loads(path.read_text())
    plain["entries"]["label_vocab"] |= {
        "size": hostile,
        "names": [hostile],
        "ok": True,
        "more": {"a": hostile},
    }
    path.write_text(json.dumps(plain))
    assert Meta.load(tmp_path).numbers() == {"label_vocab": {"ok": True}}


def test_only_numbers_and_booleans_can_be_put(meta):
    with pytest.raises(ValueError, match="numbers and booleans, not name"):
        meta.put("x.json", {"name": "text"}, text="{}")


def test_an_unknown_file_names_the_nearest(meta):
    meta.put_vocabulary("label_vocab.json", labels("a"))
    with pytest.raises(DataError, match=r'Did you mean "label_vocab.json"'):
        meta.path("label_vocabs.json")


@pytest.mark.parametrize("name", ["../out.json", "a/b.json", "meta.json", "", ".."])
def test_a_name_that_leads_elsewhere_is_refused(meta, name):
    with pytest.raises(DataError, match="no name for a meta file"):
        meta.put(name, {}, text="")


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "a\\b", "meta.json", None, 3])
def test_a_meta_file_that_names_files_elsewhere_is_refused(meta, tmp_path, name):
    meta.put("a.json", {}, text="{}")
    path = tmp_path / "meta" / "meta.json"
    path.write_text(path.read_text().replace('"a.json"', json.dumps(name)))
    with pytest.raises(DataError, match='entry "a" names no file of this folder'):
        Meta.load(tmp_path)


def test_two_files_cannot_share_an_entry(meta):
    meta.put("a.json", {}, text="{}")
    with pytest.raises(DataError, match='would share the entry "a"'):
        meta.put("a.txt", {}, text="")


def test_a_vocabulary_put_again_replaces_the_one_read_before(meta):
    meta.put_vocabulary("v.json", labels("a"))
    assert len(meta.vocabulary("v.json")) == 1
    meta.put_vocabulary("v.json", labels("a", "b"))
    assert len(meta.vocabulary("v.json")) == 2


def test_the_empty_meta_has_nothing_and_nowhere_to_write():
    empty = Meta.empty()
    assert (empty.numbers(), empty.files, bool(empty)) == ({}, (), False)
    with pytest.raises(DataError, match=r"empty meta holds no v.json"):
        empty.vocabulary("v.json")
    with pytest.raises(ValueError, match="no folder"):
        empty.put("v.json", {}, text="")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "x"}', '{"schema": "dlk.meta/1", "entries": [1]}']
)
def test_a_damaged_file_is_a_data_error(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(DataError, match=r"meta\.json"):
        Meta.load(tmp_path)


def test_a_folder_without_meta_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="process the training data first"):
        Meta.load(tmp_path)


def test_start_values_are_kept_with_their_numbers_and_known_as_such(meta, tmp_path):
    meta.put_vocabulary("v.json", labels("a"))
    meta.put_start("table.npy", {"size": 3}, lambda handle: handle.write(b"\x00\x01"))
    loaded = Meta.load(tmp_path)
    assert loaded.start_files == ("table.npy",)
    assert loaded.numbers()["table"] == {"size": 3}
    with open(loaded.path("table.npy"), "rb") as handle:
        assert handle.read() == b"\x00\x01"


def test_start_values_that_cannot_be_put_leave_nothing(meta, tmp_path):
    with pytest.raises(DataError, match="no name for a meta file"):
        meta.put_start("../out.npy", {}, lambda handle: handle.write(b""))
    with pytest.raises(ValueError, match="numbers and booleans"):
        meta.put_start("x.npy", {"dtype": "float32"}, lambda handle: handle.write(b""))
    assert [path.name for path in (tmp_path / "meta").iterdir()] == ["meta.json"]
