"""The JSON Schema of configs, against what dlk itself accepts and refuses."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dlk.config import jsonc, load
from dlk.config.project import find_project
from dlk.config.schema import make_schema
from dlk.errors import ConfigError, PluginError

pytestmark = pytest.mark.once


@functools.cache
def validator() -> Any:
    schema = make_schema().value
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def accepts(config: Any) -> bool:
    return bool(validator().is_valid(config))


def component(*names: str) -> Any:
    return make_schema().value["$defs"][".".join(names)]


GOOD: list[dict[str, Any]] = [
    {"@house": {}},
    {"@house": {"floors": "@lambda _: 1 + 1", "street": None}},
    {"@house": {"street": "@lambda @_G.name"}, "_G": {"name": "Elm"}},
    {"@house": {"floors": "@$.tags.built @lambda x: x % 9"}},
    {"@house": {"@room@kitchen": "kitchen"}},
    {"@house": {"@room": "kitchen"}},
    {"@house": {"@room": {"_base": "kitchen", "width": 2}}},
    {"@house": {"@room": {"_name": "kitchen", "width": 2}}},
    {"@house": {"@room@my_own": {"_base": "kitchen"}}},
    {"@house": {"@room@cellar#low": {"depth": 2, "racks": [], "@lamp@bulb": {}}}},
    {"@house": {"@room@cellar": {"_base": "cellar-dry", "@lamp": "tube"}}},
    {"@house": {"@room@cellar": {"_search": {"depth": [1, 2]}, "racks": [], "@lamp": "bulb"}}},
    {"@house": {"_search": {"room.depth": [1]}, "@room@cellar": {"racks": [], "@lamp": "bulb"}}},
    {"@house": {"_search": {"floors": "@lambda _: [1, 2]"}}},
    {"@house": {"floors": "???", "_search": {"floors": [1, 2]}}},
    {"@house": {"_anchor": "home", "@door@wood#a": {}, "@door@wood#b": {"width": 1}}},
    {"@house": {"@roof@flat": {"slope": "none"}}},
    {"@house": {"@room@kitchen": {"oven": {"watts": "@lambda _: 7"}, "input_map": {"in": "x"}}}},
]
BAD: list[tuple[str, dict[str, Any]]] = [
    ("an unknown key at the top", {"house": {}}),
    ("nothing at all", {}),
    ("an unknown component at the top", {"@hause": {}}),
    ("globals that are no object", {"@house": {}, "_G": [1]}),
    ("an unknown field", {"@house": {"flors": 1}}),
    ("an unknown private key", {"@house": {"_seach": {}}}),
    ("a text for an integer", {"@house": {"floors": "3"}}),
    ("a fraction for an integer", {"@house": {"floors": 3.5}}),
    ("true for an integer", {"@house": {"floors": True}}),
    ("a number below its range", {"@house": {"floors": -1}}),
    ("a number above its range", {"@house": {"floors": 10}}),
    ("null where it is not allowed", {"@house": {"floors": None}}),
    ("a number for a text", {"@house": {"street": 5}}),
    ("a list for an object", {"@house": {"tags": []}}),
    ("1 for true", {"@house": {"@room@kitchen": {"tiled": 1}}}),
    ("an object for a list", {"@house": {"@room@kitchen": {"sizes": {}}}}),
    ("a value that is no option", {"@house": {"@room@kitchen": {"colour": "red"}}}),
    ("a reference without its lambda", {"@house": {"floors": "@$.tags.built"}}),
    ("an unknown component", {"@house": {"@room@kichen": {}}}),
    ("an unknown base", {"@house": {"@room": {"_base": "kichen"}}}),
    ("an unknown name as text", {"@house": {"@room": "kichen"}}),
    ("no name at all", {"@house": {"@room": {}}}),
    ("a base of another component", {"@house": {"@room@kitchen": {"_base": "cellar-dry"}}}),
    ("a base's own fields", {"@house": {"@room": {"_base": "cellar-dry", "width": 1}}}),
    ("a child of a type that is not taken", {"@house": {"@lamp@bulb": {}}}),
    ("a child that is a number", {"@house": {"@room@kitchen": 3}}),
    ("a missing field", {"@house": {"@room@cellar": {"racks": [], "@lamp@bulb": {}}}}),
    ("a missing child", {"@house": {"@room@cellar-dry": {}}}),
    ("a missing field of a name alone", {"@house": {"@room": "cellar"}}),
    ("a value that is still to be given", {"@house": {"floors": "???"}}),
    ("an unknown name in a map", {"@house": {"@room@kitchen": {"input_map": {"on": "x"}}}}),
    ("a map to a number", {"@house": {"@room@kitchen": {"input_map": {"in": 1}}}}),
    ("an unknown nested field", {"@house": {"@room@kitchen": {"oven": {"wats": 1}}}}),
    ("a nested value out of range", {"@house": {"@room@kitchen": {"oven": {"watts": 0}}}}),
    ("a search that is no object", {"@house": {"_search": ["floors"]}}),
    ("a search without values", {"@house": {"_search": {"floors": []}}}),
    ("a search of one value", {"@house": {"_search": {"floors": 3}}}),
    ("an anchor that is no name", {"@house": {"_anchor": "a.b"}}),
    ("a key that is no component", {"@house": {"@door@wood#": {}}}),
]


@pytest.mark.parametrize("config", GOOD, ids=json.dumps)
def test_what_dlk_accepts_is_accepted(config: dict[str, Any]) -> None:
    assert list(load(config))
    assert accepts(config), [e.message for e in validator().iter_errors(config)]


@pytest.mark.parametrize("config", [c for _, c in BAD], ids=[name for name, _ in BAD])
def test_what_dlk_refuses_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        list(load(config))
    assert not accepts(config)


def test_only_what_stands_below_nothing_stands_at_the_top_of_a_file() -> None:
    assert list(load({"@lamp@bulb": {}}))  # code may load a component alone, a command does not
    assert not accepts({"@lamp@bulb": {}})


BROKEN = Path(__file__).with_name("broken")
EXPRESSED = {
    "child-not-allowed",
    "component-key",
    "misnamed-component",
    "missing-child",
    "missing-value",
    "out-of-range",
    "top-level",
    "unknown-component",
    "unknown-field",
    "unknown-option",
    "wrong-type",
}
"""Kinds of mistakes that a schema can say, where they stand in the text itself."""
ELSEWHERE = ("expression_", "expressions_", "globals_", "search_", "set_")
"""Starts of the names of configs whose mistake comes of computing, searching or overriding."""
NOT_EXPRESSED = {"integer_is_a_whole_float"}  # JSON Schema takes 3.0 for an integer


def broken() -> Iterator[tuple[str, Path]]:
    """The corpus of broken configs: those with a mistake of a kind that a schema can say."""
    for file in sorted([*BROKEN.glob("*.expected.txt"), *BROKEN.glob("*/expected.txt")]):
        whole = file.name == "expected.txt"
        name = file.parent.name if whole else file.name.removesuffix(".expected.txt")
        heads = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
        codes = {words[1] for words in heads if len(words) == 3}
        if codes & EXPRESSED and not name.startswith(ELSEWHERE) and name not in NOT_EXPRESSED:
            yield name, file.with_name("config.jsonc" if whole else f"{name}.jsonc")


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(list(broken())) >= 60


@pytest.mark.parametrize(("name", "file"), list(broken()), ids=lambda part: str(part)[-40:])
def test_of_the_broken_configs_it_refuses_those_that_a_schema_can(name: str, file: Path) -> None:
    modules = find_project(str(file.parent)).modules if file.name == "config.jsonc" else {}
    check = Draft202012Validator(make_schema(modules=modules).value) if modules else validator()
    assert not check.is_valid(jsonc.read(str(file)).value), name


SCALARS = st.sampled_from(
    [0, 1, 3, -1, 2.5, True, None, "3", "white", "???", "@lambda _: 2", "@lambda @$.floors", "x"]
)
LAMP = st.sampled_from(["bulb", "tube", "bulp", {}, {"_base": "tube"}, {"watts": 4}, {"watts": 0}])
ROOM = st.dictionaries(
    st.sampled_from(["width", "height", "tiled", "colour", "depth", "racks", "_base", "wdth"]),
    SCALARS | st.sampled_from([["a"], [], "kitchen", "cellar", "cellar-dry"]),
    max_size=3,
).flatmap(
    lambda room: st.dictionaries(
        st.sampled_from(["@lamp", "@lamp@bulb", "@lamp@tube#a", "@lamp@own"]), LAMP, max_size=2
    ).map(lambda lamps: room | lamps)
)
HOUSE = st.dictionaries(
    st.sampled_from(["floors", "street", "tags", "_anchor", "flors"]), SCALARS, max_size=2
).flatmap(
    lambda house: st.dictionaries(
        st.sampled_from(["@room@kitchen", "@room", "@room@cellar", "@room@own", "@roof@flat"]),
        ROOM | st.sampled_from(["kitchen", "cellar-dry", "flat", 3]),
        max_size=2,
    ).map(lambda rooms: house | rooms)
)
SEARCH = st.dictionaries(
    st.sampled_from(["floors", "room.width", "room.depth", "room"]),
    st.lists(st.sampled_from([1, 2, "kitchen", "cellar-dry"]), min_size=1, max_size=2),
    max_size=2,
)


@given(house=HOUSE, search=st.none() | SEARCH)
def test_whatever_dlk_accepts_the_schema_accepts(house: dict[str, Any], search: Any) -> None:
    config = {"@house": house | ({} if search is None else {"_search": search})}
    try:
        next(iter(load(config)))
    except ConfigError:
        return
    assert accepts(config), [e.message for e in validator().iter_errors(config)]


def test_a_field_brings_what_an_editor_shows() -> None:
    fields = component("room", "kitchen", "part")["properties"]
    assert fields["width"]["description"] == "metres"
    assert fields["width"]["default"] == 3
    assert {"type": "integer", "minimum": 1} in fields["width"]["anyOf"]
    assert {"type": "number", "minimum": 1.0, "maximum": 5.0} in fields["height"]["anyOf"]
    assert {"enum": ["white", "green", "blue"]} in fields["colour"]["anyOf"]
    assert "default" not in component("room", "cellar", "part")["properties"]["depth"]


def test_a_component_is_closed_and_says_what_it_is() -> None:
    kitchen = component("room", "kitchen", "part")
    assert kitchen["additionalProperties"] is False
    assert kitchen["title"] == "room kitchen"
    assert kitchen["description"].startswith("A room with everything.")
    assert make_schema().value["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_what_is_deprecated_says_so() -> None:
    from dlk.config import Base, IntField, cregister

    @cregister("shed", "old")
    class Old(Base):
        """An old shed."""

        size = IntField(value=1, help="metres", deprecated="use width", suggestions=[1, 2])

    field = component("shed", "old", "part")["properties"]["size"]
    assert field["deprecated"] is True
    assert field["description"] == "metres (deprecated: use width)"
    assert field["examples"] == [1, 2]


def test_module_files_are_names_too_and_bring_what_is_missing() -> None:
    modules = {
        ("room", "dark"): jsonc.Document({"_base": "cellar", "depth": 3}),
        ("room", "darker"): jsonc.Document({"_base": "dark"}),
        ("room", "round"): jsonc.Document({"_base": "round"}),
    }
    check = Draft202012Validator(make_schema(modules=modules).value)
    for room in ({"@room": "dark"}, {"@room@darker": {}}, {"@room@darker": {"_base": "dark"}}):
        assert check.is_valid({"@house": room})
    assert check.is_valid({"@house": {"@room@own": {"_base": "darker", "racks": ["a"]}}})
    assert not check.is_valid({"@house": {"@room@darker": {"width": 1}}})
    assert not check.is_valid({"@house": {"@room@round": {}}})
    assert not accepts({"@house": {"@room": "dark"}})


def test_a_module_file_has_a_schema_of_its_own() -> None:
    check = Draft202012Validator(make_schema("room").value)
    assert check.is_valid({"_base": "cellar"})
    assert not check.is_valid({"_base": "cellar", "width": 1})
    assert not check.is_valid({"depth": 1})
    check = Draft202012Validator(make_schema("room", "cellar").value)
    assert check.is_valid({"depth": 1})
    assert not check.is_valid({"depth": 0})
    with pytest.raises(PluginError, match='Did you mean "room"'):
        make_schema("rom")
    with pytest.raises(PluginError, match='Did you mean "kitchen"'):
        make_schema("room", "kichen")


def test_a_component_that_cannot_be_imported_may_hold_anything_and_is_named() -> None:
    from dlk.plugin import Component
    from dlk.registry import Entry, Registry

    registry = Registry()
    registry.discover()
    broken = Component("house", "wreck", config="no_such_module:Config")
    registry._claim(Entry(broken, "wrecks", "1.0"))
    schema = make_schema(registry=registry)
    ((kind, name, error),) = schema.unread
    assert (kind, name) == ("house", "wreck")
    assert "no_such_module" in error
    check = Draft202012Validator(schema.value)
    assert check.is_valid({"@house@wreck": {"anything": 1}})


def test_making_it_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from dlk.config.schema import make_schema; make_schema(); "
        "print(sorted({'torch', 'numpy', 'pandas', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
