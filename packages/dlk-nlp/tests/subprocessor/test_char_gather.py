"""Learning a vocabulary of characters."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.errors import DataError
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


class TestCharGather(SubprocessorConformance):
    component = ("subprocessor", "char_gather")
    config: ClassVar = {"gather_columns": ["tokens", {"column": "entities", "trace": "labels"}]}
    columns: ClassVar = {
        "tokens": [["a dog"], ["b"], None],
        "entities": [[{"labels": ["c"]}], [], [{"labels": ["a", "c"]}]],
    }


@pytest.fixture
def gather(tmp_path):
    def made(*chunks, **values):
        meta = Meta(tmp_path / "meta")
        meta.save()
        config = make("subprocessor", "char_gather", {"gather_columns": ["x"], **values})
        register.build(config, Setup(meta=meta)).fit(iter(chunks), meta)
        return meta.vocabulary(values.get("char_vocab", "char_vocab.json"))

    return made


def test_characters_are_ordered_by_count_then_by_themselves(gather):
    made = gather({"x": [["ba", "b"], "b c"]}, {"x": ["a"]})
    assert made.words == ("[PAD]", "[UNK]", "b", "a", " ", "c")
    assert [made.count(char) for char in made] == [0, 0, 3, 2, 1, 1]


def test_pad_and_unk_are_those_of_the_config(gather):
    made = gather({"x": ["a"]}, pad="<p>", unk="<u>", char_vocab="c.json")
    assert made.numbers() == {"size": 3, "pad_id": 0, "unk_id": 1}
    assert made.words == ("<p>", "<u>", "a")
    assert gather({"x": ["a"]}, pad=None, unk=None).words == ("a",)


def test_rare_characters_are_left_out(gather):
    assert gather({"x": ["aab"]}, pad=None, min_freq=2).words == ("[UNK]", "a")
    assert gather({"x": ["aab"]}, pad=None, most_common=1).words == ("[UNK]", "a")


def test_an_earlier_vocabulary_keeps_its_ids(gather, tmp_path):
    earlier = Vocabulary(pad="[PAD]", unk="[UNK]")
    earlier.add({"z": 1})
    earlier.save(str(tmp_path / "earlier.json"))
    made = gather({"x": ["ab"]}, update=str(tmp_path / "earlier.json"))
    assert made.words == ("[PAD]", "[UNK]", "z", "a", "b")


def test_what_holds_no_text_is_named(gather):
    with pytest.raises(DataError, match='column "x": a vocabulary holds texts'):
        gather({"x": [[object()]]})
