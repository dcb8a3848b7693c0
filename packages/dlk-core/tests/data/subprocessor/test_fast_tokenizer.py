"""Texts to ids."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.tokenizer_file import read_tokenizer
from dlk.errors import ConfigError, DataError
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance, tiny_tokenizer
from dlk.testing.tokenizers import KINDS, trained_tokenizer

CLS, SEP, UNK = 2, 3, 1


def ids(letters):
    return [4 + ord(letter) - ord("a") for letter in letters]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_tokenizer(
        tmp_path_factory.mktemp("tokenizer") / "tokenizer.json", ["##b", "ab", "A"]
    )


@pytest.fixture
def build(path):
    def made(meta=None, **values):
        config = make("subprocessor", "fast_tokenizer", {"tokenizer_path": path, **values})
        return register.build(config, Setup(meta=meta or Meta.empty()))

    return made


def run(step, wanted=(), rows=None, **columns):
    size = len(next(iter(columns.values())))
    rows = list(rows or range(size))
    ctx = TransformContext("train", "train", rows, frozenset(wanted))
    made = step.transform({**columns, "_row": rows}, ctx)
    return {name: list(values) for name, values in made.items()}, ctx


class TestSingle(SubprocessorConformance):
    component = ("subprocessor", "fast_tokenizer")
    columns: ClassVar = {"sentence": ["a b", "c", "", "d e f g h"]}
    bad: ClassVar = {"sentence": [None, 3, ["a"]]}
    config: ClassVar = {}

    def values(self, folder):
        return {"tokenizer_path": tiny_tokenizer(folder / "tokenizer.json"), **self.config}


class TestWindows(TestSingle):
    config: ClassVar = {"expand_examples": True, "truncation": {"max_length": 5, "stride": 1}}


class TestPair(TestSingle):
    columns: ClassVar = {"sentence_a": ["a b", "c", ""], "sentence_b": ["d", "e f", "g"]}
    bad: ClassVar = {"sentence_a": ["a", None], "sentence_b": [None, "a"]}
    config: ClassVar = {"input_type": "pair"}


class TestPairWindows(TestPair):
    bad: ClassVar = {"sentence_a": ["a", "a b c d e f"], "sentence_b": [3, "a"]}
    config: ClassVar = {
        "input_type": "pair",
        "expand_examples": True,
        "truncation": {"max_length": 7, "stride": 1, "strategy": "only_second"},
    }


class TestWords(TestSingle):
    columns: ClassVar = {
        "pretokenized_words": [["a b", "c"], [], ["d"]],
        "pretokenized_word_offsets": [[[0, 3], [5, 6]], [], [[2, 3]]],
    }
    bad: ClassVar = {
        "pretokenized_words": [None, "a b", [1], ["a"]],
        "pretokenized_word_offsets": [[], [], [], []],
    }
    config: ClassVar = {"process_data": {"is_pretokenized": True}, "fix_offset": True}


def test_padding_and_truncation_of_the_file_are_switched_off(build, path):
    assert Tokenizer.from_file(path).encode("a b c d e").ids == [CLS, *ids("ab"), SEP, 0, 0, 0, 0]
    made, _ = run(build(), sentence=["a b c d e", "a"])
    assert made == {"input_ids": [[CLS, *ids("abcde"), SEP], [CLS, *ids("a"), SEP]]}


def test_max_length_cuts_the_end_or_the_start(build):
    cut = {"max_length": 4}
    assert run(build(truncation=cut), sentence=["a b c"])[0]["input_ids"] == [
        [CLS, *ids("ab"), SEP]
    ]
    cut["direction"] = "left"
    assert run(build(truncation=cut), sentence=["a b c"])[0]["input_ids"] == [
        [CLS, *ids("bc"), SEP]
    ]
    free = run(build(truncation={"max_length": None}), sentence=["a " * 600])[0]["input_ids"]
    assert len(free[0]) == 602


def test_a_pair_has_type_ids_and_its_strategy_says_which_text_is_cut(build):
    def cut(strategy):
        step = build(input_type="pair", truncation={"max_length": 7, "strategy": strategy})
        made, _ = run(step, sentence_a=["a b c"], sentence_b=["d e"])
        return made["input_ids"][0], made["type_ids"][0]

    assert cut("only_first") == ([CLS, *ids("ab"), SEP, *ids("de"), SEP], [0, 0, 0, 0, 1, 1, 1])
    assert cut("only_second") == ([CLS, *ids("abc"), SEP, *ids("d"), SEP], [0] * 5 + [1] * 2)
    assert cut("longest_first") == cut("only_first")


def test_a_text_that_the_strategy_cannot_cut_is_a_bad_row_and_the_others_go_on(build):
    step = build(input_type="pair", truncation={"max_length": 5, "strategy": "only_first"})
    made, ctx = run(
        step, sentence_a=["a", "a", "b"], sentence_b=["d", "d e f g", "c"], rows=[7, 8, 9]
    )
    assert list(ctx.bad) == [8]
    assert "refuses" in ctx.bad[8].reason
    assert made["input_ids"][2] == [CLS, *ids("b"), SEP, *ids("c"), SEP]
    _, alone = run(step, sentence_a=["a"], sentence_b=["d e f g"])
    assert list(alone.bad) == [0]


@given(
    text=st.lists(st.sampled_from("abcdefg"), max_size=12),
    max_length=st.integers(4, 8),
    stride=st.integers(0, 1),
)
def test_windows_cover_every_token_share_the_stride_and_belong_to_their_row(
    path, text, max_length, stride
):
    cut = {"max_length": max_length, "stride": stride}
    config = make(
        "subprocessor",
        "fast_tokenizer",
        {"tokenizer_path": path, "expand_examples": True, "truncation": cut},
    )
    step = register.build(config, Setup.empty())
    made, _ = run(step, sentence=["a", " ".join(text)], rows=[5, 6])
    assert made["_row"] == [5] + [6] * (len(made["_row"]) - 1)
    assert made["_part"] == [0, *range(len(made["_row"]) - 1)]
    windows = [window[1:-1] for window in made["input_ids"][1:]]
    assert all(len(window) <= max_length - 2 for window in windows)
    joined = windows[0] + [token for window in windows[1:] for token in window[stride:]]
    assert joined == ids(text)
    for left, right in pairwise(windows):
        assert left[len(left) - stride :] == right[:stride]


def test_windows_over_a_pair_keep_the_other_text_whole(build):
    step = build(
        input_type="pair",
        expand_examples=True,
        truncation={"max_length": 7, "stride": 1, "strategy": "only_second"},
    )
    made, _ = run(step, sentence_a=["a b"], sentence_b=["c d e"])
    assert made["input_ids"] == [
        [CLS, *ids("ab"), SEP, *ids("cd"), SEP],
        [CLS, *ids("ab"), SEP, *ids("de"), SEP],
    ]
    _, ctx = run(step, sentence_a=["a", "a b c"], sentence_b=["d", "d e"])
    assert ctx.bad[1].column == "sentence_a"
    assert "3 tokens leave 1 for windows, which share 1" in ctx.bad[1].reason


def test_other_outputs_are_made_only_where_wanted(build):
    names = {
        "attention_mask",
        "type_ids",
        "tokens",
        "special_tokens_mask",
        "offsets",
        "word_ids",
        "sequence_ids",
    }
    made, _ = run(build(), wanted=names, sentence=["a  zz"])
    assert made == {
        "input_ids": [[CLS, *ids("a"), UNK, SEP]],
        "attention_mask": [[1, 1, 1, 1]],
        "type_ids": [[0, 0, 0, 0]],
        "tokens": [["[CLS]", "a", "[UNK]", "[SEP]"]],
        "special_tokens_mask": [[1, 0, 0, 1]],
        "offsets": [[[0, 0], [0, 1], [3, 5], [0, 0]]],
        "word_ids": [[None, 0, 1, None]],
        "sequence_ids": [[None, 0, 0, None]],
    }
    for name in names:
        alone, _ = run(build(), wanted={name}, sentence=["a  zz"])
        assert alone == {"input_ids": made["input_ids"], name: made[name]}
    assert set(run(build(), sentence=["a"])[0]) == {"input_ids"}


def test_columns_have_the_names_of_the_maps(build):
    step = build(input_map={"sentence": "text"}, output_map={"ids": "encoder_ids"})
    assert run(step, text=["a"])[0] == {"encoder_ids": [[CLS, *ids("a"), SEP]]}
    assert step.reads == ("text",)


def test_special_tokens_can_be_left_out(build):
    step = build(process_data={"add_special_tokens": False}, truncation={"max_length": 2})
    assert run(step, sentence=["a b c"])[0]["input_ids"] == [ids("ab")]


def test_words_have_word_ids_and_offsets_inside_the_word_or_from_the_text_start(build):
    given = {
        "pretokenized_words": [["a b", "c"]],
        "pretokenized_word_offsets": [[[10, 13], [20, 21]]],
    }
    plain = build(process_data={"is_pretokenized": True})
    made, _ = run(plain, {"offsets", "word_ids"}, pretokenized_words=given["pretokenized_words"])
    assert made["word_ids"] == [[None, 0, 0, 1, None]]
    assert made["offsets"] == [[[0, 0], [0, 1], [2, 3], [0, 1], [0, 0]]]
    mended, _ = run(
        build(process_data={"is_pretokenized": True}, fix_offset=True), {"offsets"}, **given
    )
    assert mended["offsets"] == [[[0, 0], [10, 11], [12, 13], [20, 21], [0, 0]]]


def test_normalizer_pre_tokenizer_and_post_processor_are_replaced(build):
    def encoded(text, **values):
        return run(build(**values), sentence=[text])[0]["input_ids"][0]

    assert encoded("A B") == [CLS, 32, UNK, SEP]
    assert encoded("A B", normalizer="lowercase") == [CLS, *ids("ab"), SEP]
    assert encoded("Á", normalizer=["nfd", "strip_accents", "lowercase"]) == [CLS, *ids("a"), SEP]
    assert encoded("a-b", pre_tokenizer="whitespacesplit") == [CLS, UNK, SEP]
    assert encoded("a-b", pre_tokenizer="bert") == [CLS, *ids("a"), UNK, *ids("b"), SEP]
    assert encoded("a-b", pre_tokenizer=["whitespacesplit", "bert"])[2] == UNK
    prefixed = encoded("a", pre_tokenizer={"bytelevel": {"add_prefix_space": True}})
    assert prefixed == [CLS, UNK, SEP]
    assert encoded("a", pre_tokenizer={"bytelevel": {"add_prefix_space": False}}) == encoded("a")
    with pytest.raises(ConfigError, match='"strip" takes no such options'):
        build(normalizer=[{"strip": {"up": True}}])
    assert encoded("ｂ", normalizer="nfkc") == encoded("ｂ", normalizer="nfkd") == encoded("b")
    assert encoded("ｂ", normalizer="nfc") == encoded("ｂ") == [CLS, UNK, SEP]
    assert encoded("É\x00", normalizer="bert") == [CLS, *ids("e"), SEP]
    assert encoded("É", normalizer={"bert": {"strip_accents": False}}) == [CLS, UNK, SEP]
    assert encoded("a", pre_tokenizer="metaspace") == [CLS, UNK, SEP]  # "▁a"
    assert encoded("a", pre_tokenizer={"metaspace": {"prepend_scheme": "never"}}) == encoded("a")
    assert encoded("a b", post_processor=None) == ids("ab")
    assert encoded("a b", post_processor="bert") == [CLS, *ids("ab"), SEP]
    assert encoded("a b", pre_tokenizer=None) == [CLS, UNK, SEP]


def test_normalizer_null_takes_the_files_away(build, tmp_path):
    tokenizer = Tokenizer.from_file(tiny_tokenizer(tmp_path / "t.json"))
    from tokenizers import normalizers

    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(tmp_path / "t.json"))
    lowered = {"tokenizer_path": str(tmp_path / "t.json")}
    assert run(build(**lowered), sentence=["B"])[0]["input_ids"] == [[CLS, *ids("b"), SEP]]
    assert run(build(normalizer=None, **lowered), sentence=["B"])[0]["input_ids"] == [
        [CLS, UNK, SEP]
    ]


def test_the_copy_in_meta_serves_without_the_file(build, tmp_path, path):
    meta = Meta(tmp_path / "meta")
    meta.save()
    first = build(normalizer="lowercase", tokenizer="words.json")
    first.store(meta)
    assert Meta.load(tmp_path).numbers() == {
        "words": {"size": 33, "pad_id": 0, "unk_id": 1, "cls_id": 2, "sep_id": 3}
    }
    again = build(
        Meta.load(tmp_path),
        tokenizer_path=str(tmp_path / "gone.json"),
        normalizer="lowercase",
        tokenizer="words.json",
    )
    assert run(again, sentence=["A b"])[0] == run(first, sentence=["A b"])[0]
    first.store(meta)
    with pytest.raises(DataError, match=r'differ would be kept as "words.json"'):
        build(tokenizer="words.json").store(meta)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"truncation": {"stride": 2}}, "truncation.stride"),
        ({"truncation": {"max_length": None}, "expand_examples": True}, "truncation.max_length"),
        (
            {"truncation": {"max_length": 4, "stride": 4}, "expand_examples": True},
            "truncation.stride",
        ),
        ({"input_type": "pair", "expand_examples": True}, "truncation.strategy"),
        ({"truncation": {"strategy": "only_second"}}, "truncation.strategy"),
        ({"fix_offset": True}, "fix_offset"),
        ({"normalizer": "upper"}, "normalizer"),
        ({"normalizer": ["nfd", 3]}, "normalizer"),
        ({"normalizer": {"strip": 3}}, "normalizer"),
        ({"post_processor": "none"}, "post_processor"),
        ({"pre_tokenizer": "spacy"}, "pre_tokenizer"),
        ({"input_type": "triple"}, "input_type"),
        ({"truncation": {"max_len": 3}}, "max_len"),
        ({"online_data_set": ["train"]}, "online_data_set"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(build, values, field):
    with pytest.raises(ConfigError, match=field):
        build(**values)


def test_too_little_room_and_missing_special_tokens_are_config_errors(build, tmp_path):
    with pytest.raises(ConfigError, match="leaves 0 tokens beside 2 special ones"):
        build(truncation={"max_length": 2})
    from tokenizers import models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "t.json"))
    with pytest.raises(ConfigError, match=r"needs \[CLS\] and \[SEP\]"):
        build(tokenizer_path=str(tmp_path / "t.json"), post_processor="bert")
    with pytest.raises(ConfigError, match=r'"roberta" needs <s> and </s>'):
        build(post_processor="roberta")


def test_a_file_that_is_missing_or_no_tokenizer_is_named(build, tmp_path):
    with pytest.raises(DataError, match=r"cannot read the tokenizer .*gone\.json"):
        build(tokenizer_path=str(tmp_path / "gone.json"))
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DataError, match=r"t\.json is no tokenizer"):
        build(tokenizer_path=str(tmp_path / "t.json"))


# Every kind of tokenizer -------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def kind(request, build, tmp_path):
    trained_tokenizer(request.param).save(str(tmp_path / "kind.json"))

    def made(**values):
        return build(tokenizer_path=str(tmp_path / "kind.json"), **values)

    return made


ALL = frozenset({"offsets", "word_ids", "special_tokens_mask", "tokens"})


def pieces(made, record):
    """(token, id, offsets, word) of each piece that the text gave."""
    rows = zip(*(made[name][record] for name in (*sorted(ALL), "input_ids")), strict=True)
    return [
        (token, number, offsets, word)
        for offsets, special, token, word, number in rows
        if not special
    ]


@pytest.mark.parametrize("direction", ["right", "left"])
def test_windows_of_a_long_text_hold_every_piece_with_its_place_and_word(kind, direction):
    text = (
        "Hello wörld, 你好 👩\u200d👧 e\u0301 test  of ﬁne\n\tthings. " * 2000
    )  # 102,000 characters
    whole, _ = run(kind(truncation={"max_length": None}), ALL, sentence=[text])
    expected = pieces(whole, 0)
    cut = {"max_length": 512, "stride": 64, "direction": direction}
    made, _ = run(kind(truncation=cut, expand_examples=True), ALL, sentence=[text])
    assert made["_part"] == list(range(len(made["_part"])))
    windows = [pieces(made, record) for record in made["_part"]]
    assert all(len(each) <= 512 for each in made["input_ids"])
    if direction == "right":
        joined = windows[0] + [piece for window in windows[1:] for piece in window[64:]]
    else:
        joined = [piece for window in windows[:-1] for piece in window[:-64]] + windows[-1]
    assert joined == expected


def test_the_ids_do_not_depend_on_what_else_is_wanted(kind):
    text = ["", " ", "a", "Hello wörld 👩\u200d👧 e\u0301", "\ufeffنص  x", "a\x00b"]
    cut = {"truncation": {"max_length": 6, "stride": 1}, "expand_examples": True}
    fast, _ = run(kind(**cut), sentence=text)
    slow, _ = run(kind(**cut), ALL, sentence=text)
    assert {name: slow[name] for name in fast} == fast


def test_offsets_are_code_points_of_the_text_as_it_was_given(kind):
    text = "\U0001f600 ﬁ e\u0301 İ x"  # the normalisers change its length
    made, _ = run(kind(), ALL, sentence=[text])
    starts = [start for start, _ in made["offsets"][0]]
    ends = [end for _, end in made["offsets"][0]]
    assert max(ends) == len(text)
    assert all(0 <= start <= end for start, end in zip(starts, ends, strict=True))


def test_a_text_that_is_no_unicode_is_a_bad_row(kind):
    made, ctx = run(kind(), sentence=["a", "\ud800", "a"])
    assert list(ctx.bad) == [1]
    assert "half of a surrogate pair" in ctx.bad[1].reason
    assert made["input_ids"][0] == made["input_ids"][2]


@pytest.mark.parametrize(
    "config",
    [
        {"input_type": "pair"},
        {
            "input_type": "pair",
            "expand_examples": True,
            "truncation": {"max_length": 7, "stride": 1, "strategy": "only_second"},
        },
    ],
)
def test_the_text_of_a_pair_that_is_no_unicode_is_named_by_its_column(build, config):
    _, ctx = run(
        build(**config), sentence_a=["a", "\ud800", "a"], sentence_b=["é", "b", "b \ud800"]
    )
    assert {row: (bad.column, bad.value) for row, bad in ctx.bad.items()} == {
        1: ("sentence_a", "\ud800"),
        2: ("sentence_b", "b \ud800"),
    }


def test_the_word_that_is_no_unicode_is_named(build):
    step = build(process_data={"is_pretokenized": True})
    _, ctx = run(step, pretokenized_words=[["é"], ["a", "\ud800"]])
    assert list(ctx.bad) == [1]
    assert ctx.bad[1].reason.startswith("word 1: half of a surrogate pair")


@pytest.fixture
def roberta(build, tmp_path):
    trained_tokenizer("roberta").save(str(tmp_path / "roberta.json"))

    def made(**values):
        return build(tokenizer_path=str(tmp_path / "roberta.json"), **values)

    return made


def test_offsets_of_words_are_mended_by_their_text_where_type_ids_are_all_zero(roberta):
    step = roberta(
        input_type="pair",
        process_data={"is_pretokenized": True},
        fix_offset=True,
        output_map={"offsets": "places"},
    )
    made, ctx = run(
        step,
        {"places", "sequence_ids", "type_ids"},
        pretokenized_words_a=[["Hello"]],
        pretokenized_words_b=[["world", "test"]],
        pretokenized_word_offsets_a=[[[5, 10]]],
        pretokenized_word_offsets_b=[[[20, 25], [30, 34]]],
    )
    assert not ctx.bad
    assert set(made["type_ids"][0]) == {0}
    ends = {0: set(), 1: set(), None: set()}
    for place, text in zip(made["places"][0], made["sequence_ids"][0], strict=True):
        ends[text].add(place[1])
    assert max(ends[0]) == 10
    assert max(ends[1]) == 34
    assert min(ends[1]) >= 20
    assert ends[None] == {0}


def test_a_real_piece_at_zero_zero_is_mended_as_one(roberta):
    step = roberta(process_data={"is_pretokenized": True}, fix_offset=True)
    given = {"pretokenized_words": [["x", "  x"]], "pretokenized_word_offsets": [[[7, 8], [9, 12]]]}
    made, _ = run(step, {"offsets", "tokens"}, **given)
    places = dict(zip(made["tokens"][0], made["offsets"][0], strict=True))
    assert places["<s>"] == places["</s>"] == [0, 0]
    assert 9 <= places["Ġ"][0] == places["Ġ"][1] <= 12  # space alone: nothing, in its word
    assert made["offsets"][0][-2] == [11, 12]


def test_offsets_hold_no_space_where_the_file_trims_them(roberta, build, tmp_path):
    text = "Hello world</s>test  x this test"
    cut = {"truncation": {"max_length": 6}, "expand_examples": True}
    made, _ = run(roberta(**cut), {"offsets", "tokens"}, sentence=[text])
    held = [text[start:end] for each in made["offsets"] for start, end in each]
    # tokenizers itself loses the "t" behind a special token, and keeps a window's first space
    assert "".join(held) == "Helloworld</s>testxthistest"
    assert {each.strip() for each in held} == set(held)
    trained_tokenizer("bytelevel").save(str(tmp_path / "plain.json"))
    plain = build(tokenizer_path=str(tmp_path / "plain.json"))
    made, _ = run(plain, {"offsets"}, sentence=["a test"])
    assert any("a test"[start] == " " for start, _ in made["offsets"][0])  # as the file says


def test_the_kept_copy_trims_as_the_file(roberta, tmp_path):
    meta = Meta(tmp_path / "meta")
    meta.save()
    first = roberta(meta=meta)
    first.store(meta)
    again = roberta(meta=meta)
    text = ["a </s>test this  x"]
    assert run(again, {"offsets"}, sentence=text) == run(first, {"offsets"}, sentence=text)
    assert again.trims


def test_the_post_processor_of_roberta_can_be_asked_for(roberta):
    bare = roberta(post_processor=None)
    again = roberta(post_processor="roberta")
    (plain,) = run(bare, sentence=["a test"])[0]["input_ids"]
    assert run(again, sentence=["a test"])[0]["input_ids"] == [[2, *plain, 3]]
    pair = roberta(post_processor="roberta", input_type="pair")
    (both,) = run(pair, sentence_a=["a test"], sentence_b=["a test"])[0]["input_ids"]
    assert both == [2, *plain, 3, 3, *plain, 3]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, {"offsets", "tokens", "type_ids"}),
        (
            {"expand_examples": True, "truncation": {"max_length": 5, "stride": 1}},
            {"offsets", "word_ids"},
        ),
    ],
)
def test_many_rows_are_encoded_as_each_alone_and_reported_at_their_rows(build, values, wanted):
    texts: list[object] = [" ".join("abcdefgh"[: n % 9]) for n in range(600)]
    texts[300] = texts[599] = None
    rows = list(range(1000, 1600))
    step = build(**values)
    made, ctx = run(step, wanted, rows, sentence=texts)
    alone = [
        run(step, wanted, [row], sentence=[text]) for row, text in zip(rows, texts, strict=True)
    ]
    assert made == {name: [v for one, _ in alone for v in one[name]] for name in made}
    assert {"input_ids", *wanted} <= set(made)
    assert sorted(ctx.bad) == [1300, 1599]
    assert run(step, wanted, rows=[], sentence=[])[0]["input_ids"] == []


def test_processing_loads_a_tokenizer_once(path, tmp_path, monkeypatch):
    loaded = []

    def read(name):
        loaded.append(name)
        return read_tokenizer(name)

    monkeypatch.setattr("dlk.data.subprocessor.fast_tokenizer.read_tokenizer", read)
    config = {
        "processed_data_dir": str(tmp_path / "out"),
        "num_workers": 0,
        "@subprocessor@fast_tokenizer": {"tokenizer_path": path},
    }
    Process({"@processor@default": config}).run({"train": {"sentence": ["a", "b c"]}})
    assert loaded == [path]
