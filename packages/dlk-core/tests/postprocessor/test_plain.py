"""Values as plain JSON."""

from __future__ import annotations

import datetime as dt
import enum
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from dlk.postprocessor import plain


class Colour(enum.IntEnum):
    RED = 3


class Word(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (float("nan"), None),
        (float("-inf"), None),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(2.0), 2.0),
        ((1, "a", [2]), [1, "a", [2]]),
        ({1: (2,)}, {"1": [2]}),
        ({"b", "a"}, ["a", "b"]),
        (b"abc", "abc"),
        (pa.scalar("x"), "x"),
        (Colour.RED, 3),
        (Word("w"), "w"),
        (Path("a/b"), "a/b"),
        (dt.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_becomes_plain(value, expected):
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
