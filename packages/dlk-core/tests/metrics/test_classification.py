"""Laws and parity of the classification counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.metrics import precision_recall_fscore_support as sklearn_scores

from dlk.metrics import ClassCounts, LabelSetCounts

C = 4
ROWS = st.lists(st.tuples(st.integers(-1, C - 1), st.integers(0, C - 1)), min_size=1, max_size=30)
SETS = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=C, max_size=C),
        st.lists(st.booleans(), min_size=C, max_size=C),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


def counted(rows: list[tuple[int, int]]) -> ClassCounts:
    counts = ClassCounts(C)
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    counts.update(table[:, 0], table[:, 1])
    return counts


@settings(deadline=None)
@given(rows=ROWS, data=st.data())
def test_any_split_merged_in_any_order_is_one_pass(rows, data):
    group = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(4)))
    parts = [counted([row for row, g in zip(rows, group, strict=True) if g == k]) for k in order]
    joined = ClassCounts(C)
    for part in parts:
        joined.merge(json.loads(json.dumps(part.state())))
    whole = counted(rows)
    assert joined.state() == whole.state()
    assert joined.compute() == whole.compute()


@settings(deadline=None)
@given(rows=SETS, cut=st.integers(0, 20))
def test_label_sets_split_and_merged_are_one_pass(rows, cut):
    def count(some):
        counts = LabelSetCounts(C)
        if some:
            predicted, target, answered = (np.array(x) for x in zip(*some, strict=True))
            counts.update(predicted, target, answered)
        return counts

    joined = count(rows[cut:])
    joined.merge(count(rows[:cut]).state())
    assert joined.state() == count(rows).state()
    assert joined.compute() == count(rows).compute()


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 7, 500)
    predicted = np.where(rng.random(500) < 0.6, target, rng.integers(0, 6, 500))
    counts = ClassCounts(9)  # 7 and 8 occur nowhere
    counts.update(predicted, target)
    scores = counts.compute()
    assert scores["acc"] == pytest.approx(accuracy_score(target, predicted), abs=1e-12)
    for kind in ("macro", "micro", "weighted"):
        expected = f1_score(target, predicted, average=kind)
        assert scores[f"f1_{kind}"] == pytest.approx(expected, abs=1e-12)
    expected = sklearn_scores(target, predicted, labels=range(9), zero_division=0)
    for mine, theirs in zip(counts.per_class(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    table = counts.confusion()
    np.testing.assert_array_equal(
        table[:, :9], confusion_matrix(target, predicted, labels=range(9))
    )
    assert table[:, 9].sum() == 0


def test_label_set_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    target = rng.random((300, 5)) < 0.3
    predicted = target ^ (rng.random((300, 5)) < 0.2)
    counts = LabelSetCounts(5)
    counts.update(predicted, target)
    scores = counts.compute()
    assert scores["acc"] == pytest.approx(accuracy_score(target, predicted), abs=1e-12)
    for kind in ("macro", "micro", "weighted"):
        expected = f1_score(target, predicted, average=kind, zero_division=0)
        assert scores[f"f1_{kind}"] == pytest.approx(expected, abs=1e-12)


def test_a_row_without_an_answer_is_a_miss():
    counts = ClassCounts(2)
    counts.update(np.array([0, -1]), np.array([0, 1]))
    assert counts.compute()["acc"] == 0.5
    assert counts.per_class().recall.tolist() == [1.0, 0.0]
    assert counts.compute()["f1_micro"] == pytest.approx(2 / 3)
    assert counts.confusion().tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_label_set_without_an_answer_is_a_miss_even_where_no_label_is_true():
    counts = LabelSetCounts(2)
    nothing = np.zeros((2, 2), dtype=bool)
    counts.update(nothing, nothing, np.array([True, False]))
    assert counts.compute()["acc"] == 0.5


def test_nothing_counted_has_no_scores():
    counts = ClassCounts(3)
    counts.update(np.array([], dtype=int), np.array([], dtype=int))
    assert counts.compute() == {}
    assert LabelSetCounts(3).compute() == {}


def test_many_classes_keep_no_table_but_all_scores():
    counts, other = ClassCounts(5000), ClassCounts(5000)
    counts.update(np.array([4999, 1]), np.array([4999, 2]))
    other.merge(counts.state())
    assert other.confusion() is None
    assert other.compute()["acc"] == 0.5


@pytest.mark.parametrize(
    ("predicted", "target", "says"),
    [
        ([0, 1], [0], r"got \(2,\) and \(1,\)"),
        ([0], [3], r"target must lie in \[0, 3\), got 3..3"),
        ([-2], [0], r"predicted must lie in \[-1, 3\), got -2..-2"),
    ],
)
def test_bad_input_is_named(predicted, target, says):
    with pytest.raises(ValueError, match=says):
        ClassCounts(3).update(np.array(predicted), np.array(target))


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(N, 3\), got \(1, 2\)"):
        LabelSetCounts(3).update(np.zeros((1, 2), bool), np.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="2 classes do not join counts of 3"):
        ClassCounts(3).merge(ClassCounts(2).state())
    with pytest.raises(ValueError, match="at least one class"):
        ClassCounts(0)
