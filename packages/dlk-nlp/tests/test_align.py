"""Characters to units and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.nlp.align import (
    Aligner,
    Fit,
    Pieces,
    Placed,
    Windows,
    Words,
    merge_windows,
    piece_units,
    piece_units_of_windows,
    trim,
    word_units,
    word_units_of_windows,
)
from dlk.testing.tokenizers import trained_tokenizer


def units(kind, text):
    return piece_units(text, trained_tokenizer(kind).encode(text).offsets)


def words(kind, text):
    encoding = trained_tokenizer(kind).encode(text)
    return word_units(text, encoding.offsets, encoding.word_ids)


def fits(text, offsets, start, end, **options):
    aligner = Aligner(text, offsets)
    placed = aligner.place(start, end, **options)
    return placed.fit, placed.fit and aligner.characters(placed.start, placed.end)


# Units -------------------------------------------------------------------------------------------


def test_white_space_at_the_ends_is_trimmed():
    assert trim(" \n a b\u3000", 0, 7) == (3, 6)
    assert trim("   ", 0, 3)[0] == trim("   ", 0, 3)[1]
    assert trim("abc", 1, 2) == (1, 2)


@pytest.mark.parametrize("kind", ["bytelevel", "bytelevel_trimmed", "roberta", "unigram"])
def test_pieces_begin_at_their_letters_whether_the_file_trims_or_not(kind):
    text = "  this\n is a test"
    held = [text[start:end] for start, end in units(kind, text) if start < end]
    assert "".join(held) == "thisisatest"
    assert not any(char.isspace() for each in held for char in each)


def test_the_first_piece_of_a_later_window_is_trimmed_like_the_others():
    text = "Hello world this is a test of things the quick"
    tokenizer = trained_tokenizer("roberta")
    tokenizer.enable_truncation(6, stride=2)
    encoding = tokenizer.encode(text)
    spaced = [each for each in encoding.overflowing if text[each.offsets[1][0]] == " "]
    assert spaced, "the trap is gone: tokenizers trims here too"
    for each in spaced:
        start, end = piece_units(text, each.offsets)[1]
        assert start == end or not text[start].isspace()


def test_a_mark_that_the_normaliser_takes_away_belongs_to_the_unit_before_it():
    text = "cafe\u0301 e\u0301x"  # strip_accents removes U+0301
    held = [text[start:end] for start, end in units("wordpiece", text) if start < end]
    assert "".join(held) == "cafe\u0301e\u0301x"
    composed = [text[start:end] for start, end in units("unigram", text) if start < end]
    assert "e\u0301" in composed  # NFKC makes one letter of the two, at the first one's place


def test_a_mark_that_has_pieces_of_its_own_stays_theirs():
    assert (0, 1) in units("bytefallback", "e\u0301")
    assert (1, 2) in units("bytefallback", "e\u0301")


def test_a_mark_behind_the_last_piece_of_a_text_that_was_cut_is_nobodys():
    assert piece_units("e\u0301 abc", [(0, 1)]) == [(0, 1)]
    assert piece_units("e\u0301 \u200b", [(0, 1)]) == [(0, 2)]  # nothing that could have pieces


def test_a_mark_at_the_edge_of_a_window_is_kept_by_the_last_unit_before_it():
    text = "cafe\u0301 abc"
    first, second = Pieces([(0, 4)]), Pieces([(6, 9)])
    assert piece_units_of_windows(text, [first, second]) == [[(0, 5)], [(6, 9)]]
    overlapping = piece_units_of_windows(text, [first, Pieces([(0, 4), (6, 9)])])
    assert overlapping == [[(0, 5)], [(0, 5), (6, 9)]]


def test_a_mark_that_is_a_piece_of_the_next_window_stays_that_one_s():
    windows = [Pieces([(0, 4)]), Pieces([(4, 5), (6, 9)])]
    assert piece_units_of_windows("cafe\u0301 abc", windows) == [[(0, 4)], [(4, 5), (6, 9)]]


def test_a_mark_stays_with_its_piece_where_a_letter_fills_the_windows_between():
    """Ligatures become many letters, and so pieces: the second window has no others."""
    windows = [Pieces([(0, 1), (1, 2)]), Pieces([(1, 2), (1, 2)]), Pieces([(1, 2), (2, 3)])]
    assert piece_units_of_windows("a\ufdfa\u0ae3", windows) == [each.offsets for each in windows]


def test_a_mark_held_by_the_other_text_of_a_pair_is_taken_all_the_same():
    texts = [None, 0, 1]
    windows = [
        Pieces([(0, 0), (0, 1), (0, 1)], (), texts),
        Pieces([(0, 0), (1, 2), (3, 4)], (), texts),
    ]
    units = piece_units_of_windows("e\u0301 b", windows, sequence=1)
    assert units == [[(0, 0), (0, 0), (0, 2)], [(0, 0), (0, 0), (3, 4)]]


def test_several_units_may_hold_one_character():
    family = "👩\u200d👩\u200d👧"
    assert units("bytefallback", family)[1:5] == [(0, 1)] * 4
    assert units("unigram", "ﬁne")[:2] == [(0, 1), (0, 2)]


def test_special_tokens_hold_nothing_and_those_typed_in_the_text_their_characters():
    tokenizer = trained_tokenizer("wordpiece")
    encoding = tokenizer.encode("a [SEP] a")
    assert piece_units("a [SEP] a", encoding.offsets) == [(0, 0), (0, 1), (2, 7), (8, 9), (0, 0)]


def test_offsets_of_another_text_of_a_pair_are_empty():
    offsets, texts = [(0, 0), (0, 1), (0, 1)], [None, 0, 1]
    assert piece_units("ab", offsets, sequence_ids=texts, sequence=0) == [(0, 0), (0, 1), (0, 0)]
    assert piece_units("ab", offsets, sequence_ids=texts) == [(0, 0), (0, 1), (0, 1)]


def test_offsets_beyond_the_text_are_cut_to_it():
    assert piece_units("ab", [(0, 5), (7, 9)]) == [(0, 2), (2, 2)]


# Words -------------------------------------------------------------------------------------------


def test_words_are_those_of_the_pre_tokeniser():
    assert words("wordpiece", "New-York, x").offsets == [(0, 3), (3, 4), (4, 8), (8, 9), (10, 11)]
    found = words("bytelevel", "  this test")
    assert found.offsets == [(2, 6), (7, 11)]


def test_a_word_of_white_space_alone_is_none():
    found = words("bytelevel", "a  \n")
    assert found.offsets == [(0, 1)]
    assert found.word_index[0] == 0
    assert set(found.word_index[1:]) == {-1}


def test_the_first_piece_of_a_word_is_gathered_even_where_it_is_space():
    found = words("unigram", "xyz x")
    assert found.offsets == [(0, 3), (4, 5)]
    assert found.gather_index == [found.word_index.index(0), found.word_index.index(1)]


def test_equal_word_ids_of_two_texts_are_two_words():
    args = "ab", [(0, 1), (0, 1)], [0, 0]
    assert word_units(*args).offsets == [(0, 1)]
    assert word_units(*args, sequence_ids=[0, 1]).offsets == [(0, 1), (0, 1)]


def test_a_piece_without_a_word_that_has_characters_is_a_word_by_itself():
    found = word_units("abc", [(0, 0), (0, 1), (1, 2), (2, 3)], [None, None, None, 0])
    assert found == Words([(0, 1), (1, 2), (2, 3)], [1, 2, 3], [-1, 0, 1, 2])


# Spans -------------------------------------------------------------------------------------------

TEXT = "abcd ef \u200b gh"
UNITS = [[0, 0], [0, 4], [5, 7], [10, 12], [0, 0]]


@pytest.mark.parametrize(
    ("start", "end", "fit", "held"),
    [
        (0, 4, Fit.EXACT, (0, 4)),
        (0, 7, Fit.EXACT, (0, 7)),
        (5, 12, Fit.EXACT, (5, 12)),  # over a character that no unit holds
        (1, 3, Fit.SNAPPED, (0, 4)),
        (3, 6, Fit.SNAPPED, (0, 7)),
        (4, 8, Fit.SNAPPED, (5, 7)),  # white space at its ends
        (5, 9, Fit.SNAPPED, (5, 7)),  # and what the normaliser removed
        (7, 10, Fit.NOWHERE, 0),
        (8, 9, Fit.NOWHERE, 0),
    ],
)
def test_a_span_is_the_smallest_run_that_holds_it(start, end, fit, held):
    assert fits(TEXT, UNITS, start, end) == (fit, held)


def test_strict_refuses_a_run_that_holds_more_and_takes_one_that_lacks_space():
    assert fits(TEXT, UNITS, 1, 4, strict=True)[0] is Fit.PARTIAL
    assert fits(TEXT, UNITS, 0, 6, strict=True)[0] is Fit.PARTIAL
    assert fits(TEXT, UNITS, 4, 8, strict=True)[0] is Fit.SNAPPED
    assert fits(TEXT, UNITS, 0, 4, strict=True)[0] is Fit.EXACT


def test_a_closed_run_shares_no_character_with_a_unit_outside_of_it():
    aligner = Aligner("abcdefgh", [(0, 3), (2, 5), (4, 6), (6, 8)])
    assert aligner.place(5, 6) == (2, 3, Fit.SNAPPED)
    assert aligner.place(5, 6, closed=True) == (0, 3, Fit.SNAPPED)
    assert aligner.place(0, 6, closed=True) == (0, 3, Fit.EXACT)
    assert aligner.place(6, 8, closed=True) == (3, 4, Fit.EXACT)
    assert aligner.place(0, 3, closed=True, strict=True) == (0, 3, Fit.PARTIAL)
    runs, best, _ = Windows([aligner]).place(5, 6, closed=True)
    assert (runs, best) == ({0: (0, 3, Fit.SNAPPED)}, Fit.SNAPPED)


def test_a_closed_run_shares_no_character_with_a_unit_of_another_window():
    """Bytes of one character stand in two windows, in the second with those of the next one."""
    aligners = [Aligner("abcd", [(0, 1), (1, 2)]), Aligner("abcd", [(1, 3), (2, 3), (3, 4)])]
    runs, best, is_cut = Windows(aligners).place(0, 2, closed=True)
    assert ([run.fit for run in runs.values()], best, is_cut) == ([Fit.CUT, Fit.CUT], Fit.CUT, True)
    assert Windows(aligners).place(0, 2)[1] is Fit.EXACT
    assert Windows(aligners).place(0, 1, closed=True)[1] is Fit.EXACT
    assert aligners[1].splits(2)
    assert not aligners[1].splits(3)
    assert Aligner("abcd", [(2, 3), (0, 2), (1, 4)]).splits(3)  # out of order


@pytest.mark.parametrize("closed", [False, True])
def test_a_mark_that_another_window_holds_is_no_silence(closed):
    """A window without it says the span no more, though nothing but a mark is wanting."""
    text = "ae\u0301"
    aligners = [Aligner(text, [(0, 1), (1, 2)]), Aligner(text, [(1, 2), (2, 3)])]
    runs, best, _ = Windows(aligners).place(1, 3, closed=closed)
    assert ([run.fit for run in runs.values()], best) == ([Fit.CUT, Fit.EXACT], Fit.EXACT)
    assert Windows(aligners[:1]).place(1, 3, closed=closed)[1] is Fit.SNAPPED
    runs, best, is_cut = Windows(aligners).place(0, 3, closed=closed)
    assert ([run.fit for run in runs.values()], best, is_cut) == ([Fit.CUT, Fit.CUT], Fit.CUT, True)


def test_a_span_that_goes_on_beyond_the_record_is_cut():
    kept = [[5, 7]]
    assert fits(TEXT, kept, 3, 6)[0] is Fit.CUT
    assert fits(TEXT, kept, 5, 12)[0] is Fit.CUT
    assert fits(TEXT, kept, 4, 9)[0] is Fit.SNAPPED  # beyond it is nothing that has a unit
    assert fits(TEXT, kept, 0, 4)[0] is Fit.NOWHERE


def test_the_best_of_the_windows_counts_and_a_span_outside_of_all_is_cut():
    aligners = [Aligner(TEXT, [[0, 4]]), Aligner(TEXT, [[5, 7]])]
    runs, best, is_cut = Windows(aligners).place(5, 6)
    assert (list(runs), best, is_cut) == ([1], Fit.SNAPPED, False)
    assert Windows(aligners).place(2, 6)[1:] == (Fit.CUT, True)
    assert Windows(aligners).place(10, 12)[1:] == (Fit.NOWHERE, True)
    assert Windows(aligners).place(8, 9)[1:] == (Fit.NOWHERE, False)
    assert Windows([Aligner(" ", [])]).place(0, 1) == ({}, Fit.NOWHERE, False)


def test_a_character_that_a_normaliser_removed_between_two_windows_is_not_cut():
    aligners = [Aligner("ab$cd", [[0, 2]]), Aligner("ab$cd", [[3, 5]])]
    assert Windows(aligners).place(2, 3)[1:] == (Fit.NOWHERE, False)


@given(
    windows=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=4).map(
            lambda units: [(start, min(start + size, 10)) for start, size in units]
        ),
        min_size=1,
        max_size=5,
    ),
    text=st.text("ab \u0301", min_size=10, max_size=10),
    span=st.tuples(st.integers(0, 9), st.integers(1, 10)).map(
        lambda each: (each[0], min(sum(each), 10))
    ),
    in_order=st.booleans(),
    strict=st.booleans(),
    closed=st.booleans(),
)
def test_asking_the_near_windows_alone_tells_what_asking_all_does(
    windows, text, span, in_order, strict, closed
):
    if in_order:
        windows = sorted(sorted(units) for units in windows)
    aligners = [Aligner(text, units) for units in windows]
    runs, best, is_cut = Windows(aligners).place(*span, strict=strict, closed=closed)
    expected = placed_in_all(aligners, *span, strict=strict, closed=closed)
    assert ([runs.get(n, NOWHERE) for n in range(len(windows))], best, is_cut) == expected


NOWHERE = Placed(0, 0, Fit.NOWHERE)


def placed_in_all(aligners, start, end, *, strict, closed):
    """Return the run in each window, the best fit and whether the text was cut, asking all."""
    runs = [each.place(start, end, strict=strict, closed=closed) for each in aligners]
    for number, (run, own) in enumerate(zip(runs, aligners, strict=True)):
        if len(runs) > 1 and run.kept:
            low, high = own.characters(run.start, run.end)
            beyond = [part for part in ((start, own.start), (own.end, end)) if part[0] < part[1]]
            if any(each.place(*part).fit for part in beyond for each in aligners) or (
                closed and any(each.splits(low) or each.splits(high) for each in aligners)
            ):
                runs[number] = run._replace(fit=Fit.CUT)
    best = max(run.fit for run in runs)
    filled = [each for each in aligners if each.kept]
    if best or not filled:
        return runs, best, best is Fit.CUT
    first, last = min(each.start for each in filled), max(each.end for each in filled)
    outside = filled[0].text[start : min(end, first)] + filled[0].text[max(start, last) : end]
    return runs, best, any(char not in " \u0301" for char in outside)


@pytest.mark.parametrize("closed", [False, True])
def test_a_span_asks_those_windows_alone_that_lie_where_it_does(closed):
    asked = []

    class Asked(Aligner):
        def place(self, *span, **options):
            asked.append(span)
            return super().place(*span, **options)

        def splits(self, place):
            asked.append(place)
            return super().splits(place)

    aligners = [Asked("x" * 1010, [(n, n + 5), (n + 5, n + 10)]) for n in range(0, 1000, 5)]
    windows = Windows(aligners)
    assert [windows.place(n, n + 5, closed=closed).best for n in (0, 500)] == [Fit.EXACT] * 2
    assert windows.place(1006, 1010, closed=closed).best is Fit.NOWHERE
    assert 0 < len(asked) < 10


def test_marks_in_another_order_than_their_pieces_are_found():
    # canonical ordering swaps two marks: offsets fall
    assert fits("abcd", [[0, 1], [2, 3], [1, 2], [3, 4]], 1, 3) == (Fit.EXACT, (1, 3))
    assert fits("abcd", [[1, 2], [0, 1]], 0, 1) == (Fit.EXACT, (0, 1))
    assert fits("abcd", [[1, 2], [0, 1]], 1, 2) == (Fit.EXACT, (1, 2))


def test_a_run_that_is_none_is_refused():
    aligner = Aligner("ab", [[0, 1]])
    for run in ((0, 0), (0, 2), (-1, 1)):
        with pytest.raises(ValueError, match="no run of 1 units"):
            aligner.characters(*run)


@given(
    lengths=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=8),
    start=st.integers(0, 20),
    size=st.integers(1, 20),
)
def test_it_is_the_run_that_a_plain_search_finds(lengths, start, size):
    offsets, at = [], 0
    for gap, length in lengths:
        offsets.append([at + gap, at + gap + length])
        at += gap + length
    text = "x" * (at + 30)
    aligner = Aligner(text, offsets)
    kept = [unit for unit in offsets if unit[0] < unit[1]]
    touching = [n for n, (low, high) in enumerate(kept) if low < start + size and start < high]
    placed = aligner.place(start, start + size)
    if touching:
        assert (placed.start, placed.end) == (touching[0], touching[-1] + 1)
    else:
        assert placed == (0, 0, Fit.NOWHERE)


def test_a_word_that_a_window_cuts_is_whole_in_the_window_with_its_first_piece():
    """Words of two letters and more; the second window begins inside of the second word."""
    first = Pieces([(0, 2), (3, 5), (5, 7)], [0, 1, 1])
    second = Pieces([(5, 7), (7, 9), (10, 12)], [1, 1, 2])
    assert word_units_of_windows("ab cdefgh ij", [first, second]) == [
        Words([(0, 2), (3, 9)], [0, 1], [0, 1, 1]),
        Words([(10, 12)], [2], [-1, -1, 0]),
    ]


def test_a_word_longer_than_windows_is_one_unit():
    windows = [Pieces([(at, at + 2)], [0]) for at in (0, 2, 4)]
    found = word_units_of_windows("abcdef", windows)
    assert [words.offsets for words in found] == [[(0, 6)], [], []]
    assert [words.word_index for words in found] == [[0], [-1], [-1]]


def test_words_of_two_texts_of_one_number_are_not_joined_over_windows():
    windows = [
        Pieces([(0, 2), (0, 1)], [0, 0], [0, 1]),
        Pieces([(0, 2), (1, 3)], [0, 0], [0, 1]),
    ]
    found = word_units_of_windows("abc", windows)
    assert [words.offsets for words in found] == [[(0, 2), (0, 3)], [(0, 2)]]


# Windows -----------------------------------------------------------------------------------------


def test_shared_units_are_divided_in_their_middle():
    first = [[0, 0], *([at, at + 1] for at in range(6))]
    second = [[0, 0], *([at, at + 1] for at in range(2, 9))]
    expected = [(0, unit) for unit in (1, 2, 3, 4)] + [(1, unit) for unit in (3, 4, 5, 6, 7)]
    assert merge_windows([first, second]) == expected


def test_windows_that_share_nothing_are_put_together():
    assert merge_windows([[[0, 1]], [[0, 0]], [], [[1, 2], [2, 3]]]) == [(0, 0), (3, 0), (3, 1)]
    assert merge_windows([]) == []


def test_a_word_that_two_windows_cut_comes_from_the_one_that_has_it_whole():
    left, right = [[0, 2], [3, 6], [7, 9]], [[4, 6], [7, 12], [13, 15]]
    merged = merge_windows([left, right])
    assert [[left, right][window][unit] for window, unit in merged] == [
        [0, 2], [3, 6], [7, 12], [13, 15],
    ]  # fmt: skip


def test_a_character_of_several_pieces_that_a_window_cuts_comes_whole_from_the_other():
    left = [[3, 4], [4, 5], [4, 5], [4, 5], [5, 6]]
    right = [[4, 5], [4, 5], [5, 6], [6, 7]]
    assert merge_windows([left, right]) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


@given(
    size=st.integers(0, 40),
    room=st.integers(1, 12),
    stride=st.integers(0, 11),
    shared=st.integers(1, 3),
)
def test_windows_give_the_units_of_the_text_each_once(size, room, stride, shared):
    stride = min(stride, room - 1)
    whole = [[at // shared, at // shared + 1] for at in range(size)]
    windows = [whole[at : at + room] for at in range(0, max(size - stride, 1), room - stride)]
    merged = [windows[window][unit] for window, unit in merge_windows(windows)]
    if stride >= 2 * shared or shared == 1:
        assert merged == whole
    else:  # a character of several pieces may be cut: it is there, if in part
        assert {tuple(unit) for unit in merged} == {tuple(unit) for unit in whole}
        assert merged == sorted(merged)
