"""The weighted mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.metrics import WeightedMean

VALUES = st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 9)), max_size=20)


@given(rows=VALUES, cut=st.integers(0, 20))
def test_split_and_merged_is_one_pass(rows, cut):
    def mean(some):
        result = WeightedMean()
        for value, weight in some:
            result.update(value, weight)
        return result

    joined = mean(rows[cut:])
    joined.merge(mean(rows[:cut]).state())
    total = sum(weight for _, weight in rows)
    expected = sum(v * w for v, w in rows) / total if total else None
    assert joined.compute() == mean(rows).compute() == expected


def test_a_short_last_batch_weighs_less():
    mean = WeightedMean()
    mean.update(1.0, 32)
    mean.update(2.0, 1)
    assert mean.compute() == pytest.approx(34 / 33)


def test_no_items_add_nothing_even_where_their_mean_is_not_a_number():
    mean = WeightedMean()
    mean.update(float("nan"), 0)
    assert mean.compute() is None


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_below_zero_is_refused(weight):
    with pytest.raises(ValueError, match="weight must be >= 0"):
        WeightedMean().update(1.0, weight)
