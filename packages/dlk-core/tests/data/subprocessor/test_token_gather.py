"""Learning a vocabulary."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


class TestTokenGather(SubprocessorConformance):
    component = ("subprocessor", "token_gather")
    config: ClassVar = {"gather_columns": ["labels", {"column": "entities", "trace": "labels"}]}
    columns: ClassVar = {
        "labels": ["a", "b", None],
        "entities": [[{"labels": ["c"]}], [], [{"labels": ["a", "c"]}]],
    }


@pytest.fixture
def gather(tmp_path):
    def made(*chunks, **values):
        meta = Meta(tmp_path / "meta")
        meta.save()
        config = make("subprocessor", "token_gather", {"unk": None, "pad": None, **values})
        register.build(config, Setup(meta=meta)).fit(iter(chunks), meta)
        return meta.vocabulary(values.get("token_vocab", "token_vocab.json"))

    return made


def test_words_of_all_chunks_and_columns_are_counted(gather):
    made = gather(
        {"x": ["b", "a"], "y": ["c", "c"]},
        {"x": ["b", "b"], "y": ["a", "a"]},
        gather_columns=["x", "y"],
    )
    assert made.words == ("a", "b", "c")
    assert [made.count(word) for word in made] == [3, 3, 2]


def test_nested_lists_sets_and_numbers_are_gone_through_and_missing_left_out(gather):
    made = gather(
        {"x": [["a", ["b"]], {"a"}, ("c", None), None, float("nan"), 1, True]}, gather_columns=["x"]
    )
    assert made.words == ("a", "1", "True", "b", "c")


def test_a_trace_follows_dicts_inside_lists(gather):
    rows = [[{"info": {"tag": "x"}}, {"info": {"tag": ["y", "x"]}}], []]
    assert gather({"e": rows}, gather_columns=[{"column": "e", "trace": "info.tag"}]).words == (
        "x",
        "y",
    )


def test_a_trace_that_leads_nowhere_says_where_it_stops(gather):
    with pytest.raises(DataError, match=r'column "e": the trace finds no "tag" among \[\'tags\'\]'):
        gather({"e": [{"tags": "x"}]}, gather_columns=[{"column": "e", "trace": "tag"}])
    for value in ("x", ["x"]):  # a word, and a list of them
        with pytest.raises(DataError, match="needs dicts, found 'x'"):
            gather({"e": [value]}, gather_columns=[{"column": "e", "trace": "tag"}])
    with pytest.raises(DataError, match="texts and numbers, got dict"):
        gather({"e": [{"tag": "x"}]}, gather_columns=["e"])


def test_words_where_a_trace_needs_dicts_are_bad_rows(tmp_path):
    values = {"gather_columns": [{"column": "e", "trace": "tag"}]}
    step = register.build(make("subprocessor", "token_gather", values), Setup.empty())
    ctx = TransformContext("train", "train", range(2))
    step.screen({"e": [[{"tag": "x"}], ["x"]], "_row": [0, 1]}, ctx)
    assert list(ctx.bad) == [1]


def test_special_words_are_those_of_the_config(gather):
    made = gather(
        {"x": ["a", "O"]},
        gather_columns=["x"],
        pad="<p>",
        unk="<u>",
        ignore="O",
        token_vocab="v.json",
    )
    assert made.words == ("<p>", "<u>", "a")
    assert made.id("O") == -100
    default = make("subprocessor", "token_gather", {"gather_columns": ["x"]})
    assert (default.pad, default.unk, default.ignore) == ("[PAD]", "[UNK]", None)


def test_min_freq_and_most_common_limit_the_words(gather):
    rows = {"x": list("aaabbc")}
    assert gather(rows, gather_columns=["x"], min_freq=2).words == ("a", "b")
    assert gather(rows, gather_columns=["x"], most_common=1).words == ("a",)


def test_update_keeps_the_ids_of_an_earlier_vocabulary(gather, tmp_path):
    earlier = Vocabulary()
    earlier.add({"z": 1})
    earlier.save(str(tmp_path / "earlier.json"))
    made = gather(
        {"x": ["a", "a", "z"]}, gather_columns=["x"], update=str(tmp_path / "earlier.json")
    )
    assert made.words == ("z", "a")
    assert made.count("z") == 2
    with pytest.raises(DataError, match="has the special words"):
        gather(
            {"x": ["a"]}, gather_columns=["x"], update=str(tmp_path / "earlier.json"), unk="[UNK]"
        )


@pytest.mark.parametrize(
    "values",
    [
        {"gather_columns": []},
        {"gather_columns": [3]},
        {"gather_columns": [{"trace": "x"}]},
        {"gather_columns": [{"column": "x", "trail": "x"}]},
        {"gather_columns": ["x"], "train_data_set": ["train", "valid"]},
    ],
)
def test_options_that_do_not_fit_are_config_errors(values):
    with pytest.raises(ConfigError, match=r"gather_columns|train_data_set"):
        make("subprocessor", "token_gather", values)
