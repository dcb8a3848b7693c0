"""Sizes of which some are not known yet."""

from __future__ import annotations

import pytest

from dlk.flow.sizes import Size, Sizes

BEFORE = Sizes(
    made_up={1_000_000: "words", 1_010_007: "labels"}, entries=frozenset({"words", "labels"})
)
AFTER = Sizes(learnt={"words": 40, "labels": 6}, entries=frozenset({"words", "labels"}))


@pytest.mark.parametrize(
    ("sizes", "one", "other", "differ", "less"),
    [
        (AFTER, 8, 8, False, False),
        (AFTER, 8, 16, True, True),
        (AFTER, 16, 8, True, False),
        (AFTER, 6, "labels.json", False, False),
        (AFTER, 5, "labels.json", True, True),
        (AFTER, 7, "labels.json", True, False),
        (AFTER, None, 8, False, False),
        (AFTER, 8, "unheard_of.json", False, False),
        (BEFORE, 1_000_000, "words.json", False, False),
        (BEFORE, 1_000_000, "labels.json", True, True),
        (BEFORE, 6, "labels.json", False, False),  # only the data can tell
        (BEFORE, 2_000_001, "labels.json", False, False),  # computed of a made-up number
        (BEFORE, 2_000_001, 8, False, False),
        (BEFORE, 128, 256, True, True),
    ],
)
def test_two_sizes_differ_only_where_that_is_sure(sizes, one, other, differ, less):
    first, second = sizes.of(one), sizes.of(other)
    assert (sizes.differ(first, second), sizes.is_less(first, second)) == (differ, less)


def test_a_large_number_is_one_where_the_data_was_processed():
    assert AFTER.of(2_000_000) == Size(2_000_000)


def test_a_size_says_what_it_counts():
    assert str(Size(8)) == "8"
    assert str(Size(0, "labels")) == "the size of labels"
