"""Differences of resolved configs: values, components added, removed, replaced, renamed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config.difference import differences


def resolved(config: dict[str, Any]) -> Any:
    from dlk.config import load

    return load(config).one().resolved


def found(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[Any, ...]]:
    pairs = differences(resolved({"@house": before}), resolved({"@house": after}))
    return [(d.kind, d.path, d.before, d.after) for d in pairs]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"floors": 2}, {"floors": 3}, ("changed", "floors", 2, 3)),
        ({"tags": {"a": 1}}, {}, ("removed", "tags.a", 1, None)),
        ({"tags": {}}, {}, ("added", "tags.built", None, 1900)),
        ({"@room@kitchen": {"oven": {"watts": 5}}}, {}, ("changed", "room.oven.watts", 5, 2000)),
        ({"@room@kitchen": {"sizes": [1]}}, {}, ("changed", "room.sizes", [1], [1, 2])),
        ({"tags": {"a": 1}}, {"tags": {"a": True}}, ("changed", "tags.a", 1, True)),
        ({"tags": {"a": 1}}, {"tags": {"a": 1.0}}, ("changed", "tags.a", 1, 1.0)),
        ({"tags": {"a": [1]}}, {"tags": {"a": [True]}}, ("changed", "tags.a", [1], [True])),
        ({"@room@big": "kitchen"}, {}, ("renamed", "room", "big", "kitchen")),
    ],
)
def test_a_difference_has_its_path_and_both_values(before, after, expected):
    shared = [d for d in found(before, after) if d[1] == expected[1]]
    assert shared == [expected]


def test_equal_configs_have_no_difference_whatever_stands_in_the_text():
    assert found({}, {"floors": 1, "@room@kitchen": {"@lamp": "bulb", "width": 3}}) == []


def test_another_component_is_told_as_replaced_and_its_values_are_not_compared():
    (difference,) = found({}, {"@room@kitchen": {"@lamp@tube": {}}})
    kind, path, before, after = difference
    assert (kind, path) == ("replaced", "room.lamp")
    assert (before["_name"], after["_name"]) == ("bulb", "tube")


def test_components_are_added_and_removed_whole():
    door = {"@door@wood": {"width": 2}}
    (added,) = found({}, door)
    assert added[:2] == ("added", "door")
    assert added[3]["width"] == 2
    (removed,) = found(door, {})
    assert removed[:2] == ("removed", "door")


def test_components_of_one_type_are_paired_by_alias():
    before = {"@door@wood#a": {"width": 1.0}, "@door@wood#b": {"width": 2.0}}
    after = {"@door@wood#a": {"width": 1.0}, "@door@wood#b": {"width": 3.0}}
    assert found(before, after) == [("changed", "door#b.width", 2.0, 3.0)]


def test_another_order_of_components_is_a_difference():
    before = {"@door@wood#a": {}, "@door@wood#b": {}}
    after = {"@door@wood#b": {}, "@door@wood#a": {}}
    assert found(before, after) == [
        ("reordered", "door", ["wood#a", "wood#b"], ["wood#b", "wood#a"])
    ]


def test_roots_of_two_kinds_are_removed_and_added():
    a, b = resolved({"@house": {}}), resolved({"@door@wood": {}})
    assert [(d.kind, d.path) for d in differences(a, b)] == [
        ("removed", "house"),
        ("added", "door"),
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@given(before=st.dictionaries(st.sampled_from("abc"), VALUES), after=VALUES)
def test_a_config_equals_itself_and_differences_go_both_ways(before, after):
    a, b = {"@house": before}, {"@house": {"a": after}}
    assert differences(a, a) == []
    forth = [(d.path, repr(d.before), repr(d.after)) for d in differences(a, b)]
    back = [(d.path, repr(d.after), repr(d.before)) for d in differences(b, a)]
    assert sorted(forth) == sorted(back)
