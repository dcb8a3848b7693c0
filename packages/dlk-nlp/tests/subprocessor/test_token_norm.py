"""Rewriting unknown words."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError
from dlk.nlp.subprocessor.token_norm import lower, zero_digits
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance

KNOWN = ("apple", "Paris", "00", "x0", "straße", "i̇", "2024", "Rio", "rio")


def vocabulary() -> Vocabulary:
    made = Vocabulary(pad="[PAD]", unk="[UNK]")
    made.add(dict.fromkeys(KNOWN, 1))
    return made


def wordpiece(path, *, lowercase=False) -> str:
    words = {word: number for number, word in enumerate(["[UNK]", *KNOWN, ".", "##s"])}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(path))
    return str(path)


class TestByVocabulary(SubprocessorConformance):
    component = ("subprocessor", "token_norm")
    config: ClassVar = {"vocab": "token_vocab.json"}
    columns: ClassVar = {"tokens": [["Apple", "paris", "X1"], [], ["42"]]}
    bad: ClassVar = {"tokens": [None, "Apple", [1]]}

    def prepare(self, meta: Meta) -> None:
        meta.put_vocabulary("token_vocab.json", vocabulary())


class TestByTokenizer(SubprocessorConformance):
    component = ("subprocessor", "token_norm")
    columns: ClassVar = {"sentence": ["Apple  in 42.", "", "Paris"]}
    bad: ClassVar = {"sentence": [None, 3, "a \ud800"]}

    def values(self, folder):
        return {"tokenizer_path": wordpiece(folder / "tokenizer.json")}


@pytest.fixture
def words(tmp_path):
    def made(*rows, **values):
        meta = Meta(tmp_path / "meta")
        meta.put_vocabulary("token_vocab.json", vocabulary())
        config = make("subprocessor", "token_norm", {"vocab": "token_vocab.json", **values})
        step = register.build(config, Setup(meta))
        ctx = TransformContext("online", "online", range(len(rows)), frozenset(step.writes))
        columns = {"tokens": list(rows), "_row": list(range(len(rows)))}
        return step.transform(columns, ctx)["norm_tokens"], ctx

    return made


@pytest.fixture
def texts(tmp_path):
    path = wordpiece(tmp_path / "wordpiece.json")

    def made(*rows, **values):
        config = make("subprocessor", "token_norm", {"tokenizer_path": path, **values})
        step = register.build(config, Setup(Meta(tmp_path / "meta")))
        ctx = TransformContext("online", "online", range(len(rows)), frozenset(step.writes))
        columns = {"sentence": list(rows), "_row": list(range(len(rows)))}
        return step.transform(columns, ctx)["norm_sentence"], ctx

    return made


def test_a_word_is_rewritten_only_if_it_is_unknown_and_the_result_known(words):
    rows, ctx = words(["Apple", "Paris", "PARIS", "2024", "42", "X7", "9x", "Rio"])
    assert rows == [["apple", "Paris", "PARIS", "2024", "00", "x0", "9x", "Rio"]]
    assert ctx.counts == {"words rewritten": 3}


def test_each_change_can_be_left_out(words):
    row = ["Apple", "42", "X7", "Rio"]
    assert words(row, lowercase=False)[0] == [["Apple", "00", "X7", "Rio"]]
    assert words(row, zero_digits_replaced=False)[0] == [["apple", "42", "X7", "Rio"]]


def test_texts_are_rewritten_where_their_words_are_unknown(texts):
    rows, ctx = texts("An Apple's  42. X7, PARIS Apple", "")
    assert rows == ["An apple's  00. x0, PARIS apple", ""]
    assert ctx.counts == {"words rewritten": 4}


def test_a_tokenizer_that_lowers_by_itself_needs_no_lower_case(tmp_path):
    path = wordpiece(tmp_path / "uncased.json", lowercase=True)
    step = register.build(make("subprocessor", "token_norm", {"tokenizer_path": path}))
    ctx = TransformContext("online", "online", range(1), frozenset(step.writes))
    made = step.transform({"sentence": ["Apple 42"], "_row": [0]}, ctx)
    assert made == {"norm_sentence": ["Apple 00"]}


@pytest.mark.parametrize(
    ("word", "expected"),
    [("İzmir", "İzmir"), ("STRASSE", "strasse"), ("ΣΑΣ", "σας"), ("ẞ", "ß"), ("1", "1")],
)
def test_lower_case_keeps_the_length(word, expected):
    assert lower(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x7", "x0"),
        ("1.5", "0.0"),
        ("٣٤", "00"),
        ("１２", "00"),
        ("m²", "m²"),
        ("½", "½"),
        ("Ⅷ", "Ⅷ"),
    ],
)
def test_digits_of_any_script_become_0_and_other_numbers_stay(word, expected):
    assert zero_digits(word) == expected


@settings(deadline=None)
@given(text=st.text())
def test_lower_case_keeps_the_length_of_any_text_and_is_python_s_where_that_does(text):
    made = lower(text)
    assert len(made) == len(text)
    assert made == text.lower() or len(text.lower()) != len(text)


@settings(deadline=None)
@given(
    text=st.lists(st.sampled_from(["İ", "I", "Apple", "42", "é", "👩‍👧", " ", "X7", "ß", "ﬁ"])).map(
        "".join
    )
)
def test_a_text_keeps_its_length_and_what_is_no_word(tmp_path_factory, text):
    path = wordpiece(tmp_path_factory.getbasetemp() / "any.json")
    step = register.build(make("subprocessor", "token_norm", {"tokenizer_path": path}))
    ctx = TransformContext("online", "online", range(1), frozenset(step.writes))
    (made,) = step.transform({"sentence": [text], "_row": [0]}, ctx)["norm_sentence"]
    assert len(made) == len(text)
    assert [i for i, c in enumerate(made) if c == " "] == [
        i for i, c in enumerate(text) if c == " "
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "vocab or tokenizer_path, got neither"),
        ({"vocab": "v.json", "tokenizer_path": "t.json"}, "got both"),
        ({"vocab": "v.json", "lowercase": False, "zero_digits_replaced": False}, "got neither"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(values, message):
    with pytest.raises(ConfigError, match=message):
        make("subprocessor", "token_norm", values)


def test_a_tokenizer_that_knows_every_word_is_refused(tmp_path):
    Tokenizer(models.BPE()).save(str(tmp_path / "bpe.json"))
    config = make("subprocessor", "token_norm", {"tokenizer_path": str(tmp_path / "bpe.json")})
    with pytest.raises(DataError, match=r"bpe\.json has no unknown token"):
        register.build(config)


@pytest.mark.parametrize("name", ["missing.json", "other.json"])
def test_what_is_no_tokenizer_is_named(tmp_path, name):
    (tmp_path / "other.json").write_text("{}")
    config = make("subprocessor", "token_norm", {"tokenizer_path": str(tmp_path / name)})
    with pytest.raises(DataError, match=rf"{name}"):
        register.build(config)


def test_serving_needs_no_file_from_outside(tmp_path):
    path = wordpiece(tmp_path / "tokenizer.json")
    config = {
        "@processor@default": {
            "processed_data_dir": str(tmp_path / "processed"),
            "keep": ["norm_sentence"],
            "@subprocessor@token_norm": {"tokenizer_path": path},
        }
    }
    Process(config).run({"train": [{"sentence": "Apple"}]})
    (tmp_path / "tokenizer.json").unlink()
    made = Process(config, stage="online").run([{"sentence": "Apple"}])
    assert made.columns["norm_sentence"] == ["apple"]


def test_two_tokenizers_of_one_name_are_refused(tmp_path):
    meta = Meta(tmp_path / "meta")
    for name, lowercase in (("a.json", False), ("b.json", True)):
        path = wordpiece(tmp_path / name, lowercase=lowercase)
        config = make("subprocessor", "token_norm", {"tokenizer_path": path})
        step = register.build(config, Setup(Meta.empty()))
        if name == "b.json":
            with pytest.raises(DataError, match=r"two tokenizers that differ"):
                step.store(meta)
        else:
            step.store(meta)
            step.store(meta)
