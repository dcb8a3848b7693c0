from __future__ import annotations

import itertools
import json
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import load
from dlk.errors import EqualPointsWarning

pytestmark = pytest.mark.once

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
        ({"florrs": [1]}, '_search.florrs: there is no "florrs" here. Did you mean "floors"?'),
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


def test_equal_points_are_named_by_both_their_choices_and_made_once(read: Read) -> None:
    loaded = read({"@house": {"_search": {"floors": [1, 2, 1], "street": ["a"]}}})
    message = (
        r"point 2 of the search \(floors=1, street=a\) equals point 0 \(floors=1, street=a\) "
        "and is left out"
    )
    with pytest.warns(EqualPointsWarning, match=message):
        assert [point.choice["floors"] for point in loaded] == [1, 2]
    assert len(loaded) == 3


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


# The space ---------------------------------------------------------------------------------------

NUMBERS = st.integers(1, 9)


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=1, max_size=2)


@st.composite
def lamps(draw: st.DrawFn) -> Any:
    """A lamp to choose: a name, or an object, with a space of its own or without."""
    name = draw(st.sampled_from(["bulb", "tube"]))
    if draw(st.booleans()):
        return name
    search: dict[str, Any] = {}
    if name == "tube" and draw(st.booleans()):
        search["length"] = draw(lists(st.sampled_from([1.5, 2.5])))
    if draw(st.booleans()):
        search["watts"] = draw(lists(NUMBERS))
    return {"_base": name, **({"_search": search} if search else {})}


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    """A house that searches at the top, in its room, and through whole lamps."""
    top = {
        "floors": draw(lists(NUMBERS)),
        "street": draw(lists(st.sampled_from(["a", "b", None]))),
        "room.sizes.1": draw(lists(NUMBERS)),
        "room.lamp": draw(lists(lamps())),
        "room.oven.watts": draw(lists(NUMBERS)),
    }
    some = st.lists(st.sampled_from(sorted(top)), min_size=1, max_size=3, unique=True)
    paths = draw(some)
    inner = {"width": draw(lists(NUMBERS))} if draw(st.booleans()) else {}
    room = {"height": 1, "@lamp@tube": {}, **({"_search": inner} if inner else {})}
    return {"@room@kitchen": room, "_search": {path: top[path] for path in paths}}


def brute_force(house: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield (path, value) choices of each point by plain loops, without dlk."""
    axes = [*house["_search"].items()]
    axes += [(f"room.{k}", v) for k, v in house["@room@kitchen"].get("_search", {}).items()]
    spans = []
    for path, values in axes:
        span: list[dict[str, Any]] = []
        for value in values:
            inner = value.get("_search", {}) if isinstance(value, dict) else {}
            shown = {"_base": value["_base"]} if isinstance(value, dict) else value
            for below in itertools.product(*inner.values()):
                own = {f"{path}.{name}": v for name, v in zip(inner, below, strict=True)}
                span.append({path: shown, **own})
        spans.append(span)
    for parts in itertools.product(*spans):
        yield {path: value for part in parts for path, value in part.items()}


def expected_house(choice: dict[str, Any]) -> dict[str, Any]:
    """Return what a point comes to, field by field."""
    lamp = choice.get("room.lamp", "tube")
    name = lamp["_base"] if isinstance(lamp, dict) else lamp
    default = {"bulb": 60, "tube": 30}[name]
    return {
        "floors": choice.get("floors", 1),
        "street": choice.get("street"),
        "width": choice.get("room.width", 3),
        "sizes": [1, choice.get("room.sizes.1", 2)],
        "oven": choice.get("room.oven.watts", 2000),
        "lamp": name,
        "watts": choice.get("room.lamp.watts", default),
        "length": choice.get("room.lamp.length", 1.0) if name == "tube" else None,
    }


def shown_house(resolved: dict[str, Any]) -> dict[str, Any]:
    room = resolved["@house"]["@room@kitchen"]
    ((key, lamp),) = [(k, v) for k, v in room.items() if k.startswith("@lamp")]
    return {
        "floors": resolved["@house"]["floors"],
        "street": resolved["@house"]["street"],
        "width": room["width"],
        "sizes": room["sizes"],
        "oven": room["oven"]["watts"],
        "lamp": key.removeprefix("@lamp@"),
        "watts": lamp["watts"],
        "length": lamp.get("length"),
    }


@settings(deadline=None, max_examples=12)
@given(house=searches())
def test_the_grid_is_that_of_plain_loops(house: dict[str, Any]) -> None:
    loaded = load({"@house": house})
    expected = list(brute_force(house))
    assert len(loaded) == len(expected) == sum(1 for _ in loaded.grid)
    for number, choice in enumerate(expected):
        point = loaded[number]
        assert dict(point.choice) == choice
        assert shown_house(point.resolved) == expected_house(choice)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = [json.dumps(point.resolved, sort_keys=True) for point in loaded]
    assert len(set(made)) == len(made)
    assert set(made) == {
        json.dumps(loaded[number].resolved, sort_keys=True) for number in range(len(loaded))
    }


@settings(deadline=None, max_examples=20)
@given(house=searches())
def test_the_space_describes_every_point(house: dict[str, Any]) -> None:
    def walk(space: Any) -> Iterator[dict[str, Any]]:
        spans = [
            [
                {dimension.path: value, **below}
                for value, inner in zip(dimension.values, dimension.spaces, strict=True)
                for below in walk(inner)
            ]
            for dimension in space
        ]
        for parts in itertools.product(*spans):
            yield {path: value for part in parts for path, value in part.items()}

    loaded = load({"@house": house})
    assert list(walk(loaded.space)) == [choice for _, choice in loaded.grid]
    sizes = [len(dimension) for dimension in loaded.space]
    assert len(loaded) == len(list(itertools.product(*map(range, sizes))))


def test_a_config_without_a_search_has_no_space(read: Read) -> None:
    assert read({"@house": {}}).space == ()


def test_a_grid_is_a_sequence(read: Read) -> None:
    grid = read({"@house": {"_search": {"floors": [1, 2, 3]}}}).grid
    assert [choice["floors"] for _, choice in grid[1:]] == [2, 3]
    assert grid[-1][1] == {"floors": 3}
    with pytest.raises(IndexError):
        grid[3]


def test_points_are_made_when_they_are_asked_for_and_not_kept(read: Read) -> None:
    values = "@lambda _: list(range(1, 11))"
    names = [f"@door@wood#d{n}" for n in range(5)]
    loaded = read({"@house": {name: {"_search": {"width": values}} for name in names}})
    assert [int(w) for w in loaded[98_765].choice.values()] == [10, 9, 8, 7, 6]
    points_of = iter(loaded)
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        for _ in range(12):
            next(points_of)
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000  # a point's tree alone is more


def test_searched_lists_may_be_long(read: Read) -> None:
    started = time.process_time()
    loaded = read({"@house": {"_search": {"tags.a": "@lambda _: list(range(90000))"}}})
    assert loaded[77_777].choice == {"tags.a": 77_777}
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"_search": {"room.width": [1]}, "@room@kitchen": {"_search": {"width": [2]}}},
            'room._search.width: "width" is searched twice',
        ),
        (
            {"_search": {"room.lamp.watts": [1], "room.lamp": ["bulb", "tube"]}},
            '"room.lamp" replaces what "room.lamp.watts" searches; name it first',
        ),
        (
            {"_search": {"tags.built": [1], "tags": [{}]}},
            '"tags" replaces what "tags.built" searches; name it first',
        ),
        (
            {
                "_search": {
                    "room": [
                        "kitchen",
                        {
                            "_base": "kitchen",
                            "_search": {"lamp": ["bulb"]},
                            "@lamp@bulb": {"_search": {"watts": [1]}},
                        },
                    ]
                }
            },
            '"lamp" replaces this component whole; search inside of its values',
        ),
    ],
)
def test_a_search_that_another_one_undoes_is_refused(
    refuse: Refuse, content: Any, message: str
) -> None:
    assert any(message in problem for problem in refuse({"@house": content}))


def test_a_value_inside_of_each_choice_is_searched_after_it(read: Read) -> None:
    content = {"_search": {"room.lamp": ["bulb", "tube"], "room.lamp.watts": [1, 2]}}
    found = [p.resolved["@house"]["@room@kitchen"] for p in read({"@house": content})]
    assert [next(k for k in room if k[0] == "@") for room in found] == [
        "@lamp@bulb",
        "@lamp@bulb",
        "@lamp@tube",
        "@lamp@tube",
    ]


def test_all_wrong_values_of_all_axes_are_named_before_the_first_point(read: Read) -> None:
    from dlk.errors import ConfigError

    search = {
        "floors": [1, "x", 12],
        "room": ["kitchen", {"_base": "kitchen", "width": 0}, {"_base": "cellar"}, "atic"],
        "tags.a": [1],
        "_G.a": [1],
    }
    with pytest.raises(ConfigError) as caught:
        read({"@house": {"_search": search}})
    assert [(p.code, p.path, p.origin) for p in caught.value.problems] == [
        ("wrong-type", "floors", "value 2 of _search floors"),
        ("out-of-range", "floors", "value 3 of _search floors"),
        ("out-of-range", "room.width", "value 2 of _search room"),
        ("missing-value", "room.depth", "value 3 of _search room"),
        ("missing-value", "room.racks.1", "value 3 of _search room"),
        ("missing-child", "room", "value 3 of _search room"),
        ("unknown-component", "room", "value 4 of _search room"),
        ("unknown-path", "_search._G.a", ""),
    ]


def test_a_search_of_what_was_refused_is_not_a_second_mistake(refuse: Refuse) -> None:
    content = {
        "@room@kitchn": {},
        "_search": {"room.width": [1, 2], "flors": [1], "floors": [1, 2.5]},
    }
    assert [p.split(": ")[0].split(" ", 1)[1] for p in refuse({"@house": content})] == [
        "room",
        "_search.flors",
        "floors",
    ]
