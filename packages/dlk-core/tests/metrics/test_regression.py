"""Laws and parity of the regression moments and ranks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dlk.metrics import RankCorrelation, RegressionMoments

NUMBERS = st.floats(-100, 100, width=32)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30)


def moments(rows) -> RegressionMoments:
    result = RegressionMoments()
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    result.update(table[:, 0], table[:, 1])
    return result


@settings(deadline=None)
@given(rows=ROWS, data=st.data())
def test_any_split_merged_in_any_order_is_one_pass(rows, data):
    group = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    joined = RegressionMoments()
    for k in data.draw(st.permutations(range(4))):
        part = moments([row for row, g in zip(rows, group, strict=True) if g == k])
        joined.merge(json.loads(json.dumps(part.state(), allow_nan=False)))
    whole = moments(rows).compute()
    # 1e-9: sums of at most 30 float64 terms in another order.
    for name in ("mse", "mae", "rmse"):
        assert joined.compute()[name] == pytest.approx(whole[name], rel=1e-9, abs=1e-9)
    # Two columns that hardly vary have a correlation that is all rounding.
    table = np.array(rows)
    if (np.std(table, axis=0) > 1e-3).all():
        assert joined.compute()["pearson"] == pytest.approx(whole["pearson"], abs=1e-7)


def test_scores_are_those_of_numpy_and_scipy():
    rng = np.random.default_rng(0)
    target = rng.normal(size=400) + 1e6  # raw sums of squares would lose all digits here
    prediction = target + rng.normal(size=400)
    result = RegressionMoments()
    for part in np.array_split(np.arange(400), 7):
        result.update(prediction[part], target[part])
    scores = result.compute()
    assert scores["mse"] == pytest.approx(np.mean((prediction - target) ** 2), rel=1e-12)
    assert scores["mae"] == pytest.approx(np.mean(np.abs(prediction - target)), rel=1e-12)
    assert scores["rmse"] == pytest.approx(math.sqrt(scores["mse"]), rel=1e-12)
    expected = stats.pearsonr(prediction, target).statistic
    assert scores["pearson"] == pytest.approx(expected, abs=1e-9)


def test_ranks_are_those_of_scipy_with_ties():
    rng = np.random.default_rng(1)
    prediction, target = rng.integers(0, 9, 300) / 8, rng.integers(0, 5, 300) / 4
    result = RankCorrelation()
    for part in np.array_split(np.arange(300), 4):
        result.update(prediction[part], target[part], part)
    expected = stats.spearmanr(prediction, target).statistic
    assert result.compute()["spearman"] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(
    rows=ROWS,
    cap=st.integers(0, 12),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 30),
)
def test_ranks_split_capped_and_merged_are_one_pass(rows, cap, order, cut):
    def ranks(some):
        result = RankCorrelation(cap)
        for key, (prediction, target) in some:
            result.update(np.array([prediction]), np.array([target]), np.array([key]))
        return result

    keyed = list(enumerate(rows))
    whole = ranks(keyed)
    order.shuffle(keyed)
    joined = ranks(keyed[cut:])
    joined.merge(json.loads(json.dumps(ranks(keyed[:cut]).state())))
    mine, theirs = joined.state(), whole.state()
    assert sorted(mine["keys"]) == sorted(theirs["keys"])
    assert len(mine["keys"]) == (min(cap, len(rows)) if cap else len(rows))
    assert joined.compute()["spearman"] == pytest.approx(whole.compute()["spearman"], abs=1e-12)


def test_a_capped_sample_stays_near_the_whole():
    rng = np.random.default_rng(2)
    target = rng.normal(size=20_000)
    prediction = target + rng.normal(size=20_000)
    whole, sample = RankCorrelation(0), RankCorrelation(2_000)
    for part in np.array_split(np.arange(20_000), 40):
        whole.update(prediction[part], target[part], part)
        sample.update(prediction[part], target[part], part)
    # 0.05: three standard errors of a correlation of 2000 pairs, 1 / sqrt(2000).
    assert sample.compute()["spearman"] == pytest.approx(whole.compute()["spearman"], abs=0.05)
    assert len(sample.state()["keys"]) == 2_000


def test_a_constant_side_has_correlation_zero():
    # The mean of many 0.1 is not exactly 0.1, so that the deviations are rounding, not zero.
    target = np.random.default_rng(3).normal(size=100)
    result = RegressionMoments()
    for part in np.array_split(target, 9):
        result.update(np.full(len(part), 0.1), part)
    assert result.state()["moments"][3] > 0
    assert result.compute()["pearson"] == 0.0
    ranks = RankCorrelation()
    ranks.update(np.full(3, 0.1), np.arange(3.0), np.arange(3))
    assert ranks.compute()["spearman"] == 0.0


def test_a_prediction_that_is_not_a_number_makes_the_scores_not_a_number():
    result = moments([(0.0, 0.0), (math.nan, 0.0)])
    assert all(math.isnan(value) for value in result.compute().values())
    ranks = RankCorrelation()
    ranks.update(np.array([math.inf]), np.array([1.0]), np.array([0]))
    assert math.isnan(ranks.compute()["spearman"])
    other = RegressionMoments()
    other.merge(result.state())
    assert math.isnan(other.compute()["mse"])


def test_nothing_counted_has_no_scores():
    assert moments([]).compute() == {}
    assert RankCorrelation().compute() == {}
    joined = RegressionMoments()
    joined.merge(RegressionMoments().state())
    assert joined.compute() == {}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(1,\)"):
        RegressionMoments().update(np.zeros(2), np.zeros(1))
    with pytest.raises(ValueError, match="not a finite number"):
        RegressionMoments().update(np.zeros(1), np.array([math.nan]))
    with pytest.raises(ValueError, match=r"keys must be \(1,\)"):
        RankCorrelation().update(np.zeros(1), np.zeros(1), np.zeros(2))
    with pytest.raises(ValueError, match="cap must be >= 0"):
        RankCorrelation(-1)
