"""The padding collate."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from dlk.config import make
from dlk.data.ragged import Ragged
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing.data import DataCollateConformance


class TestDefault(DataCollateConformance):
    component = ("data_collate", "default")
    config: ClassVar = {
        "key_padding_pairs": {"ids": 7},
        "key_padding_pairs_2d": {"chars": -1},
        "key_padding_pairs_3d": {"cells": -100},
        "key_no_padding": ["box"],
        "gen_mask": {"ids": "ids_mask", "chars": "chars_mask"},
    }
    columns: ClassVar = {
        "ids": [[1, 2, 3], [4], []],
        "other": [[1], [], [2, 3]],
        "chars": [[[1, 2], [3]], [], [[4]]],
        "cells": [[[[1], []]], [[[2, 3]]], []],
        "box": [[1.5, 2.0], [3.0, 4.0], [5.0, 6.0]],
        "label": [1, 0, 1],
    }


def join(values, **columns):
    collate = register.build(make("data_collate", "default", values))
    return collate(
        {
            name: Ragged.from_lists(rows, depth=collate.depths.get(name))
            for name, rows in columns.items()
        }
    )


def test_lists_are_padded_with_their_value_or_zero():
    batch = join({"key_padding_pairs": {"a": 9}}, a=[[1, 2], [3]], b=[[1], [2, 3]])
    assert batch["a"].tolist() == [[1, 2], [3, 9]]
    assert batch["b"].tolist() == [[1, 0], [2, 3]]


def test_two_and_three_levels_are_padded_where_declared():
    values = {"key_padding_pairs_2d": {"a": -1}, "key_padding_pairs_3d": {"b": -2}}
    batch = join(values, a=[[[1, 2]], [[3], []]], b=[[[[1]]], [[[2, 3]], [[4]]]])
    assert batch["a"].tolist() == [[[1, 2], [-1, -1]], [[3, -1], [-1, -1]]]
    assert batch["b"].shape == (2, 2, 1, 2)
    assert batch["b"].tolist()[0] == [[[1, -2]], [[-2, -2]]]
    assert join(values, a=[[], []])["a"].shape == (2, 0, 0)


def test_masks_are_true_at_every_value_whatever_it_is():
    batch = join(
        {"gen_mask": {"a": "m", "c": "n"}, "key_padding_pairs_2d": {"c": 0}},
        a=[[0, 5], [0]],
        c=[[[0], []], []],
    )
    assert batch["m"].dtype == torch.bool
    assert batch["m"].tolist() == [[True, True], [True, False]]
    assert batch["n"].tolist() == [[[True], [False]], [[False], [False]]]


def test_single_values_are_stacked_even_one_of_them():
    assert join({}, label=[3])["label"].tolist() == [3]
    assert join({}, label=[0.5, 1.0])["label"].shape == (2,)
    assert join({}, a=[[4]])["a"].shape == (1, 1)


def test_an_absent_column_has_no_mask():
    assert join({"gen_mask": {"a": "m"}, "key_padding_pairs": {"a": 0}}, b=[1]).keys() == {"b"}


def test_rows_of_one_shape_are_stacked_without_padding():
    assert join({"key_no_padding": ["a"]}, a=[[[1, 2]], [[3, 4]]])["a"].shape == (2, 1, 2)
    with pytest.raises(DataError, match='"a" is not padded, but its rows differ in shape'):
        join({"key_no_padding": ["a"]}, a=[[1], [2, 3]])


def test_deeper_lists_must_be_declared():
    with pytest.raises(DataError, match="name it in key_padding_pairs_2d"):
        join({}, a=[[[1]], [[2]]])


def test_types_are_kept():
    collate = register.build(make("data_collate", "default", {}))
    items = {
        "a": Ragged.from_lists([[1], []], dtype=np.float32),
        "b": Ragged.from_lists([[True]], dtype=np.bool_),
    }
    assert [tensor.dtype for tensor in collate(items).values()] == [torch.float32, torch.bool]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"key_padding_pairs": {"a": 0}, "key_padding_pairs_2d": {"a": 0}}, '"a" is named 2 times'),
        ({"key_padding_pairs": {"a": "x"}}, "expected a number"),
        ({"gen_mask": {"a": "m", "b": "m"}}, 'two masks are called "m"'),
        (
            {"gen_mask": {"a": "b"}, "key_padding_pairs": {"b": 0}},
            'the mask "b" has the name of a column',
        ),
        ({"gen_mask": {"a": ""}}, "expected the name of a mask"),
        ({"gen_mask": {"a": "m"}, "key_no_padding": ["a"]}, "is not padded, so it has no mask"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(values, message):
    with pytest.raises(ConfigError, match=message):
        make("data_collate", "default", values)


class TestMultiHot(DataCollateConformance):
    component = ("data_collate", "default")
    config: ClassVar = {"key_multi_hot": {"label_ids": 5}, "key_padding_pairs": {"ids": 0}}
    columns: ClassVar = {"label_ids": [[1, 4], [], [0]], "ids": [[1], [2, 3], [4]]}


def test_lists_of_ids_become_rows_of_zeros_and_ones():
    batch = join({"key_multi_hot": {"a": 4}}, a=[[3, 1], [], [0, 0]])
    assert batch["a"].tolist() == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert batch["a"].dtype == torch.float32
    assert join({"key_multi_hot": {"a": 4}}, a=[[], []])["a"].tolist() == [[0] * 4] * 2


def test_multi_hot_rows_of_thousands_of_ids_equal_a_plain_loop():
    generator = np.random.default_rng(0)
    rows = [generator.choice(7000, size=n, replace=False).tolist() for n in (0, 3, 50, 1, 900)]
    found = join({"key_multi_hot": {"a": 7000}}, a=rows)["a"]
    assert found.shape == (5, 7000)
    assert [row.nonzero().flatten().tolist() for row in found] == [sorted(row) for row in rows]


@pytest.mark.parametrize("rows", [[[0], [4]], [[-1], [2]], [[-100], []]])
def test_ids_that_multi_hot_does_not_know_are_refused(rows):
    with pytest.raises(DataError, match=r'"a" holds ids .* says that there are 4: 0\.\.3'):
        join({"key_multi_hot": {"a": 4}}, a=rows)


def test_multi_hot_wants_lists_of_ids():
    with pytest.raises(DataError, match="must be a list of ids, got rows nested 1 deep of float64"):
        join({"key_multi_hot": {"a": 4}}, a=[[0.5]])
    collate = register.build(make("data_collate", "default", {"key_multi_hot": {"a": 4}}))
    with pytest.raises(DataError, match="nested 0 deep"):
        collate({"a": Ragged(np.arange(3))})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"key_multi_hot": {"a": 0}}, '"a": expected how many ids there are, got 0'),
        ({"key_multi_hot": {"a": "many"}}, "got 'many'"),
        ({"key_multi_hot": {"a": 3}, "key_padding_pairs": {"a": 0}}, '"a" is named 2 times'),
        ({"key_multi_hot": {"a": 3}, "gen_mask": {"a": "m"}}, '"a" is not padded'),
    ],
)
def test_multi_hot_options_that_do_not_fit_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        make("data_collate", "default", values)
