"""Whether texts are Unicode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.texts import flaw_in, flaw_of, flaw_of_words

ANY = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])))


@given(text=ANY)
def test_a_text_is_flawed_where_utf8_cannot_hold_it_and_what_is_said_mends_it(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        assert 'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")' in flaw_of(text)
    else:
        assert flaw_of(text) == ""
    assert flaw_of(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")) == ""


def test_the_half_and_its_place_are_named():
    reason = flaw_of("ab\udc00 \ud800")
    assert "(\\udc00) stands at 2, which is no character" in reason
    assert reason.isascii()  # so it can be printed itself


def test_the_word_is_named_where_there_are_several():
    assert flaw_of_words(["ab", "é", "c\ud800"]).startswith("word 2: half of a surrogate pair")
    assert flaw_of_words(["c\ud800"]).startswith("half of a surrogate pair")
    assert flaw_of_words(["ab", "é"]) == flaw_of_words([]) == ""


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: ("a", [x]), lambda x: {"k": {x: 1}}])
def test_a_text_is_found_at_any_depth(wrap):
    assert "half of a surrogate pair" in flaw_in(wrap("a\ud800"))
    assert flaw_in(wrap("aé")) == ""
    assert flaw_in([None, 3, 0.5, b"\xff", {1: True}]) == ""
