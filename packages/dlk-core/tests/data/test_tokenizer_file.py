"""Tokenizers are read with a message that helps, and kept once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlk.data.meta import Meta
from dlk.data.tokenizer_file import keep_tokenizer, read_tokenizer
from dlk.errors import DataError
from dlk.testing.tokenizers import trained_tokenizer


def test_a_tokenizer_comes_back_as_it_was_written(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer("wordpiece")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    read = read_tokenizer(str(tmp_path / "tokenizer.json"))
    assert read.to_str() == tokenizer.to_str()


def test_a_file_that_is_absent_or_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the tokenizer .*none\.json: No such file"):
        read_tokenizer(str(tmp_path / "none.json"))
    (tmp_path / "other.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json is no tokenizer\.json"):
        read_tokenizer(str(tmp_path / "other.json"))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bytes\.json is no tokenizer\.json"):
        read_tokenizer(str(tmp_path / "bytes.json"))


def test_two_steps_keep_one_copy_of_the_same_and_never_two_that_differ(tmp_path: Path) -> None:
    meta = Meta(tmp_path)
    keep_tokenizer(meta, "tokenizer.json", "{}", {"size": 3})
    keep_tokenizer(meta, "tokenizer.json", "{}", {"size": 3})
    assert meta.numbers()["tokenizer"] == {"size": 3}
    with pytest.raises(DataError, match=r'two tokenizers that differ .* as "tokenizer\.json"'):
        keep_tokenizer(meta, "tokenizer.json", "{ }", {"size": 3})
