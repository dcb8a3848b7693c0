"""The vocabulary."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.vocabulary import UnknownWordError, Vocabulary
from dlk.errors import DataError

WORDS = st.dictionaries(st.text(max_size=5), st.integers(1, 9), max_size=12)


def vocabulary(counts=None, *, min_freq=1, most_common=-1, **specials):
    made = Vocabulary(**specials)
    made.add(counts or {}, min_freq=min_freq, most_common=most_common)
    return made


def test_special_words_come_first_then_counts_fall_then_texts_rise():
    made = vocabulary({"b": 2, "a": 2, "z": 5, "c": 1}, pad="[PAD]", unk="[UNK]")
    assert made.words == ("[PAD]", "[UNK]", "z", "a", "b", "c")
    assert (made.pad_id, made.unk_id, len(made)) == (0, 1, 6)
    assert made.numbers() == {"size": 6, "pad_id": 0, "unk_id": 1}


def test_without_special_words_a_label_has_id_zero():
    made = vocabulary({"neg": 1, "pos": 1}, pad="", unk=None)
    assert made.words == ("neg", "pos")
    assert made.numbers() == {"size": 2}
    assert (made.pad_id, made.unk_id) == (None, None)


@given(counts=WORDS, data=st.data())
def test_the_order_of_counting_changes_nothing(counts, data):
    shuffled = dict(data.draw(st.permutations(list(counts.items()))))
    assert vocabulary(counts, pad="[PAD]") == vocabulary(shuffled, pad="[PAD]")


@given(first=WORDS, second=WORDS)
def test_saved_and_loaded_it_grows_like_the_original(tmp_path_factory, first, second):
    path = str(tmp_path_factory.mktemp("vocabulary") / "v.json")
    made = vocabulary(first, pad="[PAD]", unk="[UNK]", ignore="[IGNORE]")
    made.save(path)
    loaded = Vocabulary.load(path)
    assert loaded == made
    made.add(second)
    loaded.add(second)
    assert loaded == made
    assert [loaded.id(word) for word in loaded.words] == list(range(len(loaded)))


@given(first=WORDS, second=WORDS)
def test_growing_keeps_the_ids_that_were_given(first, second):
    made = vocabulary(first, unk="[UNK]")
    before = made.words
    made.add(second)
    assert made.words[: len(before)] == before


def test_min_freq_leaves_rare_words_out_and_keeps_the_special_ones():
    made = vocabulary({"often": 3, "once": 1}, min_freq=2, pad="[PAD]")
    assert made.words == ("[PAD]", "often")


def test_most_common_limits_the_words_beside_the_special_ones():
    made = vocabulary({"a": 3, "b": 2, "c": 1}, most_common=2, pad="[PAD]", unk="[UNK]")
    assert made.words == ("[PAD]", "[UNK]", "a", "b")
    made.add({"d": 9}, most_common=3)
    assert made.words[-1] == "d"
    made.add({"e": 9}, most_common=3)
    assert "e" not in made


def test_a_special_word_of_the_data_is_counted_where_it_stands():
    made = vocabulary({"[UNK]": 7, "a": 1}, unk="[UNK]")
    assert made.words == ("[UNK]", "a")
    assert (made.count("[UNK]"), made.count("a"), made.count("nobody")) == (7, 1, 0)


def test_an_unknown_word_without_unk_names_the_nearest():
    made = vocabulary({"positive": 1, "negative": 1})
    with pytest.raises(UnknownWordError, match='Did you mean "positive"') as caught:
        made.id("positiv")
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == caught.value.reason


def test_an_unknown_word_with_unk_has_its_id():
    assert vocabulary({"a": 1}, unk="[UNK]").id("b") == 0


def test_words_are_taken_as_they_are():
    made = vocabulary({" a": 1, "A": 1})
    assert made.words == (" a", "A")
    with pytest.raises(UnknownWordError):
        made.id("a")


def test_the_ignored_word_is_minus_100_and_takes_no_place():
    made = vocabulary({"O": 3, "B": 1}, ignore="O")
    assert (made.id("O"), made.id("B"), len(made)) == (-100, 0, 1)
    assert made.word(-100) == "O"
    with pytest.raises(DataError, match="cannot be ignored"):
        Vocabulary(unk="O", ignore="O")


def test_numbers_are_looked_up_by_their_text():
    made = vocabulary({"0": 1, "1": 1, "True": 1})
    assert [made.id(0), made.id(1), made.id(True)] == [0, 1, 2]
    with pytest.raises(TypeError, match="texts and numbers"):
        made.id({"a": 1})


def test_an_id_that_there_is_not_is_an_index_error():
    with pytest.raises(IndexError, match="1 words, none with id 1"):
        vocabulary({"a": 1}).word(1)
    with pytest.raises(IndexError):
        vocabulary({"a": 1}).word(-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "schema"),
        ({"words": ["a", "[PAD]"]}, "must come first"),
        ({"words": ["[PAD]", "[PAD]"]}, "no word twice"),
        ({"counts": [1]}, "as many"),
        ({"words": ["[PAD]", 3]}, "as many"),
        ({"pad": ["[PAD]"]}, "must be texts or null"),
    ],
)
def test_a_file_that_is_no_vocabulary_says_why(tmp_path, change, message):
    plain = vocabulary({"a": 1}, pad="[PAD]").to_dict() | change
    path = tmp_path / "v.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(DataError, match=message):
        Vocabulary.load(str(path))


def test_a_missing_or_broken_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="there is no vocabulary"):
        Vocabulary.load(str(tmp_path / "v.json"))
    (tmp_path / "v.json").write_text("{")
    with pytest.raises(DataError, match="is no vocabulary"):
        Vocabulary.load(str(tmp_path / "v.json"))
