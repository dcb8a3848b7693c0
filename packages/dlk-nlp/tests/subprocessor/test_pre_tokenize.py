"""Texts to words with their places."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from dlk.config import make
from dlk.context import Setup
from dlk.data.subprocessor.base import TransformContext
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance

METHODS = ("bert", "whitespace", "whitespacesplit")
# emoji of several code points, combining marks, right-to-left, zero-width, letters that grow
PIECES = [
    "a",
    "Bc",
    "1.5",
    "-",
    "ß",
    "İ",
    "é",
    "e\u0301",
    "👩‍👩‍👧",
    "🇩🇪",
    "שלום",
    "\u200d",
    "\u200f",
]
TEXTS = st.lists(
    st.one_of(st.sampled_from([*PIECES, " ", "\n", "\u3000"]), st.text(max_size=4)), max_size=12
).map("".join)


def step(**values):
    return register.build(make("subprocessor", "pre_tokenize", values), Setup.empty())


def run(columns, **values):
    made = step(**values)
    size = len(next(iter(columns.values())))
    ctx = TransformContext("predict", "predict", range(size), frozenset(made.writes))
    found = made.transform({**columns, "_row": list(range(size))}, ctx)
    return {name: list(values) for name, values in found.items()}, ctx


class TestPreTokenize(SubprocessorConformance):
    component = ("subprocessor", "pre_tokenize")
    config: ClassVar = {"max_length": 3}
    columns: ClassVar = {"sentence": ["It's a dog, isn't it?", "", "two  words"]}
    bad: ClassVar = {"sentence": [None, 3, ["a"]]}


class TestWords(SubprocessorConformance):
    component = ("subprocessor", "pre_tokenize")
    config: ClassVar = {
        "method": "words",
        "input_map": {"pretokenized_word_offsets": "pretokenized_word_offsets"},
    }
    columns: ClassVar = {
        "pretokenized_words": [["a", "dog"], [], ["b"]],
        "pretokenized_word_offsets": [[[0, 1], [2, 5]], [], [[4, 5]]],
    }
    bad: ClassVar = {
        "pretokenized_words": [None, "a dog", ["a", 3], ["a"], ["a"], ["a"], ["a", "b"], ["a"]],
        "pretokenized_word_offsets": [
            *([[[0, 1]]] * 3),
            None,
            [[0, 1], [1, 2]],
            [[2, 1]],
            [[2, 3], [1, 2]],
            [[0, True]],
        ],
    }


class TestWordsInText(SubprocessorConformance):
    component = ("subprocessor", "pre_tokenize")
    config: ClassVar = {"method": "words"}
    columns: ClassVar = {
        "pretokenized_words": [["a", "a", "b"], []],
        "sentence": ["a ab", "x"],
    }
    bad: ClassVar = {
        "pretokenized_words": [["a"], ["b", "a"], None],
        "sentence": [None, "a b", "a"],
    }


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None)
@given(text=TEXTS)
def test_words_are_the_text_between_their_offsets(method, text):
    made, _ = run({"sentence": [text]}, method=method)
    (words,), (offsets,) = made["tokens"], made["offsets"]
    assert [text[start:end] for start, end in offsets] == words
    assert all(words)
    ends = [0, *(end for _, end in offsets)]
    assert all(end <= start for end, (start, _) in zip(ends, offsets, strict=False))
    left_out = "".join(text[end:start] for end, (start, _) in zip(ends, offsets, strict=False))
    assert not (left_out + text[ends[-1] :]).strip() or method == "bert"


@settings(deadline=None)
@given(text=TEXTS)
def test_split_at_spaces_is_python_s(text):
    made, _ = run({"sentence": [text]}, method="whitespacesplit")
    # Python also splits at the separators of ASCII, which are no white space in Unicode
    plain = re.sub("[\x1c-\x1f]", "_", text)
    made, _ = run({"sentence": [plain]}, method="whitespacesplit")
    assert made["tokens"] == [plain.split()]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("bert", ["don", "'", "t", "_", "1", ".", "5", "ok", "!", "!"]),
        ("whitespace", ["don", "'", "t_1", ".", "5", "ok", "!!"]),
        ("whitespacesplit", ["don't_1.5", "ok!!"]),
    ],
)
def test_each_method_splits_as_its_help_says(method, expected):
    made, _ = run({"sentence": ["don't_1.5 ok!!"]}, method=method)
    assert made["tokens"] == [expected]
    assert made["word_ids"] == [list(range(len(expected)))]


def test_words_behind_max_length_are_cut_and_counted():
    made, ctx = run({"sentence": ["a b c d", "a b", "a b c"]}, max_length=2)
    assert made["tokens"] == [["a", "b"]] * 3
    assert made["offsets"] == [[[0, 1], [2, 3]]] * 3
    assert made["word_ids"] == [[0, 1]] * 3
    assert ctx.counts == {"texts cut by max_length": 2, "words cut by max_length": 3}


def test_words_are_looked_for_one_behind_the_other():
    rows = {"pretokenized_words": [["a", "ba", "", "a"]], "sentence": ["aba  a"]}
    made, _ = run(rows, method="words")
    assert made["offsets"] == [[(0, 1), (1, 3), (3, 3), (3 + 2, 6)]]


def test_outputs_mapped_to_nothing_are_not_written():
    made, _ = run({"sentence": ["a"]}, output_map={"word_ids": ""})
    assert set(made) == {"tokens", "offsets"}


def test_a_text_that_is_no_unicode_is_a_bad_row():
    _, ctx = run({"sentence": ["a \ud800 b", "fine"]})
    assert list(ctx.bad) == [0]


def test_a_folder_of_texts_without_any_word_can_be_processed(tmp_path):
    config = {
        "@processor@default": {
            "processed_data_dir": str(tmp_path / "processed"),
            "keep": ["tokens", "offsets"],
            "@subprocessor@pre_tokenize": {},
        }
    }
    done = Process(config).run({"train": [{"sentence": ""}, {"sentence": "  "}]})
    assert done.records == {"train": 2}


@given(text=st.text(st.characters(max_codepoint=127), max_size=20))
@example("".join(f"a{chr(code)}b{chr(code)}" for code in range(128)))
@settings(deadline=None)
def test_words_of_ascii_are_those_of_the_library(text):
    library = (
        pre_tokenizers.BertPreTokenizer,
        pre_tokenizers.Whitespace,
        pre_tokenizers.WhitespaceSplit,
    )
    for method, splitter in zip(METHODS, library, strict=True):
        made, _ = run({"sentence": [text]}, method=method)
        words = list(zip(made["tokens"][0], map(tuple, made["offsets"][0]), strict=True))
        assert words == splitter().pre_tokenize_str(text)
