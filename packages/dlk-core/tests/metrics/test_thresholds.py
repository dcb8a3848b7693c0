"""The search of thresholds, against every threshold tried in a plain loop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from dlk.metrics import LabelSetCounts, ThresholdSearch


def drawn(rows, classes, seed, *, grid=None):
    generator = np.random.default_rng(seed)
    probabilities = generator.random((rows, classes), dtype=np.float32)
    if grid:  # many equal ones, and many that lie on an edge
        probabilities = (np.round(probabilities * grid) / grid).astype(np.float32)
    return probabilities, generator.random((rows, classes)) < 0.3 * probabilities + 0.1


def scores_at(probabilities, target, threshold):
    counts = LabelSetCounts(target.shape[1])
    counts.update(probabilities >= np.float32(threshold), target)
    return counts.compute()


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 30),
    classes=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    bins=st.integers(1, 23),
    grid=st.sampled_from([None, 2, 7, 10, 23]),
)
def test_equals_trying_every_edge(rows, classes, seed, bins, grid):
    probabilities, target = drawn(rows, classes, seed, grid=grid)
    search = ThresholdSearch(classes, bins=bins)
    search.update(probabilities, target)
    tried = [scores_at(probabilities, target, edge) for edge in search.edges]
    for found, name in ((search.micro(), "f1_micro"), (search.macro(), "f1_macro")):
        assert found.score == pytest.approx(max(each[name] for each in tried), abs=1e-12)
        at = scores_at(probabilities, target, found.threshold)
        assert at[name] == pytest.approx(found.score, abs=1e-12)
    for label, found in enumerate(search.each()):
        truth = target[:, label]
        every = [
            f1_score(truth, probabilities[:, label] >= np.float32(edge), zero_division=0)
            for edge in search.edges
        ]
        if truth.any():
            assert found.score == pytest.approx(max(every), abs=1e-12)
        else:
            assert found == (0.5, 0.0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 20))
def test_any_split_of_the_rows_gives_the_same(seed, cut):
    probabilities, target = drawn(20, 3, seed)
    whole, left, right = (ThresholdSearch(3) for _ in range(3))
    whole.update(probabilities, target)
    left.update(probabilities[:cut], target[:cut])
    right.update(probabilities[cut:], target[cut:])
    left.merge(json.loads(json.dumps(right.state())))
    assert left.state() == whole.state()
    assert left.micro() == whole.micro()


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_taken():
    search = ThresholdSearch(1, bins=10)
    search.update(np.array([[0.15], [0.95]]), np.array([[False], [True]]))
    assert search.micro() == (0.5, 1.0)
    low = ThresholdSearch(1, bins=10)
    low.update(np.array([[0.05], [0.35]]), np.array([[False], [True]]))
    assert low.micro() == (0.3, 1.0)


def test_a_row_without_an_answer_is_missed_at_every_threshold():
    search = ThresholdSearch(1)
    search.update(np.array([[np.nan], [0.9]]), np.array([[True], [True]]))
    assert search.micro().score == pytest.approx(2 / 3)


def test_memory_is_bounded_for_thousands_of_labels():
    search = ThresholdSearch(20_000)
    assert search.bins == 50
    search.update(np.full((2, 20_000), 0.7, dtype=np.float32), np.ones((2, 20_000), dtype=bool))
    assert search.micro() == (0.5, 1.0)
    assert len(search.state()["cells"]) == 20_000
    assert ThresholdSearch(3).bins == 1000


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(2, 40), seed=st.integers(0, 10**6))
def test_areas_are_those_of_scikit_learn_on_scores_of_the_bins(rows, seed):
    generator = np.random.default_rng(seed)
    scores = (generator.integers(-10, 11, size=rows) / 10).astype(np.float32)
    truth = generator.random(rows) < 0.5
    search = ThresholdSearch(1, bins=20, low=-1.0, high=1.0)
    search.update(scores[:, None], truth[:, None])
    found = search.areas()
    if truth.any():
        expected = average_precision_score(truth, scores)
        assert found["average_precision"] == pytest.approx(expected, abs=1e-9)
    if truth.any() and not truth.all():
        assert found["auc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    else:
        assert found["auc"] == 0.0


def test_thresholds_lie_in_the_range_that_is_given():
    search = ThresholdSearch(1, bins=4, low=-1.0, high=1.0)
    search.update(np.array([[-0.9], [-0.4], [-1.5]]), np.array([[False], [True], [True]]))
    assert search.micro() == (-0.5, pytest.approx(2 / 3))


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="at least one class, got 0"):
        ThresholdSearch(0)
    with pytest.raises(ValueError, match="at least one bin, got 0"):
        ThresholdSearch(1, bins=0)
    with pytest.raises(ValueError, match=r"\(N, 2\), got \(1, 3\)"):
        ThresholdSearch(2).update(np.zeros((1, 3)), np.zeros((1, 3), dtype=bool))
    with pytest.raises(ValueError, match="2 classes in 1000 bins do not join counts of 3 in 1000"):
        ThresholdSearch(3).merge(ThresholdSearch(2).state())
