"""Units of many records at once are those of each alone."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.nlp.align import Aligner, Fit, piece_units, word_units
from dlk.nlp.unit_columns import piece_columns, word_columns
from dlk.testing.tokenizers import trained_tokenizer

TEXTS = st.text("ab \n\u3000e\u0301\u0308x😀\u200dé\x1c\x85ㅎ\u11ab", max_size=14)


@st.composite
def records(draw):
    """A text, offsets as odd as can be, and the words of the pieces."""
    text = draw(TEXTS)
    offsets, words, at, word = [], [], 0, 0
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.booleans()) and draw(st.booleans()):
            offsets.append((0, 0))
            words.append(None)
            continue
        start = max(0, at + draw(st.integers(-1, 2)))
        at = start + draw(st.integers(0, 3))
        word += draw(st.integers(0, 1))
        offsets.append((start, at))
        words.append(draw(st.sampled_from([None, word, word, word])))
    return text, offsets, words


def listed(units):
    return [units.of(record) for record in range(len(units.edges) - 1)]


@given(st.lists(records(), max_size=5))
def test_pieces_and_words_are_those_of_each_record(rows):
    texts, offsets, word_ids = ([row[part] for row in rows] for part in range(3))
    pieces = piece_columns(texts, offsets)
    assert listed(pieces) == [piece_units(text, each) for text, each, _ in rows]
    words = word_columns(pieces, word_ids)
    plain = [word_units(*row) for row in rows]
    assert listed(words.units) == [each.offsets or [(0, 0)] for each in plain]
    assert words.units.column(words.gather_index).tolist() == [
        each.gather_index or [-1] for each in plain
    ]
    assert pieces.column(words.word_index).tolist() == [each.word_index for each in plain]


@pytest.mark.parametrize("kind", ["wordpiece", "bytelevel", "unigram", "bytefallback"])
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_so_are_those_of_every_kind_of_tokenizer(kind, texts):
    encodings = trained_tokenizer(kind).encode_batch(texts)
    pieces = piece_columns(texts, [each.offsets for each in encodings])
    words = word_columns(pieces, [each.word_ids for each in encodings])
    for text, each, units, mine in zip(
        texts, encodings, listed(pieces), listed(words.units), strict=True
    ):
        assert units == piece_units(text, each.offsets)
        assert mine == (word_units(text, each.offsets, each.word_ids).offsets or [(0, 0)])


@given(st.lists(records(), min_size=1, max_size=4), st.data())
def test_runs_are_exact_where_a_plain_search_says_so(rows, data):
    texts, offsets = [row[0] for row in rows], [row[1] for row in rows]
    units = piece_columns(texts, offsets)
    spans = [
        (record, start, end)
        for record, text in enumerate(texts)
        for start in range(len(text))
        for end in data.draw(st.sets(st.integers(start + 1, len(text)), max_size=3))
    ]
    runs = units.runs(*([span[part] for span in spans] for part in range(3)))
    for number, (record, start, end) in enumerate(spans):
        aligner = Aligner(texts[record], units.of(record))
        placed = aligner.place(start, end)
        if runs.exact[number]:
            assert placed.fit is Fit.EXACT
            own = runs.kept[runs.first[number] : runs.end[number]] - units.edges[record]
            assert own.tolist() == aligner.kept[placed.start : placed.end]
        elif placed.fit is Fit.EXACT:  # only where marks stand in another order than their pieces
            assert aligner.kept != sorted(aligner.kept, key=lambda place: units.of(record)[place])


def test_every_white_space_is_known():
    """All that Python knows lies in the table, or the text of a chunk would be trimmed wrongly."""
    spaces = [code for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    text = "".join(map(chr, spaces))
    assert piece_columns([text + "a" + text], [[(0, 2 * len(text) + 1)]]).of(0) == [
        (len(text), len(text) + 1)
    ]
    assert piece_columns(["\U0010ffff"], [[(0, 1)]]).of(0) == [(0, 1)]


@pytest.mark.parametrize(
    ("offsets", "kind"),
    [
        ([[(0, 1, 2)]], ValueError),
        ([[(0,)]], ValueError),
        ([[3]], TypeError),
        ([[(0, "a")]], TypeError),
        ([[(0, 1.5)]], TypeError),
        ([[(0, None)]], TypeError),
        ([None], TypeError),
    ],
)
def test_offsets_that_are_none_are_refused(offsets, kind):
    with pytest.raises(kind):
        piece_columns(["ab"], offsets)


def test_words_need_a_number_for_each_piece():
    with pytest.raises(ValueError, match="each piece needs a word_id"):
        word_columns(piece_columns(["ab"], [[(0, 1), (1, 2)]]), [[0]])
