"""Rows of unequal length."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.data.ragged import Pieces, Ragged


def nested(depth):
    values = st.integers(-5, 5)
    for _ in range(depth):
        values = st.lists(values, max_size=4)
    return values


ROWS = st.integers(0, 3).flatmap(
    lambda depth: st.tuples(st.just(depth), st.lists(nested(depth), max_size=6))
)


def padded_by_hand(rows, depth, value):
    """The same by loops: find the longest of each level, then write each value."""

    def longest(items, level):
        if level == depth:
            return []
        inner = [item for each in items for item in each]
        return [max((len(each) for each in items), default=0), *longest(inner, level + 1)]

    shape = (len(rows), *longest(rows, 0))
    made = np.full(shape, value, dtype=np.int64)
    kept = np.zeros(shape, dtype=bool)

    def write(item, place):
        if len(place) == len(shape):
            made[place], kept[place] = item, True
        else:
            for number, each in enumerate(item):
                write(each, (*place, number))

    for number, row in enumerate(rows):
        write(row, (number,))
    return made, kept


@given(ROWS, st.integers(-9, 9))
def test_padding_equals_loops(drawn, value):
    depth, rows = drawn
    made = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    expected, kept = padded_by_hand(rows, depth, value)
    assert made.shape() == expected.shape
    assert np.array_equal(made.pad(value), expected)
    assert np.array_equal(made.mask(), kept)


@given(ROWS, st.data())
def test_taking_equals_indexing(drawn, data):
    depth, rows = drawn
    made = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    assert made.take(order).tolist() == [rows[number] for number in order]
    assert len(made.take(order)) == len(order)


@given(ROWS)
def test_lists_and_arrow_come_and_go_unchanged(drawn):
    depth, rows = drawn
    made = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    assert made.tolist() == rows
    assert made.depth == depth
    kind = pa.int32()
    for _ in range(depth):
        kind = pa.list_(kind)
    array = pa.array(rows, type=kind)
    assert Ragged.from_arrow(array).tolist() == rows
    cut = pa.chunked_array([array.slice(0, 2), array.slice(2)], type=kind)
    assert Ragged.from_arrow(cut).tolist() == rows
    assert Ragged.from_arrow(pa.chunked_array([], type=kind)).tolist() == []


@given(ROWS, st.data())
def test_rows_in_pieces_are_taken_like_rows_in_one(drawn, data):
    depth, rows = drawn
    whole = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    edges = [0, *cuts, len(rows)]
    parts = [whole.take(range(start, end)) for start, end in pairwise(edges)]
    made = Pieces(parts)
    assert (len(made), made.depth, made.dtype) == (len(whole), whole.depth, whole.dtype)
    assert made.lengths().tolist() == whole.lengths().tolist()
    assert made.bounds() == whole.bounds()
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    taken = made.take(order)
    assert (taken.tolist(), taken.dtype) == (whole.take(order).tolist(), whole.dtype)
    with pytest.raises(IndexError, match="can be taken"):
        made.take([len(rows)])


def test_lengths_are_those_of_the_outermost_level():
    made = Ragged.from_lists([[[1, 2], [3]], [[4]], []])
    assert made.lengths().tolist() == [2, 1, 0]
    assert made.lengths().dtype == np.int64
    assert Ragged.from_lists([7, 8]).lengths().tolist() == [1, 1]


def test_one_chunk_of_numbers_is_not_copied():
    array = pa.array([[1, 2], [3]], type=pa.list_(pa.int32()))
    made = Ragged.from_arrow(array)
    assert np.shares_memory(made.values, array.values.to_numpy())


def test_fixed_size_lists_and_booleans_are_read():
    assert Ragged.from_arrow(pa.array([[1, 2], [3, 4]], type=pa.list_(pa.int8(), 2))).tolist() == [
        [1, 2],
        [3, 4],
    ]
    made = Ragged.from_arrow(pa.array([[True], [False, True]]))
    assert (made.tolist(), made.dtype) == ([[True], [False, True]], np.bool_)


def test_a_type_is_kept_and_changed_on_demand():
    made = Ragged.from_lists([[1], [2, 3]], dtype=np.int16)
    assert made.dtype == made.take([1]).dtype == made.pad(0).dtype == np.int16
    assert made.astype(np.float32).pad(0.5).tolist() == [[1.0, 0.5], [2.0, 3.0]]


def test_stacking_needs_one_shape():
    assert Ragged.from_lists([[[1, 2]], [[3, 4]]]).stack().shape == (2, 1, 2)
    with pytest.raises(ValueError, match="level 0 go from 1 to 2"):
        Ragged.from_lists([[1], [2, 3]]).stack()
    with pytest.raises(ValueError, match="level 1 go from 1 to 2"):
        Ragged.from_lists([[[1]], [[3, 4]]]).stack()


@pytest.mark.parametrize(
    ("rows", "depth"),
    [
        ([0, None], 0),
        (["a"], 0),
        ([[1], ["a"]], 1),
        ([1, [2]], None),
        ([[1], 2], 1),
        ([[1]], 0),
        ([[1], [2]], 2),
        ([[[1, 2]], [[3]]], 1),
    ],
)
def test_rows_that_nest_otherwise_or_hold_no_numbers_are_refused(rows, depth):
    with pytest.raises(TypeError, match="expected"):
        Ragged.from_lists(rows, depth=depth)


def test_rows_nest_at_most_three_deep():
    with pytest.raises(TypeError, match="at most 3"):
        Ragged.from_lists([[[[[1]]]]])
    with pytest.raises((TypeError, ValueError)):
        Ragged.from_arrow(pa.array([[[[[1]]]]]))


@pytest.mark.parametrize(
    "array", [pa.array([1, None]), pa.array([[1], None]), pa.array([[1, None]]), pa.array(["a"])]
)
def test_arrow_arrays_with_nulls_or_texts_are_refused(array):
    with pytest.raises(TypeError, match="expected"):
        Ragged.from_arrow(array)


def test_a_row_that_there_is_not_is_an_index_error():
    with pytest.raises(IndexError, match="0 to 1"):
        Ragged.from_lists([[1], [2]]).take([2])
    with pytest.raises(IndexError):
        Ragged.from_lists([[1], [2]]).take([-1])


def test_offsets_must_cover_the_values():
    with pytest.raises(ValueError, match="level 0 do not cover"):
        Ragged(np.zeros(3), (np.array([0, 2]),))
    with pytest.raises(ValueError, match="flat"):
        Ragged(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="at most 3"):
        Ragged(np.zeros(0), (np.array([0]),) * 4)


@given(ROWS)
def test_as_a_sequence_it_holds_the_rows(drawn):
    depth, rows = drawn
    made = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    assert list(made) == rows
    assert [made[place] for place in range(len(made))] == rows
    assert made[1:] == rows[1:]
    assert rows == [] or made[-1] == rows[-1]
    with pytest.raises(IndexError):
        made[len(rows)]


@given(ROWS)
def test_to_arrow_and_back_nothing_changes(drawn):
    depth, rows = drawn
    made = Ragged.from_lists(rows, depth=depth, dtype=np.int64)
    assert made.to_arrow().to_pylist() == rows
