"""The collate of span tasks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import make
from dlk.data.ragged import Ragged
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing.data import DataCollateConformance

SPANS = {"cells": "span_cells", "mask": "unit_mask", "triangle": True}
PAIRS = {"cells": "relation_cells", "mask": "unit_mask", "layers": 2}


class TestSpan(DataCollateConformance):
    component = ("data_collate", "span")
    config: ClassVar = {
        "key_padding_pairs": {"ids": 7},
        "gen_mask": {"ids": "ids_mask"},
        "matrices": {"label_ids": SPANS, "relation_ids": {**PAIRS, "fill": -7}},
    }
    made: ClassVar = frozenset({"label_ids", "relation_ids"})
    columns: ClassVar = {
        "ids": [[1, 2, 3], [4], []],
        "unit_mask": [[False, True, True], [True], []],
        "span_cells": [[[1, 2, 5], [2, 2, 1]], [], []],
        "relation_cells": [[[0, 1, 2, 3], [1, 2, 1, 3]], [[0, 0, 0, 9]], []],
    }


def join(matrices, **columns):
    collate = register.build(make("data_collate", "span", {"matrices": matrices}))
    return collate(
        {
            name: Ragged.from_lists(rows, depth=collate.depths.get(name))
            for name, rows in columns.items()
        }
    )


def by_hand(matrix, masks, cells):
    """The definition, cell by cell."""
    length, layers = max(map(len, masks)), matrix.get("layers", 1)
    found = torch.zeros(len(masks), layers, length, length, dtype=torch.long)
    for row, mask in enumerate(masks):
        mask = [*mask, *[False] * (length - len(mask))]
        for i in range(length):
            for j in range(length):
                below = matrix.get("triangle", False) and j < i
                if below or not (mask[i] and mask[j]):
                    found[row, :, i, j] = matrix.get("fill", -100)
        for cell in cells[row]:
            *layer, i, j, label = cell
            found[(row, *(layer or [0]), i, j)] = label
    return found if layers > 1 else found[:, 0]


@given(data=st.data(), layers=st.integers(1, 3), triangle=st.booleans())
def test_equals_its_definition(data, layers, triangle):
    masks = data.draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1))
    cells = []
    for mask in masks:
        unit, layer = st.integers(0, len(mask) - 1), st.integers(0, layers - 1)
        place = st.tuples(layer, unit, unit) if layers > 1 else st.tuples(unit, unit)
        drawn = data.draw(st.dictionaries(place, st.integers(-100, 40_000), max_size=4))
        cells.append([[*where, label] for where, label in drawn.items()])
    matrix = {"cells": "c", "mask": "m", "layers": layers, "triangle": triangle}
    batch = join({"y": matrix}, m=masks, c=cells)
    assert batch["y"].dtype == torch.int64
    assert torch.equal(batch["y"], by_hand(matrix, masks, cells))


def test_ids_wider_than_a_byte_or_two_arrive():
    cells = [[[0, 0, 128], [0, 1, 32_768], [1, 1, 2_000_000]]]
    batch = join({"y": {"cells": "c", "mask": "m"}}, m=[[True, True]], c=cells)
    assert batch["y"].tolist() == [[[128, 32_768], [0, 2_000_000]]]


def test_special_tokens_are_masked_in_row_and_column_without_the_triangle():
    """Not only padding: the first and the last unit too, on both sides of the diagonal."""
    batch = join({"y": {"cells": "c", "mask": "m"}}, m=[[False, True, False]], c=[[]])
    assert (batch["y"] == 0).nonzero().tolist() == [[0, 1, 1]]


def test_without_cells_there_is_no_matrix():
    batch = join({"y": SPANS}, unit_mask=[[True]])
    assert set(batch) == {"unit_mask"}


def test_a_mask_of_numbers_is_one_too():
    batch = join({"y": {"cells": "c", "mask": "m"}}, m=[[1, 0]], c=[[]])
    assert batch["y"].tolist() == [[[0, -100], [-100, -100]]]


def test_a_missing_mask_is_named():
    with pytest.raises(DataError, match=r'needs the mask "unit_mask".*key_type_pairs'):
        join({"y": SPANS}, span_cells=[[]])


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(DataError, match=r'"unit_mask" must be \(B, L\), got \(2,\)'):
        join({"y": SPANS}, unit_mask=[1, 1], span_cells=[[], []])


@pytest.mark.parametrize("cell", [[0, 2, 1], [2, 0, 1], [-1, 0, 1]])
def test_a_cell_outside_of_the_matrix_is_refused(cell):
    with pytest.raises(DataError, match=r"is \(2, 2\).*has the cell"):
        join({"y": {"cells": "c", "mask": "m"}}, m=[[1, 1]], c=[[cell]])


def test_cells_of_another_width_are_refused():
    with pytest.raises(DataError, match=r"2 layers needs cells of 4 numbers.*some of 3"):
        join({"y": {**PAIRS, "mask": "m"}}, m=[[1]], relation_cells=[[[0, 0, 1]]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"y": 3}, "expected an object, got 3"),
        ({"y": {"mask": "m"}}, 'expected "cells"'),
        ({"y": {"cells": "c"}}, 'expected "mask"'),
        ({"y": {"cells": "c", "mask": "m", "layer": 2}}, "there is no layer"),
        ({"y": {"cells": "c", "mask": "m", "layers": 0}}, "expected at least 1"),
        ({"y": {"cells": "c", "mask": "m", "layers": True}}, '"layers" is True, expected int'),
        ({"ids": {"cells": "c", "mask": "m"}}, '"ids" has the name of a column'),
        ({"y": {"cells": "ids", "mask": "m"}}, '"ids" is padded here'),
    ],
)
def test_a_matrix_that_is_not_described_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        make("data_collate", "span", {"key_padding_pairs": {"ids": 0}, "matrices": values})


def test_rows_are_as_wide_as_the_longest_mask():
    batch = join({"y": SPANS}, unit_mask=[[True], [True, True]], span_cells=[[[0, 0, 4]], []])
    assert batch["y"].shape == (2, 2, 2)
    assert batch["y"][0].tolist() == [[4, -100], [-100, -100]]
    assert np.asarray(batch["span_cells"]).tolist() == [[[0, 0, 4]], [[-1, -1, -1]]]
