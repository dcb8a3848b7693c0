"""From a file to frozen configs: references, globals, errors with positions, the way back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import (
    changed,
    child,
    children,
    from_resolved,
    load,
    make,
    node_of,
    parse_override,
    to_dict,
)
from dlk.errors import ConfigError

Values = dict[str, Any]
House = Callable[..., Any]
Refuse = Callable[..., list[str]]
Read = Callable[..., Any]


# References --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("@lambda @$.height", 2.5),
        ("@lambda @$$.floors", 4),
        ("@lambda @$$.@door.width", 0.9),
        ("@lambda @$$.door#front.width", 0.9),
        ("@lambda @$$.#front.width", 0.9),
        ("@lambda @$$.@@wood.width", 0.9),
        ("@lambda @$.@lamp.watts", 60),
        ("@lambda @$.sizes.1", 2),
        ("@lambda @$.sizes.-2", 1),
        ("@lambda @$.oven.watts", 2000),
        ("@lambda @$.sizes", [1, 2]),
        ("@lambda @$.oven", {"watts": 2000, "fan": True}),
        ("@lambda @_G.a.b", 7),
        ("@lambda @~.a.b", 7),
        ("@_G.a.b @lambda x: x + 1", 8),
        ("@_G.a.b, @$$.floors @lambda x, y: x * y", 28),
        ("@lambda @root.floors", 4),
        ("@root.floors @lambda n: [n] * 2", [4, 4]),
        ("@lambda _: 3 * 4", 12),
        ("@lambda _: {'a': [1, 2][0:1]}", {"a": [1]}),
        ("  @$.height   @lambda h : h * 2", 5.0),
        ("@lambda @_G.sum", 8),
    ],
)
def test_a_reference_gives_what_it_names(house: House, expression: str, value: object) -> None:
    content = {
        "_anchor": "root",
        "floors": 4,
        "@room@kitchen": {"extra": expression},
        "@door@wood#front": {},
    }
    above = {"_G": {"a": {"b": 7}, "sum": "@_G.a.b @lambda b: b + 1"}}
    found = house(content, above)["@room@kitchen"]["extra"]
    assert (type(found), found) == (type(value), value)


def test_references_reach_into_lists_and_objects_and_through_each_other(house: House) -> None:
    content = {
        "tags": {"list": [1, "@lambda @$.floors", {"deep": "@$.tags.list.1 @lambda x: x + 1"}]},
        "floors": "@lambda @$.@room.width",
        "@room@kitchen": {
            "width": "@lambda @$.@lamp.watts",
            "height": 1,
            "@lamp": {"_base": "bulb", "watts": 7},
        },
    }
    assert house(content)["tags"] == {"list": [1, 7, {"deep": 8}]}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("@lambda @$.heigth", '"@$.heigth": there is no "heigth" here. Did you mean "height"?'),
        ("@lambda @$$.@rof.slope", '"@$$.@rof.slope": there is no "@rof" here.'),
        ("@lambda @$$.@door.width", '"@door" fits 2 components: @door@wood#a, @door@wood#b'),
        (
            "@lambda @_G.metta.size",
            '"@_G.metta.size": there is no "metta" here. Did you mean "meta"?',
        ),
        ("@lambda @rot.floors", 'there is no anchor "rot". Did you mean "@root"?'),
        ("@lambda @$$$$.floors", '"@$$$$.floors" leads above the top'),
        ("@lambda $.height", 'expected "@lambda _: …" or "@lambda @reference"'),
        ("@lambda x: x", 'expected "@lambda _: …" or "@lambda @reference"'),
        ("@lambda", 'expected "@lambda _: …" or "@lambda @reference"'),
        ("@height @lambda x: x", '"@height" is no reference'),
        ("@$.height, @$.width @lambda x: x", "takes 1 values, but 2 are referred to"),
        ("@$.height @lambda x: y", 'there is no name "y"'),
        ("@$.height @lambda x: x / 0", "failed: ZeroDivisionError"),
        ("@$.height @lambda x: x.real", "Attribute is not part of the expression language"),
        ("@$.height @lambda x: (", "cannot read the expression"),
        ("@lambda @$.sizes.5", "no index into a list of 2"),
        ("@lambda @$$.tags", '"@$$.tags" holds computed values itself; refer to its parts'),
        (
            "@lambda @$$.tags.of.size",
            '"@$$.tags.of.size" leads into a computed value; refer to it whole',
        ),
        ("@_G.meta.word @lambda w: '@' + w + ' _: 1'", "may not compute an expression"),
    ],
)
def test_a_reference_that_fails_is_named_where_it_stands(
    refuse: Refuse, expression: str, message: str
) -> None:
    content = {
        "_anchor": "root",
        "tags": {"of": "@lambda _: {'size': 1}"},
        "@door@wood#a": {},
        "@door@wood#b": {},
        "@room@kitchen": {"extra": expression},
    }
    (problem,) = refuse({"_G": {"meta": {"word": "lambda"}}, "@house": content})
    at = (
        len('{"_G": {"meta": {"word": "lambda"}}, "@house": ' + json.dumps(content))
        - len(json.dumps(expression))
        - 1
    )
    assert problem.startswith(f"c.jsonc:1:{at} room.extra: ")
    assert message in problem


@pytest.mark.parametrize(
    ("content", "circle"),
    [
        ({"floors": "@lambda @$.floors"}, "@house.floors -> @house.floors"),
        (
            {"floors": "@lambda @$.street", "street": "@lambda @$.floors"},
            "@house.floors -> @house.street -> @house.floors",
        ),
        (
            {"floors": "@lambda @$.@room.width", "@room@kitchen": {"width": "@lambda @$$.floors"}},
            "@house.floors -> @house.@room@kitchen.width -> @house.floors",
        ),
    ],
)
def test_values_computed_from_each_other_are_an_error(
    refuse: Refuse, content: Values, circle: str
) -> None:
    (problem,) = refuse({"@house": content})
    assert "are computed from each other: " in problem
    first, second = circle.split(" -> ")[:2]
    assert f"{first} -> {second}" in problem or f"{second} -> {first}" in problem


def test_all_expressions_that_fail_are_named_at_once(refuse: Refuse) -> None:
    content = {
        "floors": "@lambda @$.a",
        "street": "@lambda @$.b",
        "@room@kitchen": {"width": "@lambda @x.c"},
    }
    assert [p.split(": ")[0].split()[1] for p in refuse({"@house": content})] == [
        "floors",
        "street",
        "room.width",
    ]
    failing = {
        "floors": "@lambda _: 1 / 0",
        "street": "@lambda _: [][1]",
        "tags": {"a": "@$.floors @lambda x: x + 1"},
    }
    assert [p.split(": ")[0].split()[1] for p in refuse({"@house": failing})] == [
        "floors",
        "street",
    ]


def test_a_reference_without_its_lambda_is_a_mistake_not_a_text(refuse: Refuse) -> None:
    content = {"street": "@$.floors", "tags": {"a": ["@_G.b"]}}
    assert [p.partition(": ")[2] for p in refuse({"@house": content})] == [
        'a reference is written "@lambda @$.floors"',
        'a reference is written "@lambda @_G.b"',
    ]


def test_an_expression_under_a_key_with_a_dot_is_refused(refuse: Refuse) -> None:
    (problem,) = refuse({"@house": {"tags": {"a.b": "@lambda _: 1"}}})
    assert "cannot stand under a key with a dot" in problem


@pytest.mark.parametrize(
    "word", ["a@lambda_function", "@lambda_function", "x@lambda.org", "@me", "lambda _: 1"]
)
def test_harmless_words_stay_words_everywhere(house: House, word: str) -> None:
    above = {"_G": {"word": word, "list": [word]}}
    found = house({"street": word, "tags": {word: [word]}, "@roof@flat": {}}, above)
    assert (found["street"], found["tags"]) == (word, {word: [word]})
    assert house({"street": "@lambda @_G.word"}, above)["street"] == word


def test_two_components_at_the_top_see_each_other(read: Read) -> None:
    found = read(
        {"@house": {"floors": "@lambda @$$.@lamp.watts"}, "@lamp@bulb": {"watts": 3}}
    ).one()
    assert found.resolved["@house"]["floors"] == 3
    assert found.root("lamp").watts == 3


@pytest.mark.parametrize(
    ("anchor", "message"),
    [
        ("a.b", "expected a name"),
        (3, "expected a name"),
        ("_G", "expected a name"),
        ("~", "expected a name"),
        ("", "expected"),
    ],
)
def test_an_anchor_is_a_name(refuse: Refuse, anchor: object, message: str) -> None:
    assert message in refuse({"@house": {"_anchor": anchor}})[0]


def test_an_anchor_names_one_component(refuse: Refuse) -> None:
    (problem,) = refuse({"@house": {"_anchor": "a", "@room@kitchen": {"_anchor": "a"}}})
    assert problem.endswith('room._anchor: "a" names house already')


def test_g_meta_gives_numbers_and_booleans_as_they_are(house: House) -> None:
    content = {
        "floors": "@lambda @_G.meta.vocab.size",
        "@room@kitchen": {"tiled": "@lambda @_G.meta.vocab.unk"},
    }
    found = house(content, global_values=lambda tree: {"meta": {"vocab": {"size": 6, "unk": True}}})
    assert (found["floors"], found["@room@kitchen"]["tiled"]) == (6, True)


def test_the_names_that_dlk_fills_in_cannot_be_taken(refuse: Refuse) -> None:
    config = {"_G": {"meta": 1}, "@house": {}}
    (problem,) = refuse(config, global_values=lambda tree: {"meta": {}})
    assert problem == "c.jsonc:1:9 _G.meta: dlk fills this in; rename it"


def test_a_label_of_the_data_runs_nothing(refuse: Refuse) -> None:
    labels = {"meta": {"labels": ["@lambda _: 10 ** 6"]}}
    assert refuse({"@house": {}}, global_values=lambda tree: labels) == [
        "c.jsonc _G.meta.labels.0: data may not bring an expression"
    ]


# Errors ------------------------------------------------------------------------------------------

MISTAKES = """{
    // one of each
    "@house": {
        "floors": 12,
        "stret": "x",
        "@room@kitchen": {
            "width": "3", "height": true,
            "colour": "gren",
            "sizes": {"a": 1},
            "input_map": {"inn": "x", "out": 3},
            "oven": {"wats": 1, "fan": "yes"}
        },
        "@door@wod": {},
        "@roof@flat": {"slope": 0.5}
    }
}"""


def test_what_is_missing_is_named_with_the_other_mistakes(refuse: Refuse) -> None:
    wrong = {
        "@room@cellar": {"dept": 1, "racks": [], "@lamp@bulb": {}},
        "floors": "@lambda @$.nothing",
    }
    missing, unknown, computed = refuse({"@house": wrong})
    assert missing == "c.jsonc:1:29 room.depth: is required: metres down"
    assert 'there is no field "dept"' in unknown
    assert computed.startswith('c.jsonc:1:83 floors: "@$.nothing": there is no "nothing" here. ')
    assert computed.endswith("Known: floors, room@cellar, street, tags.")
    searched = {
        "@room@cellar": {"racks": [], "@lamp@bulb": {}},
        "_search": {"room.depth": [1, "deep"]},
    }
    (message,) = refuse({"@house": searched})
    assert 'room.depth: expected an integer >= 1, got "deep"' in message


def test_all_mistakes_are_named_at_once_in_the_order_of_the_text(refuse: Refuse) -> None:
    assert refuse(MISTAKES) == [
        "c.jsonc:4:19 floors: expected an integer from 0 to 9, got 12 (number of floors)",
        'c.jsonc:5:9 stret: there is no field "stret".'
        ' Did you mean "street"? Known: floors, street, tags.',
        'c.jsonc:7:22 room.width: expected an integer >= 1, got "3" (metres)',
        "c.jsonc:7:37 room.height: expected a number from 1.0 to 5.0, got true (metres up)",
        'c.jsonc:8:23 room.colour: expected one of "white", "green", "blue", got "gren"'
        ' (of the wall) Did you mean "green"?',
        'c.jsonc:9:22 room.sizes: expected a list, got {"a": 1} (of its pans)',
        'c.jsonc:10:27 room.input_map.inn: there is no "inn" to rename.'
        ' Did you mean "in"? Known: in, out.',
        "c.jsonc:10:46 room.input_map.out: expected a name, got 3",
        'c.jsonc:11:22 room.oven.wats: there is no field "wats".'
        ' Did you mean "watts"? Known: fan, watts.',
        'c.jsonc:11:40 room.oven.fan: expected true or false, got "yes" (whether it blows)',
        'c.jsonc:13:9 door: there is no door "wod". Did you mean "wood"? Known: wood.',
        'c.jsonc:14:33 roof.slope: expected an integer or "none", got 0.5 (degrees)',
    ]


def test_a_value_that_is_computed_is_checked_too(refuse: Refuse) -> None:
    (problem,) = refuse({"@house": {"floors": "@lambda _: 100"}})
    assert (
        problem
        == "c.jsonc:1:23 floors: expected an integer from 0 to 9, got 100 (number of floors) "
        '[computed by "@lambda _: 100"]'
    )


def test_missing_values_are_found_in_fields_lists_and_below(refuse: Refuse) -> None:
    content = {
        "tags": {"a": ["???", {"b": "???"}]},
        "@room@cellar": {"@lamp@bulb": {}},
        "@roof@flat": "flat",
    }
    assert [p.split(": ")[0].split()[1] for p in refuse({"@house": content})] == [
        "tags.a.0",
        "tags.a.1.b",
        "room.depth",
        "room.racks.1",
    ]


def test_rules_of_all_components_are_reported_at_once(refuse: Refuse) -> None:
    large = {"width": 20, "height": 3}
    found = refuse({"@room@kitchen#a": large, "@house": {"@room@kitchen": large}})
    assert [p.partition(": ")[2] for p in found] == ["the room is too large"] * 2


def test_a_dict_from_code_has_no_positions_but_paths() -> None:
    with pytest.raises(ConfigError) as caught:
        load({"@house": {"floors": "x", "@room@kitchen": {"widht": 1}}})
    assert [str(p).partition(": ")[0] for p in caught.value.problems] == ["floors", "room.widht"]


def test_default_children_that_never_end_are_an_error(refuse: Refuse) -> None:
    from dlk.config import Base, cregister, one
    from dlk.config._intc import registered

    if registered("mirror", "front") is None:

        @cregister("mirror", "front")
        class MirrorConfig(Base):
            """Holds itself."""

            children: ClassVar = {"mirror": one(default="front")}

    assert "nested deeper than 50 components" in refuse({"@mirror@front": {}})[0]


# One point, several points -----------------------------------------------------------------------


def test_one_point_is_refused_where_there_are_several(read: Read) -> None:
    loaded = read({"@house": {"_search": {"floors": [1, 2]}}})
    with pytest.raises(ConfigError, match=r"this config searches \(floors\)"):
        loaded.one()


def test_the_one_component_of_a_type_at_the_top_is_asked_for_by_type(read: Read) -> None:
    point = read({"@house": {}}).one()
    assert point.root("house").floors == 1
    with pytest.raises(ConfigError, match='expected one "@fit" at the top, got @house'):
        point.root("fit")


# The way back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["_G", "_base", "_search"])
def test_data_whose_keys_could_not_be_read_back_are_refused_at_once(key: str) -> None:
    with pytest.raises(ConfigError, match=f'tags.{key}: "{key}" has a meaning in configs'):
        make("house", "", {"tags": {key: [1]}})


@given(
    floors=st.integers(0, 9),
    tags=st.dictionaries(
        st.text(max_size=5).filter(lambda key: key not in ("_G", "_base")),
        # "???" is no text but says that a value is required.
        st.lists(st.integers() | st.text(max_size=5).filter(lambda t: t != "???"), max_size=3),
    ),
    doors=st.lists(st.floats(0.5, 3, allow_nan=False), max_size=3),
    height=st.integers(1, 5) | st.floats(1, 5, allow_nan=False),
)
def test_what_a_config_gives_makes_the_same_config_again(
    floors: int, tags: Values, doors: list[float], height: float
) -> None:
    values = {
        "floors": floors,
        "tags": tags,
        "@room@mine": {"_base": "kitchen", "height": height, "@lamp@tube#l": {}},
        **{f"@door@wood#d{n}": {"width": width} for n, width in enumerate(doors)},
    }
    config = make("house", "", values)
    plain = to_dict(config)
    assert json.loads(json.dumps(plain)) == plain
    (again,) = from_resolved(plain, folder="/nowhere").values()
    assert again == config
    assert to_dict(again) == plain
    assert list(children(again, "door")) == [f"d{n}" for n in range(len(doors))]
    assert child(again, "room").height == float(height)


def test_one_part_of_a_config_is_changed_and_nothing_else() -> None:
    doors = {"@door@wood#a": {"width": 1.0}, "@door@wood#b": {"width": 1.0}}
    config = make("house", "", {**doors, "@room@kitchen": {}, "tags": {"a": [1]}})
    door = children(config, "door")["b"]  # equal to the other, but this one
    whole, part = changed(config, door, {"width": 2.0})
    assert children(whole, "door")["b"] is part
    assert [each.width for each in children(whole, "door").values()] == [1.0, 2.0]
    assert door.width == 1.0
    assert node_of(part).path == node_of(door).path
    again, _ = changed(whole, part, {"width": 1.0})
    assert again == config
    lamp = child(child(config, "room"), "lamp")
    deeper, _ = changed(config, lamp, {"watts": 7})
    assert child(child(deeper, "room"), "lamp").watts == 7
    root, same = changed(config, config, {"tags": {"a": [2]}})
    assert root is same
    assert root.tags == {"a": [2]}


def test_a_change_is_checked_and_its_part_must_be_below() -> None:
    config = make("house", "", {"@room@kitchen": {}})
    lamp = child(child(config, "room"), "lamp")
    with pytest.raises(ConfigError, match=r"room\.lamp\.watts"):
        changed(config, lamp, {"watts": "many"})
    with pytest.raises(ValueError, match="is no part of"):
        changed(config, make("lamp", "bulb"), {"watts": 7})


def test_resolved_values_of_a_point_make_its_configs_again(read: Read, folder: Path) -> None:
    config = {
        "@house": {
            "floors": "@lambda _: 2",
            "@room@cellar-dry": {"@lamp@tube": {}, "@lamp@bulb#b": {}},
        }
    }
    point = read(config).one()
    assert from_resolved(point.resolved, folder=str(folder)) == point.configs


def test_a_difference_in_a_child_makes_configs_unequal() -> None:
    one = make("house", "", {"@room@kitchen": {"@lamp@bulb": {"watts": 1}}})
    other = make("house", "", {"@room@kitchen": {"@lamp@bulb": {"watts": 2}}})
    assert one != other
    assert one != "house"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"street": "@lambda _: 1"}, "@house.street: an expression"),
        ({"tags": {"a": ["@$.floors @lambda x: x"]}}, "@house.tags.a.0: an expression"),
        ({"_search": {"floors": [1]}}, '@house._search: "_search" is not allowed'),
        ({"_anchor": "a"}, '@house._anchor: "_anchor" is not allowed'),
        (
            {"@room@kitchen": {"_base": "cellar"}},
            '@house.@room@kitchen._base: "_base" is not allowed',
        ),
    ],
)
def test_nothing_is_computed_from_resolved_values(change: Values, path: str) -> None:
    plain = to_dict(make("house", "", {}))
    plain["@house"] |= change
    with pytest.raises(ConfigError) as caught:
        from_resolved(plain, folder="")
    assert any(str(p).startswith(path) for p in caught.value.problems)


def test_globals_are_refused_in_resolved_values() -> None:
    with pytest.raises(ConfigError, match='"_G" is not allowed here'):
        from_resolved({"_G": {}, **to_dict(make("house", "", {}))}, folder="")


def test_resolved_values_are_checked_as_any(folder: Path) -> None:
    plain = to_dict(make("house", "", {}))
    plain["@house"]["floors"] = "3"
    with pytest.raises(ConfigError, match=r"<resolved> floors: expected an integer from 0 to 9"):
        from_resolved(plain, folder=str(folder))


def test_files_in_resolved_values_are_relative_to_the_folder_given(folder: Path) -> None:
    plain = to_dict(make("room", "kitchen", {}))
    plain["@room@kitchen"] |= {"plan": "assets/plan.txt", "model": "hub/name"}
    (config,) = from_resolved(plain, folder=str(folder / "bundle")).values()
    assert config.plan == str(folder / "bundle" / "assets" / "plan.txt")
    assert config.model == "hub/name"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1e-4", 1e-4),
        ("a=-0.5", -0.5),
        ("a=true", True),
        ("a=null", None),
        ('a="1"', "1"),
        ("a=[1, {}]", [1, {}]),
        ("a=text", "text"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=Infinity", "Infinity"),
        ("a=./path", "./path"),
        (" a = x", " x"),
    ],
)
def test_an_override_is_json_where_it_can_be(text: str, value: object) -> None:
    path, found = parse_override(text)
    assert (path, type(found), found) == ("a", type(value), value)


def test_make_gives_a_config_whose_paths_start_at_itself() -> None:
    config = make("room", "kitchen", width=4)
    assert (config.width, node_of(config).path) == (4, "room")
    assert node_of(child(config, "lamp")).path == "lamp"


def test_a_config_of_2000_lines_is_read_and_resolved_in_under_a_second(read: Read) -> None:
    doors = {
        f"@door@wood#d{n}": {
            "width": f"@$$.@door@wood#d{n - 1}.width @lambda w: w + 0.1" if n else 0.5
        }
        for n in range(550)
    }
    text = json.dumps({"@house": {**doors, "tags": {str(n): n for n in range(400)}}}, indent=1)
    assert text.count("\n") > 2000
    started = time.process_time()
    loaded = read(text).one()
    assert time.process_time() - started < 2.0  # about 0.5 s alone on a slow core
    assert loaded.root("house") is not None


# Everything at once -------------------------------------------------------------------------------


def codes_of(read: Read, config: Any, **options: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        list(read(config, **options))
    return [(p.code, p.path, p.origin) for p in caught.value.problems]


def test_rules_expressions_and_plain_mistakes_are_reported_together(read: Read) -> None:
    content = {
        "floors": "@lambda _: 1 / 0",
        "street": 3,
        "@room@kitchen": {"width": 20, "colour": "gren", "height": 3},
        "@roof@flat": {"slope": "@$$.floors @lambda f: f + 1"},
        "@door@wood": {"width": "@lambda _: 0.1"},
    }
    assert codes_of(read, {"@house": content}) == [
        ("expression-failed", "floors", ""),
        ("wrong-type", "street", ""),
        ("rule", "room.width", ""),
        ("unknown-option", "room.colour", ""),
        ("out-of-range", "door.width", 'computed by "@lambda _: 0.1"'),
    ]


def test_a_rule_that_needs_what_is_wrong_is_not_asked(read: Read) -> None:
    for height in ("3", "@lambda _: 1 / 0", "???"):
        content = {"@room@kitchen": {"width": 20, "height": height}}
        assert [path for _, path, _ in codes_of(read, {"@house": content})] == ["room.height"]
    # what is misspelt may be meant for the field that the rule reads
    content = {"@room@kitchen": {"width": 20, "hieght": 1}}
    assert [code for code, _, _ in codes_of(read, {"@house": content})] == ["unknown-field"]


@pytest.fixture
def family() -> None:
    """A component whose rule looks into its child."""
    from dlk.config import Base, IntField, child, cregister, one
    from dlk.config._intc import registered

    if registered("parent", "strict") is None:

        @cregister("parent", "strict")
        class ParentConfig(Base):
            """Wants a child that is younger."""

            age = IntField(value=30, help="years")
            children: ClassVar = {"offspring": one(default="young")}

            def rules(self) -> Any:
                if self.age <= child(self, "offspring").age:
                    yield "age", "the child is older"

        @cregister("offspring", "young")
        class OffspringConfig(Base):
            """Has an age."""

            age = IntField(value=3, minimum=0, help="years")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"age": 2}, [("rule", "age", "")]),
        ({"@offspring@young": {"age": 50}}, [("rule", "age", "a default of parent strict")]),
        ({"age": 2, "@offspring@young": {"age": -1}}, [("out-of-range", "offspring.age", "")]),
        ({"age": 2, "@offspring@yung": {}}, [("unknown-component", "offspring", "")]),
        (
            {"age": 2, "@offspring@young#a": {}, "@offspring@young#b": {}},
            [("too-many-children", "offspring#b", "")],
        ),
    ],
)
@pytest.mark.usefixtures("family")
def test_a_rule_about_a_child_is_asked_where_the_child_is_sound(
    read: Read, content: Values, expected: list[tuple[str, str, str]]
) -> None:
    assert codes_of(read, {"@parent@strict": content}) == expected


def test_a_value_names_where_it_came_from(read: Read, folder: Path) -> None:
    (folder / ".intc.json").write_text('{"module": ["modules"]}')
    (folder / "modules").mkdir()
    (folder / "modules" / "lamp@dim.jsonc").write_text('{"_base": "bulb", "watts": 0}')
    content = {
        "@room@kitchen": {"height": 1, "@lamp": "dim"},
        "@door@wood": {"width": "@_G.w @lambda w: w - 1"},
        "_search": {"street": ["a", 3]},
    }
    config = {"_G": {"w": 1.25}, "@house": content}
    at = json.dumps(config).index('"dim"') + 1
    w = json.dumps(config).index("1.25") + 1
    place = f"{folder / 'c.jsonc'}:1"
    overrides = ["floors=99", "tags.new=???"]
    found = codes_of(read, config, overrides=overrides)
    assert sorted(found, key=lambda p: p[1] + p[2]) == [
        (
            "out-of-range",
            "door.width",
            f'computed by "@_G.w @lambda w: w - 1" from _G.w = 1.25 ({place}:{w})',
        ),
        ("out-of-range", "floors", "--set floors=99"),
        ("out-of-range", "room.lamp.watts", f"a base of room.lamp, {place}:{at}"),
        ("wrong-type", "street", "value 2 of _search street"),
        ("missing-value", "tags.new", "--set tags.new=???"),
    ]


def test_a_missing_value_of_a_default_child_stands_where_its_parent_does(read: Read) -> None:
    from dlk.config import Base, IntField, cregister, one
    from dlk.config._intc import registered

    if registered("needy", "child") is None:

        @cregister("needy", "child")
        class NeedyConfig(Base):
            """Has a required field, named as one of its parent's."""

            width = IntField(value="???", help="metres")

        @cregister("needy_parent", "one")
        class NeedyParentConfig(Base):
            """Brings the child by default."""

            width = IntField(value=1, help="metres")
            children: ClassVar = {"needy": one(default="child")}

    text = '{"@needy_parent@one":\n  {"width": 3}}'
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (2, 3, "needy.width")
    assert problem.origin == "the default needy of needy_parent"
    assert problem.help == "metres"


def test_numbers_of_the_data_that_cannot_be_read_hide_no_other_mistake(read: Read) -> None:
    def numbers(tree: Any) -> Any:
        raise ConfigError("there is no processed data")

    content = {"floors": "x", "@door@wood": {"width": "@lambda @_G.meta.size"}}
    assert codes_of(read, {"@house": content}, global_values=numbers) == [
        ("wrong-type", "floors", "")
    ]
    content["floors"] = 1
    with pytest.raises(ConfigError, match="there is no processed data"):
        read({"@house": content}, global_values=numbers)


def test_an_anchor_inside_of_a_value_is_a_mistake_and_no_crash(read: Read) -> None:
    config = {"_G": {"a": {"_anchor": "x"}}, "@house": {"tags": {"b": [{"_anchor": "y"}]}}}
    assert codes_of(read, config) == [
        ("globals", "_G.a._anchor", ""),
        ("anchor", "tags.b.0._anchor", ""),
    ]
    with pytest.raises(ConfigError, match="the keys of an object are texts"):
        load({"@house": {"tags": {"a": {1: 2}}}})


def test_nothing_is_said_of_what_comes_of_a_mistake(read: Read) -> None:
    content = {
        "floors": 99,
        "tags": {"a": ["???"], "b": "???"},
        "street": 3,
        "@door@wood#a": {"width": "@$$.tags.b @lambda b: b + 1"},
        "@door@wood#b": {"width": "@$$.street @lambda s: 'no. ' + s"},
        "@room@kitchen": {
            "width": "@$$.floors @lambda f: f * -1",
            "height": "@lambda @$.width",
            "sizes": "@$$.tags @lambda t: 3",
            "colour": "@lambda _: 'red'",
        },
        "@roof@flat": {"slope": "@lambda @$$.@room.height"},
    }
    assert [(code, path) for code, path, _ in codes_of(read, {"@house": content})] == [
        ("out-of-range", "floors"),
        ("missing-value", "tags.a.0"),
        ("missing-value", "tags.b"),
        ("wrong-type", "street"),
        ("unknown-option", "room.colour"),
    ]


def test_a_global_value_that_is_missing_is_told_where_it_is_used(read: Read) -> None:
    config = {"_G": {"a": "???"}, "@house": {"floors": "@lambda @_G.a"}}
    ((code, path, origin),) = codes_of(read, config)
    assert (code, path) == ("missing-value", "floors")
    assert 'from _G.a = "???"' in origin
