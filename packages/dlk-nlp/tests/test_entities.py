"""Entities as rows give them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.nlp.entities import Entity, EntityError, read_entities, without_overlaps


def row(**values):
    return [{"start": 0, "end": 2, "labels": ["x"], **values}]


def test_entities_are_read_in_their_order_with_id_or_place():
    given = [*row(labels=["b", "a"], entity_id="e7", note=1), *row(start=1), *row(entity_id=0)]
    assert read_entities(given, 2) == [
        Entity(0, 2, ("b", "a"), "e7", 0),
        Entity(1, 2, ("x",), 1, 1),
        Entity(0, 2, ("x",), 0, 2),
    ]
    assert read_entities([], 0) == []
    assert read_entities((), 0) == []
    assert read_entities(given, 2)[0].label == "b"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "expected a list of entities .*got nothing"),
        ("ab", "got str"),
        ({"start": 0}, "got dict"),
        ([3], "entity 0: expected .*got 3"),
        ([*row(), {"start": 0}], "entity 1 has no end, labels"),
        (row(start=None), "has no start"),
        (row(end=9), "expected 0 <= start < end <= 2 .*got 0 and 9"),
        (row(start=2), "got 2 and 2"),
        (row(start=-1), "got -1 and 2"),
        (row(end="2"), "a whole number as end, got '2'"),
        (row(start=True), "a whole number as start, got True"),
        (row(start=0.0), "a whole number as start, got 0.0"),
        (row(labels="x"), "a list of at least one label, got 'x'"),
        (row(labels=[]), "at least one label"),
        (row(labels=["x", ""]), "labels are texts that are not empty"),
        (row(labels=[1]), "labels are texts"),
        (row(entity_id=1.5), "entity_id is a text or a number, got 1.5"),
        (row(entity_id=False), "entity_id"),
    ],
)
def test_a_value_that_is_none_is_refused_with_the_reason(value, reason):
    with pytest.raises(EntityError, match=reason):
        read_entities(value, 2)


def resolve(spans, **options):
    return without_overlaps(
        spans,
        span=lambda each: each[:2],
        size=lambda each: each[1] - each[0],
        label=lambda each: each[2],
        **options,
    )


SPANS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from("abc")).map(
        lambda each: (each[0], each[0] + each[1], each[2])
    ),
    max_size=7,
)


@settings(deadline=None)
@given(spans=SPANS, drop=st.sampled_from(["shorter", "longer"]), trigger=st.integers(0, 3),
       priority=st.lists(st.sampled_from("abc"), unique=True))  # fmt: skip
def test_none_of_those_that_stay_overlap_and_none_is_lost(spans, drop, trigger, priority):
    stay, dropped = resolve(spans, drop=drop, trigger=trigger, priority=priority)
    assert sorted(stay + dropped) == sorted(spans)
    for one, two in combinations(stay, 2):
        assert one[1] <= two[0]
    for each in dropped:
        assert any(
            each[0] < other[1] and other[0] < each[1] for other in spans if other != each
        ) or (spans.count(each) > 1)
    again = resolve(spans[::-1], drop=drop, trigger=trigger, priority=priority)
    assert (sorted(again[0]), sorted(again[1])) == (sorted(stay), sorted(dropped))


@pytest.mark.parametrize(
    ("spans", "options", "stay"),
    [
        ([(0, 4, "a"), (2, 5, "b")], {"drop": "shorter"}, [(0, 4, "a")]),
        ([(0, 4, "a"), (2, 5, "b")], {"drop": "longer"}, [(2, 5, "b")]),
        ([(0, 4, "a"), (2, 6, "b")], {"drop": "longer"}, [(0, 4, "a")]),  # as long: the first
        ([(0, 4, "a"), (2, 5, "b")], {"drop": "shorter", "priority": ["b"]}, [(2, 5, "b")]),
        ([(0, 4, "a"), (2, 4, "b")], {"drop": "shorter", "priority": ["b"]}, [(0, 4, "a")]),
        (
            [(0, 4, "a"), (2, 4, "b")],
            {"drop": "shorter", "priority": ["b"], "trigger": 2},
            [(2, 4, "b")],
        ),
    ],
)
def test_one_of_two_goes_by_size_or_where_sizes_are_alike_by_priority(spans, options, stay):
    assert resolve(spans, **options)[0] == stay
