"""The tokenizers that tests are made with."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from dlk.testing import tokenizers
from dlk.testing.tokenizers import KINDS, trained_tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_the_same_each_time_it_is_made(monkeypatch, kind):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    made = [Tokenizer.from_str(tokenizers._MAKERS[kind]().to_str()) for _ in range(4)]
    assert {each.to_str() for each in made} == {trained_tokenizer(kind).to_str()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_may_be_changed(kind):
    trained_tokenizer(kind).add_tokens(["hello there"])
    assert trained_tokenizer(kind).token_to_id("hello there") is None
    assert len(trained_tokenizer(kind).encode("hello there")) > 1


def test_words_that_the_corpus_repeats_are_pieces_and_others_are_cut():
    assert trained_tokenizer("unigram").encode("the dog").tokens[0] == "▁the"
    assert trained_tokenizer("unigram").encode("Ж").tokens == ["▁", "Ж"]
    assert trained_tokenizer("unigram").encode("Ж").ids[1] == 0
    tokens = trained_tokenizer("wordpiece").encode("The world's 你").tokens
    assert tokens[:2] == ["[CLS]", "the"]
    assert any(token.startswith("##") for token in tokens)
