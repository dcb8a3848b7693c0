from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

Read = Callable[..., Any]
Refuse = Callable[..., list[str]]


def points(loaded: Any) -> list[dict[str, Any]]:
    found = list(loaded)
    assert len(found) == len(loaded)
    return [dict(point.choice) for point in found]


def test_the_grid_goes_in_the_order_of_the_text_and_the_last_path_changes_fastest(
    read: Read,
) -> None:
    config = {"@house": {"_search": {"room.width": [5, 4], "floors": [1, 2]}}}
    assert points(read(config)) == [
        {"room.width": 5, "floors": 1},
        {"room.width": 5, "floors": 2},
        {"room.width": 4, "floors": 1},
        {"room.width": 4, "floors": 2},
    ]


def test_the_searches_of_all_components_are_multiplied_parents_first(read: Read) -> None:
    lamp = {"_search": {"watts": [1, 2]}}
    config = {"@house": {"@room@kitchen": {"@lamp@bulb": lamp, "_search": {"width": [3, 4]}}}}
    found = [(p["room.width"], p["room.lamp.watts"]) for p in points(read(config))]
    assert found == [(3, 1), (3, 2), (4, 1), (4, 2)]


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("room.lamp.watts", [1, 2]),
        ("@room@kitchen.@lamp.watts", [1, 2]),
        ("room.sizes.0", [7, 8]),
        ("room.notes.a.b", [1, "x"]),
        ("room.oven.watts", [1, 2]),
        ("room.notes.new", [None, [1]]),
        ("#d.width", [1.0, 2.0]),
        ("street", "@lambda _: ['a', 'b']"),
        ("floors", "@lambda _: list(range(3, 5))"),
    ],
)
def test_values_at_any_depth_are_searched(read: Read, path: str, values: Any) -> None:
    content = {
        "@room@kitchen": {"notes": {"a": {"b": 0}}},
        "@door@wood#d": {},
        "_search": {path: values},
    }
    found = list(read({"@house": content}))
    options = [value for point in found for value in point.choice.values()]
    assert options == (
        values if isinstance(values, list) else eval(values.removeprefix("@lambda _:"))
    )
    assert len({json.dumps(point.resolved) for point in found}) == len(options)


def test_whole_components_are_searched_and_leave_nothing_of_the_other(read: Read) -> None:
    options = [
        "bulb",
        {"_base": "tube", "length": 2.0},
        {"_name": "tube", "watts": "@lambda @$$.width"},
    ]
    content = {"@room@kitchen": {"@lamp@bulb": {"watts": 9}, "_search": {"@lamp": options}}}
    found = [p.resolved["@house"]["@room@kitchen"] for p in read({"@house": content})]
    lamps = [{k: v for k, v in room.items() if k[0] == "@"} for room in found]
    assert [list(lamp) for lamp in lamps] == [["@lamp@bulb"], ["@lamp@tube"], ["@lamp@tube"]]
    assert lamps[0]["@lamp@bulb"]["watts"] == 60
    assert (lamps[1]["@lamp@tube"]["length"], lamps[2]["@lamp@tube"]["watts"]) == (2.0, 3)


def test_a_component_that_is_not_written_can_be_searched(read: Read) -> None:
    found = list(
        read(
            {
                "@house": {
                    "_search": {
                        "@room": ["kitchen"],
                        "@roof": ["flat", {"_base": "flat", "slope": 2}],
                    }
                }
            }
        )
    )
    assert [p.resolved["@house"]["@roof@flat"]["slope"] for p in found] == [0, 2]


def test_a_searched_component_spans_its_own_space_only_where_it_is_chosen(read: Read) -> None:
    tube = {"_base": "tube", "_search": {"length": [1.0, 2.0], "watts": [5, 6]}}
    content = {"@room@kitchen": {"_search": {"lamp": ["bulb", tube], "width": [3, 4]}}}
    loaded = read({"@house": content})
    assert len(loaded) == (1 + 4) * 2
    found = points(loaded)
    assert [p for p in found if p["room.lamp"] == "bulb"] == [
        {"room.lamp": "bulb", "room.width": 3},
        {"room.lamp": "bulb", "room.width": 4},
    ]
    assert found[2] == {
        "room.lamp": {"_base": "tube"},
        "room.lamp.length": 1.0,
        "room.lamp.watts": 5,
        "room.width": 3,
    }


def test_references_to_searched_values_follow_them(read: Read) -> None:
    content = {
        "floors": 0,
        "@room@kitchen": {"width": "@$$.floors @lambda f: f + 1"},
        "_search": {"floors": [1, 2]},
    }
    found = [p.resolved["@house"]["@room@kitchen"]["width"] for p in read({"@house": content})]
    assert found == [2, 3]
    content["_search"] = {"floors": ["@lambda @_G.a", "@_G.a @lambda a: a * 2"]}
    found = [p.resolved["@house"]["floors"] for p in read({"_G": {"a": 3}, "@house": content})]
    assert found == [3, 6]


def test_a_grid_of_1e5_points_gives_its_first_at_once(read: Read) -> None:
    values = "@lambda _: list(range(1, 11))"
    names = [f"@door@wood#d{n}" for n in range(5)]
    content = {name: {"_search": {"width": values}} for name in names}
    started = time.process_time()
    loaded = read({"@house": content})
    first = next(iter(loaded))
    assert time.process_time() - started < 0.5
    assert len(loaded) == 100_000
    assert set(first.choice.values()) == {1}


def test_more_points_than_can_be_counted_are_refused(refuse: Refuse) -> None:
    content = {
        f"@door@wood#d{n}": {"_search": {"width": "@lambda _: list(range(1, 1001))"}}
        for n in range(7)
    }
    assert "more points than can be counted" in refuse({"@house": content})[0]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"florrs": [1]}, '_search: there is no "florrs" here. Did you mean "floors"?'),
        ({"room.lamp.wats": [1]}, 'there is no "wats" here. Did you mean "watts"?'),
        ({"rom.width": [1]}, 'there is no "rom" here. Did you mean "room"?'),
        ({"@room": ["kitchn"]}, 'room: there is no room "kitchn". Did you mean "kitchen"?'),
        ({"floors": []}, 'expected a list of values or "@lambda _: list", got []'),
        ({"floors": 3}, 'expected a list of values or "@lambda _: list", got 3'),
        ({"floors": "@lambda _: 3"}, "got 3"),
        ({"floors": "@lambda _: open('x')"}, "only these functions can be called"),
        ([], "expected an object of paths and their lists of values"),
        ({"floors": [1, "x"]}, 'floors: expected an integer from 0 to 9, got "x"'),
        ({"room": ["kitchen", {"_base": "kitchen", "_search": {"width": 3}}]}, "got 3"),
    ],
)
def test_a_mistake_in_a_search_is_named_where_it_stands(
    refuse: Refuse, search: Any, message: str
) -> None:
    text = json.dumps({"@house": {"_search": search}})
    found = refuse(text)
    assert any(message in problem for problem in found)
    assert all(problem.startswith("c.jsonc:1:") for problem in found)


def test_a_path_that_leads_nowhere_is_known_before_the_first_point(read: Read) -> None:
    from dlk.errors import ConfigError

    with pytest.raises(ConfigError, match="florrs"):
        read({"@house": {"_search": {"florrs": [1]}}})


def test_a_component_that_is_replaced_may_not_search_beside_that(refuse: Refuse) -> None:
    content = {
        "@room@kitchen": {"_search": {"width": [1, 2]}},
        "_search": {"room": ["kitchen", "kitchen"]},
    }
    (problem,) = refuse({"@house": content})
    assert '"room" replaces this component whole; search inside of its values' in problem


def test_files_in_a_search_are_relative_to_its_file(read: Read, folder: Any) -> None:
    found = list(read({"@house": {"_search": {"room.plan": ["a.txt", "/b.txt"]}}}))
    plans = [p.resolved["@house"]["@room@kitchen"]["plan"] for p in found]
    assert plans == [str(folder / "a.txt"), "/b.txt"]


def test_equal_points_are_named_in_a_warning_and_kept(read: Read) -> None:
    loaded = read({"@house": {"_search": {"floors": [1, 2, 1]}}})
    with pytest.warns(UserWarning, match=r"points 0 and 2 of the search are equal \(floors=1\)"):
        assert len(list(loaded)) == 3


def test_different_points_warn_of_nothing(read: Read) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read({"@house": {"_search": {"floors": [1, 2]}}}))) == 2


def test_without_a_search_nothing_is_chosen(read: Read) -> None:
    loaded = read({"@house": {}})
    assert (len(loaded), dict(loaded.one().choice)) == (1, {})


def test_points_share_nothing_that_changes(read: Read) -> None:
    first, second = read({"@house": {"tags": {"a": [1]}, "_search": {"floors": [1, 2]}}})
    first.resolved["@house"]["tags"]["a"].append(2)
    assert second.resolved["@house"]["tags"] == {"a": [1]}


def test_what_an_override_sets_is_not_searched(read: Read) -> None:
    config = {"@house": {"_search": {"room.width": [5, 4], "floors": [1, 2]}}}
    found = list(read(config, overrides=["room.width=7"]))
    assert [dict(point.choice) for point in found] == [{"floors": 1}, {"floors": 2}]
    assert {point.resolved["@house"]["@room@kitchen"]["width"] for point in found} == {7}


def test_a_component_that_an_override_sets_is_searched_inside(read: Read) -> None:
    config = {"@house": {"_search": {"room.width": [5, 4]}}}
    found = list(read(config, overrides={"room": {"colour": "blue"}}))
    rooms = [point.resolved["@house"]["@room@kitchen"] for point in found]
    assert [(room["width"], room["colour"]) for room in rooms] == [(5, "blue"), (4, "blue")]


def test_an_override_that_the_search_would_undo_is_refused(refuse: Refuse) -> None:
    config = {"@house": {"_search": {"room": ["kitchen", {"_base": "kitchen", "width": 9}]}}}
    (message,) = refuse(config, overrides=["room.width=7"])
    assert message == (
        '<--set> room.width: "room" is searched and replaces this; set room itself '
        "[--set room.width=7]"
    )


def test_a_mistake_tells_at_which_point_of_the_search_it_is(refuse: Refuse) -> None:
    lamp = {"watts": "@lambda @$$.width"}
    rooms = [{"@lamp@bulb": lamp}, {"_base": "cellar-dry", "@lamp@bulb": lamp}]
    (message,) = refuse({"@house": {"_search": {"floors": [1, 2], "room": rooms}}})
    assert 'there is no "width" here' in message
    assert "(where the search takes floors=1, room={" in message
