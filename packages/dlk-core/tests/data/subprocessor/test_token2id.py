"""Words to ids."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


def vocabulary(**specials):
    made = Vocabulary(**specials)
    made.add({"neg": 1, "pos": 1, "3": 1})
    return made


class TestToken2Id(SubprocessorConformance):
    component = ("subprocessor", "token2id")
    columns: ClassVar = {"tokens": [["neg", ["pos"]], [], "neg", 3]}
    bad: ClassVar = {"tokens": [None, ["neg", None], "neutral", {"a": 1}, float("nan")]}

    def prepare(self, meta):
        meta.put_vocabulary("token_vocab.json", vocabulary())


class TestLabels(SubprocessorConformance):
    component = ("subprocessor", "token2id-label")
    columns: ClassVar = {"labels": ["neg", "pos"]}
    bad: ClassVar = {"labels": ["neutral"]}

    def prepare(self, meta):
        meta.put_vocabulary("label_vocab.json", vocabulary())


def run(tmp_path, values, columns, name="token2id", **specials):
    meta = Meta(tmp_path / "meta")
    meta.put_vocabulary("token_vocab.json", vocabulary(**specials))
    step = register.build(
        make("subprocessor", name, {"vocab": "token_vocab.json", **values}), Setup(meta=meta)
    )
    rows = list(range(len(next(iter(columns.values())))))
    ctx = TransformContext("train", "train", rows)
    return step.transform({**columns, "_row": rows}, ctx), ctx.bad


def test_nested_lists_keep_their_shape(tmp_path):
    made, _ = run(tmp_path, {}, {"tokens": [["neg", ["pos", []]], [], "neg"]})
    assert made == {"token_ids": [[1, [2, []]], [], 1]}


def test_an_unknown_label_names_the_nearest_and_the_vocabulary(tmp_path):
    made, bad = run(tmp_path, {}, {"tokens": ["pos", ["neg", "negg"]]})
    assert bad[1].reason.startswith("'negg' is not in the vocabulary. Did you mean \"neg\"")
    assert bad[1].reason.endswith("(token_vocab.json)")
    assert (bad[1].column, bad[1].value, made["token_ids"][0]) == ("tokens", ["neg", "negg"], 2)


def test_a_label_that_is_null_is_named_by_its_place_with_what_to_do(tmp_path):
    _, bad = run(tmp_path, {}, {"tokens": [["neg", None], None, ["pos"]]}, unk="[UNK]")
    assert bad[0].reason == "expected words, found null at [1]: leave it out"
    assert bad[1].reason.startswith("expected a word, found nothing: leave the row out")
    assert set(bad) == {0, 1}


def test_a_word_that_is_no_unicode_is_no_unknown_word(tmp_path):
    _, bad = run(tmp_path, {}, {"tokens": [["pos", "\ud800"], "\ud800", "é"]}, unk="[UNK]")
    assert set(bad) == {0, 1}
    assert all("half of a surrogate pair" in each.reason for each in bad.values())


def test_an_unknown_word_is_the_unknown_word_where_there_is_one(tmp_path):
    made, bad = run(tmp_path, {}, {"tokens": [["pos", "negg"]]}, unk="[UNK]")
    assert (made, bad) == ({"token_ids": [[3, 0]]}, {})


def test_columns_have_the_names_of_the_maps(tmp_path):
    values = {"input_map": {"tokens": "words"}, "output_map": {"token_ids": "word_ids"}}
    assert run(tmp_path, values, {"words": ["neg"]})[0] == {"word_ids": [1]}


def test_labels_are_not_made_where_the_truth_is_unknown_and_words_are():
    labels = make("subprocessor", "token2id-label", {})
    words = make("subprocessor", "token2id", {})
    assert [labels.splits(stage) for stage in ("train", "predict", "online")] == [
        ("train", "valid", "test"),
        (),
        (),
    ]
    assert [words.splits(stage) for stage in ("predict", "online")] == [("predict",), ("online",)]
    assert labels.signature().reads == ("labels",)
    assert labels.signature().meta == ("label_vocab.json",)


def test_labels_and_words_share_their_class():
    assert register.get("subprocessor", "token2id-label") is register.get(
        "subprocessor", "token2id"
    )


@pytest.mark.parametrize("value", [1.5, True])
def test_numbers_are_looked_up_as_they_are_written(tmp_path, value):
    made, bad = run(tmp_path, {}, {"tokens": [value]}, unk="[UNK]")
    assert (made, bad) == ({"token_ids": [0]}, {})
