"""Bases, names, children, defaults and overrides: what a config says, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlk.config import load

Values = dict[str, Any]
House = Callable[..., Any]
Refuse = Callable[..., list[str]]


@pytest.fixture
def module(folder: Path) -> Callable[[str, Values], Path]:
    """Write a module file into the project's module folder."""
    (folder / ".intc.json").write_text('{"module": ["modules"]}')
    (folder / "modules" / "deep").mkdir(parents=True)

    def module(name: str, content: Values) -> Path:
        path = folder / "modules" / f"{name}.jsonc"
        path.write_text(json.dumps(content))
        return path

    return module


# Names and bases ---------------------------------------------------------------------------------


def test_fields_and_children_that_are_not_written_stand_at_their_defaults(house: House) -> None:
    found = house()
    assert (found["floors"], found["street"]) == (1, None)
    kitchen = found["@room@kitchen"]
    assert (kitchen["_name"], kitchen["width"], kitchen["oven"]) == (
        "kitchen",
        3,
        {"watts": 2000, "fan": True},
    )
    assert kitchen["@lamp@bulb"] == {"_name": "bulb", "watts": 60}
    assert not [key for key in found if key.startswith(("@door", "@roof"))]


@pytest.mark.parametrize(
    "content",
    [
        {"@room@kitchen": {"width": 4}},
        {"@room": {"_base": "kitchen", "width": 4}},
        {"@room": {"_name": "kitchen", "width": 4}},
        {"@room@kitchen": {"_base": "kitchen", "width": 4}},
        {"@room@mine": {"_base": "kitchen", "width": 4}},
        {"@room@kitchen#a": {"width": 4}},
    ],
)
def test_a_component_is_named_by_key_base_or_name(house: House, content: Values) -> None:
    found = house(content)
    (key,) = [k for k in found if k.startswith("@room")]
    assert (found[key]["_name"], found[key]["width"]) == ("kitchen", 4)
    assert key.partition("#")[0] in ("@room@kitchen", "@room@mine")


def test_a_text_is_short_for_a_base(house: House) -> None:
    assert house({"@room": "kitchen"})["@room@kitchen"]["width"] == 3


def test_the_part_after_the_dash_is_a_config_of_its_own(house: House, refuse: Refuse) -> None:
    assert (
        house({"@room@cellar-dry": {"@lamp": "tube"}})["@room@cellar-dry"]["_name"] == "cellar-dry"
    )
    assert refuse({"@house": {"@room@cellar-wet": {}}})[0].startswith(
        'c.jsonc:1:13 room: there is no room "cellar-wet". Did you mean "cellar" or "cellar-dry"?'
    )


def test_a_key_that_says_one_component_and_a_base_that_says_another_is_refused(
    refuse: Refuse,
) -> None:
    (problem,) = refuse({"@house": {"@room@kitchen": {"_base": "cellar-dry"}}})
    assert 'says kitchen, but its base is cellar-dry: write "@room@cellar-dry"' in problem


def test_aliases_tell_two_of_a_kind_apart(house: House, refuse: Refuse) -> None:
    found = house({"@door@wood#front": {"width": 1.0}, "@door@wood#back": {}, "@door@wood": {}})
    assert [k for k in found if k.startswith("@door")] == [
        "@door@wood#front",
        "@door@wood#back",
        "@door@wood",
    ]
    assert "stands here twice" in refuse({"@house": {"@door": "wood", "@door@wood": {}}})[0]


def test_module_files_are_named_bases_in_chains(house: House, module: Callable[..., Path]) -> None:
    module("room@large", {"_base": "kitchen", "width": 5, "notes": {"a": 1, "b": {"c": 2}}})
    module("deep/room@larger", {"_base": "large", "height": 4, "notes": {"b": {"d": 3}}})
    found = house({"@room@larger": {"notes": {"e": 5}, "sizes": []}})["@room@larger"]
    assert (found["_name"], found["width"], found["height"]) == ("kitchen", 5, 4)
    assert found["notes"] == {"a": 1, "b": {"c": 2, "d": 3}, "e": 5}
    assert found["sizes"] == []


def test_a_child_is_laid_over_the_same_child_of_the_base(
    house: House, module: Callable[..., Path]
) -> None:
    module("room@lit", {"_base": "kitchen", "@lamp@tube": {"length": 3.0, "watts": 5}})
    for key in ("@lamp@tube", "@lamp"):
        found = house({"@room@lit": {key: {"watts": 7}}})["@room@lit"]
        assert found["@lamp@tube"] == {
            "_name": "tube",
            "length": 3.0,
            "watts": 7,
            "shade": found["@lamp@tube"]["shade"],
        }
        assert "@lamp@bulb" not in found


def test_another_child_takes_the_place_where_one_may_stand(
    house: House, module: Callable[..., Path]
) -> None:
    module("room@lit", {"_base": "kitchen", "@lamp@tube": {"length": 3.0}})
    module("room@dry", {"_base": "cellar-dry", "@lamp@tube": {}})
    assert [k for k in house({"@room@lit": {"@lamp@bulb": {}}})["@room@lit"] if k[0] == "@"] == [
        "@lamp@bulb"
    ]
    # a cellar may have many lamps: both stand
    lamps = [k for k in house({"@room@dry": {"@lamp@bulb": {}}})["@room@dry"] if k[0] == "@"]
    assert lamps == ["@lamp@tube", "@lamp@bulb"]


def test_files_of_a_base_lie_beside_the_base(
    house: House, folder: Path, module: Callable[..., Path]
) -> None:
    module(
        "room@lit", {"_base": "kitchen", "plan": "base.txt", "@lamp@tube": {"shade": "base.svg"}}
    )
    found = house({"@room@lit": {"store": "mine", "@lamp@tube": {"watts": 5}}})["@room@lit"]
    assert found["plan"] == str(folder / "modules" / "base.txt")
    assert found["@lamp@tube"]["shade"] == str(folder / "modules" / "base.svg")
    assert found["store"] == str(folder / "mine")


def test_a_mistake_in_a_base_is_named_in_the_base(
    refuse: Refuse, module: Callable[..., Path]
) -> None:
    path = module("room@lit", {})
    path.write_text('{"_base": "kitchen",\n "width": 0,\n "@lamp@tube": {"wats": 1}}')
    config = {"@house": {"@room@lit": {"height": 9.5}}}
    assert sorted(problem.partition(": ")[0] for problem in refuse(config)) == [
        "c.jsonc:1:37 room.height",
        "modules/room@lit.jsonc:2:11 room.width",
        "modules/room@lit.jsonc:3:17 room.lamp.wats",
    ]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("lit", "the bases lit -> lit lead in a circle"),
        ("b", "the bases lit -> b -> lit lead in a circle"),
    ],
)
def test_bases_in_a_circle_are_an_error(
    refuse: Refuse, module: Callable[..., Path], base: str, message: str
) -> None:
    module("room@lit", {"_base": base})
    module("room@b", {"_base": "lit"})
    assert message in refuse({"@house": {"@room@lit": {}}})[0]


def test_a_misspelt_module_file_is_told(refuse: Refuse, module: Callable[..., Path]) -> None:
    module("room@sunny", {"_base": "kitchen"})
    assert refuse({"@house": {"@room": "suny"}}) == [
        'c.jsonc:1:22 room: there is no room "suny". Known: cellar, cellar-dry, kitchen. '
        'Did you mean the module file "sunny"?'
    ]


def test_an_unknown_base_is_named_where_it_is_written(
    refuse: Refuse, module: Callable[..., Path]
) -> None:
    module("room@lit", {"_base": "kitchn"})
    assert refuse({"@house": {"@room@lit": {}}}) == [
        'modules/room@lit.jsonc:1:11 room: there is no room "kitchn". Did you mean "kitchen"? '
        "Known: cellar, cellar-dry, kitchen. [a base of room, c.jsonc:1:26]"
    ]


@pytest.mark.parametrize("key", ["_search", "_anchor"])
def test_a_base_may_not_search_or_be_an_anchor(
    refuse: Refuse, module: Callable[..., Path], key: str
) -> None:
    module("room@lit", {"_base": "kitchen", key: {"width": [1, 2]}})
    assert f"a base may not hold {key}" in refuse({"@house": {"@room@lit": {}}})[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"@room": {}}, "room: which room? Known: cellar, cellar-dry, kitchen."),
        ({"@room@kitchen": 3}, "room: expected a component (an object or a name), got 3"),
        ({"@room@kitchen": None}, "got null"),
        ({"@room@kitchen": []}, "got a list"),
        ({"@room": "???"}, "got nothing (???)"),
        ({"@room": {"_base": 3}}, "room: expected a name, got 3"),
        ({"@ro om@kitchen": {}}, "is no component key"),
        ({"@garden@big": {}}, 'there is no component type "garden"'),
        ({"@lamp@bulb": {}}, 'house "" takes no lamp. Known: door, roof, room.'),
        ({"@roof@flat": {}, "@roof@flat#b": {}}, "takes one roof, got @roof@flat, @roof@flat#b"),
        ({"@room@cellar-dry": {}}, 'needs a child "@lamp@…". Known: bulb, tube.'),
    ],
)
def test_a_child_that_cannot_stand_there_is_refused(
    refuse: Refuse, content: Values, message: str
) -> None:
    assert message in refuse({"@house": content})[0]


def test_a_child_that_is_refused_is_not_also_missed(refuse: Refuse) -> None:
    assert len(refuse({"@house": {"@room@cellar-dry": {"@lamp@blub": {}}}})) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "c.jsonc:1:1: expected an object, got a list"),
        ("{}", 'c.jsonc:1:1: expected a component such as "@fit"'),
        ('{"house": {}}', "c.jsonc:1:2 house: expected a component"),
        ('{"_G": 3, "@house": {}}', "c.jsonc:1:8 _G: expected an object, got 3"),
    ],
)
def test_the_top_of_a_file_holds_components(refuse: Refuse, config: str, message: str) -> None:
    assert refuse(config)[0].startswith(message)


def test_an_object_replaces_the_default_of_an_open_dict_and_joins_that_of_a_nested_one(
    house: House,
) -> None:
    found = house(
        {"tags": {"new": 1}, "@room@kitchen": {"oven": {"fan": False}, "input_map": {"in": "x"}}}
    )
    assert found["tags"] == {"new": 1}
    assert found["@room@kitchen"]["oven"] == {"watts": 2000, "fan": False}
    assert found["@room@kitchen"]["input_map"] == {"in": "x", "out": "out"}


def test_the_callers_dict_is_left_as_it_was() -> None:
    config = {
        "_G": {"a": 1},
        "@house": {"tags": {"b": "@lambda @_G.a"}, "_search": {"floors": [1, 2]}},
    }
    before = json.dumps(config)
    points = list(load(config))
    assert [p.resolved["@house"]["floors"] for p in points] == [1, 2]
    assert json.dumps(config) == before


# Overrides ---------------------------------------------------------------------------------------

BASE: Values = {"@room@kitchen": {"sizes": [1, [2, 3]], "notes": {"a": 1}}, "@door@wood#front": {}}


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("floors=3", ["floors"], 3),
        ("house.floors=3", ["floors"], 3),
        ("street=Main Street = 1", ["street"], "Main Street = 1"),
        ('street="7"', ["street"], "7"),
        ("street=null", ["street"], None),
        ("room.height=1e0", ["@room@kitchen", "height"], 1.0),
        ("room.tiled=true", ["@room@kitchen", "tiled"], True),
        ("@room@kitchen.width=5", ["@room@kitchen", "width"], 5),
        ("@@kitchen.lamp.watts=5", ["@room@kitchen", "@lamp@bulb", "watts"], 5),
        ("room.sizes.0=9", ["@room@kitchen", "sizes"], [9, [2, 3]]),
        ("room.sizes.-1.1=9", ["@room@kitchen", "sizes"], [1, [2, 9]]),
        ("room.sizes=[4]", ["@room@kitchen", "sizes"], [4]),
        ("room.notes.a=2", ["@room@kitchen", "notes"], {"a": 2}),
        ("room.notes.b=2", ["@room@kitchen", "notes"], {"a": 1, "b": 2}),
        ("room.oven.watts=10", ["@room@kitchen", "oven"], {"watts": 10, "fan": True}),
        ('room.oven={"watts": 10}', ["@room@kitchen", "oven"], {"watts": 10, "fan": True}),
        ('room.input_map={"in": "x"}', ["@room@kitchen", "input_map"], {"in": "x", "out": "out"}),
        ("room.input_map.in=x", ["@room@kitchen", "input_map"], {"in": "x", "out": "out"}),
        ("#front.width=2", ["@door@wood#front", "width"], 2),
        ("door.width=2", ["@door@wood#front", "width"], 2),
        ("floors=@lambda _: 1 + 1", ["floors"], 2),
        ("roof=flat", ["@roof@flat", "slope"], 0),
        ("@roof@flat=" + '{"slope": 5}', ["@roof@flat", "slope"], 5),
        ("@door@wood#back={}", ["@door@wood#back", "width"], 0.9),
    ],
)
def test_an_override_sets_a_value_of_any_depth_and_type(
    house: House, override: str, path: list[str], value: object
) -> None:
    found = house(BASE, overrides=[override])
    for part in path:
        found = found[part]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("new", ["tube", '{"_base": "tube"}', '{"_name": "tube", "watts": 30}'])
def test_an_override_replaces_a_component_in_its_place(house: House, new: str) -> None:
    content = {"@room@kitchen": {"@lamp@bulb": {"watts": 1}}, "@door@wood": {}}
    found = house(content, overrides=[f"room.lamp={new}"])
    assert found["@room@kitchen"]["@lamp@tube"]["watts"] == 30
    found = house(content, overrides=["room=cellar-dry", 'room.@lamp@bulb={"watts": 2}'])
    assert [k for k in found if k[0] == "@"] == ["@room@cellar-dry", "@door@wood"]
    assert found["@room@cellar-dry"]["@lamp@bulb"]["watts"] == 2


def test_an_override_keeps_the_alias_and_without_a_name_the_component(house: House) -> None:
    found = house({"@door@wood#front": {"width": 2.0}}, overrides=["#front={}"])
    assert found["@door@wood#front"]["width"] == 0.9
    assert (
        house({"@door@mine": {"_base": "wood"}}, overrides=['door={"width": 1.5}'])["@door@wood"][
            "width"
        ]
        == 1.5
    )


def test_a_mapping_sets_values_as_they_are(house: House) -> None:
    assert house(BASE, overrides={"room.sizes": [1], "floors": 2})["floors"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("floor=1", '<--set> floor: there is no "floor" here. Did you mean "floors" or "door"?'),
        ("rom.width=1", '<--set> rom.width: there is no "rom" here. Did you mean "room"?'),
        ("room.widht=1", '<--set> room.widht: there is no "widht" here. Did you mean "width"?'),
        ("room.sizes.7=1", '"7" is no index into a list of 2 items'),
        ("room.width.a=1", 'there is no "a" here'),
        ("door.wood=1", '"door" fits 2 components'),
        ("room.oven.wats=1", 'there is no field "wats". Did you mean "watts"?'),
        ("room._base=cellar", "to replace a component, set it whole"),
        ("room=kitchn", 'there is no room "kitchn". Did you mean "kitchen"?'),
        ("floors=3.5", "floors: expected an integer from 0 to 9, got 3.5"),
        ("floors=three", 'floors: expected an integer from 0 to 9, got "three"'),
        ("room.height=NaN", 'room.height: expected a number from 1.0 to 5.0, got "NaN"'),
    ],
)
def test_a_wrong_override_names_the_nearest(refuse: Refuse, override: str, message: str) -> None:
    content = {**BASE, "@door@wood#back": {}}
    assert message in refuse({"@house": content}, overrides=[override])[0]


def test_nothing_is_left_of_where_an_overridden_value_stood(refuse: Refuse) -> None:
    content = {"@room@kitchen": {"oven": {"watts": 5}}}
    (problem,) = refuse({"@house": content}, overrides=['room.oven={"watts": "x"}'])
    assert problem.startswith('<--set> room.oven.watts: expected an integer >= 1, got "x"')


@pytest.mark.parametrize("override", ["floors", "=3", 'room.notes={"a": 1', "room.sizes=[1,"])
def test_an_override_that_cannot_be_read_is_refused(refuse: Refuse, override: str) -> None:
    assert refuse({"@house": BASE}, overrides=[override])[0].startswith(f"--set {override}: ")


def test_overrides_go_before_references_and_searches(
    house: House, read: Callable[..., Any]
) -> None:
    above = {"@room@kitchen": {"width": "@lambda @$$.floors"}}
    assert house(above, overrides=["floors=4"])["@room@kitchen"]["width"] == 4
    loaded = read({"@house": {"_search": {"floors": [1, 2]}}}, overrides=["_search.floors=[5]"])
    assert [p.resolved["@house"]["floors"] for p in loaded] == [5]


def test_a_file_in_an_override_lies_in_the_working_directory(
    read: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "below").mkdir()
    (folder / "c.jsonc").write_text('{"@house": {"@room@kitchen": {"store": "b"}}}')
    monkeypatch.chdir(folder / "below")
    found = (
        load("../c.jsonc", overrides=["room.plan=a.txt"]).one().resolved["@house"]["@room@kitchen"]
    )
    assert found["plan"] == str(folder / "below" / "a.txt")
    assert found["store"] == str(folder / "b")


def test_every_component_is_found_again_by_the_path_that_messages_write(
    read: Callable[..., Any],
) -> None:
    tree = read({"@house": {**BASE, "@door@wood": {}, "@roof@flat": {}}}).one().tree
    from dlk.config.keys import locate

    for path, _ in tree.modules():
        if len(path) > 1:
            assert locate(tree.root["@house"], tree.name(path)) == (path[1:], [])
