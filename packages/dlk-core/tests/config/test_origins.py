"""Where each value comes from: files, bases, defaults, overrides, search points, expressions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlk.config import jsonc, load
from dlk.config.origins import Source, annotated, sources
from dlk.config.reading import Point

HOUSE = """{
  "@house": {
    "floors": 3,
    "tags": {"built": "@lambda _: 1900 + 61", "by": "hand"},
    "@room@big": {
      "width": 4,
      "sizes": [1, "@lambda @$.width"],
      "input_map": {"out": "garden"}
    }
  }
}"""
BIG = """{
  "_base": "kitchen",
  "height": 4.5,
  "width": 9,
  "@lamp@tube": {"length": 2}
}"""


@pytest.fixture
def point(read: Any, folder: Path) -> Point:
    (folder / ".intc.json").write_text('{"module": ["modules"]}')
    (folder / "modules").mkdir()
    (folder / "modules" / "room@big.jsonc").write_text(BIG)
    (made,) = read(HOUSE, overrides=["room.lamp.watts=7"])
    return made


def by_path(point: Point) -> dict[str, Source]:
    return {source.path: source for source in sources(point)}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("floors", "c.jsonc:3:15"),
        ("street", "default of house"),
        ("room.width", "c.jsonc:6:16"),
        ("room.height", "modules/room@big.jsonc:3:13 (_base)"),
        ("room.tiled", "default of room kitchen"),
        ("room.lamp.length", "modules/room@big.jsonc:5:28 (_base)"),
        ("room.lamp.watts", "--set"),
        ("room.lamp.shade", "default of lamp tube"),
        ("room.input_map.in", "default of room kitchen"),
        ("room.input_map.out", "c.jsonc:8:28"),
        ("room.oven.watts", "default of room kitchen"),
        ("tags.built", "c.jsonc:4:23 = @lambda _: 1900 + 61"),
        ("tags.by", "c.jsonc:4:53"),
        ("room.sizes.0", "c.jsonc:7:17"),
        ("room.sizes.1", "c.jsonc:7:20 = @lambda @$.width"),
    ],
)
def test_a_value_says_where_it_comes_from(point: Point, path: str, said: str) -> None:
    found = by_path(point)
    whole = path if path in found else path.rpartition(".")[0]
    assert str(found[whole]) == said


def test_a_point_of_a_search_names_the_place_in_the_list(read: Any) -> None:
    dry = {"_base": "cellar-dry", "@lamp": "bulb"}
    config = {"@house": {"_search": {"floors": [1, 2], "room": ["kitchen", dry]}}}
    first, *_, last = read(json.dumps(config, indent=1))
    assert str(by_path(first)["floors"]) == "c.jsonc:5:5 (search point)"
    assert str(by_path(last)["floors"]) == "c.jsonc:6:5 (search point)"
    assert str(by_path(last)["room.depth"]) == "default of room cellar-dry"
    assert "c.jsonc:10:5 (search point)" in annotated(last)


def test_a_search_that_is_computed_shows_its_text(read: Any) -> None:
    first, *_ = read('{"@house": {"_search": {"floors": "@lambda _: [2, 3]"}}}')
    found = by_path(first)["floors"]
    assert (found.kind, found.value, found.expression) == ("search", 2, "@lambda _: [2, 3]")


def test_a_field_of_a_default_child_is_no_field_of_its_parent(read: Any) -> None:
    # the kitchen and its default lamp would share a position if only paths were compared
    (made,) = read('{"@room@kitchen": {"width": 2, "@lamp": "tube"}, "@house": {"floors": 2}}')
    found = {source.keys: source for source in sources(made)}
    assert found["@house", "@room@kitchen", "width"].kind == "default"
    assert found["@room@kitchen", "@lamp@tube", "watts"].kind == "default"


def test_a_config_from_code_has_no_position_and_says_so() -> None:
    found = by_path(load({"@house": {"floors": 2}}).one())
    assert (str(found["floors"]), found["floors"].line) == ("given", 0)


def test_every_leaf_is_named_once_and_positions_hold_the_value(point: Point) -> None:
    found = sources(point)
    assert len({source.keys for source in found}) == len(found)
    for source in found:
        if source.line and not source.expression:
            document = jsonc.read(source.file)
            places = {(p.line, p.column): path for path, p in document.values.items()}
            value: Any = document.value
            for part in places[source.line, source.column]:
                value = value[part]
            assert value == source.value


def test_the_annotated_text_is_the_config(point: Point) -> None:
    assert jsonc.parse(annotated(point)).value == point.resolved


def test_components_say_where_they_stand(point: Point) -> None:
    text = annotated(point)
    assert '"@room@big": {  // c.jsonc:5:18' in text
    assert '"@lamp@tube": {  // modules/room@big.jsonc:5:17 (_base)' in text


def test_a_default_component_says_whose_default_it_is(read: Any) -> None:
    (made,) = read('{"@house": {}}')
    assert '"@room@kitchen": {  // default of house' in annotated(made)
    assert '"@lamp@bulb": {  // default of room kitchen' in annotated(made)


def test_long_values_stand_on_several_lines(read: Any) -> None:
    (made,) = read({"@house": {"tags": {f"tag_{k}": "x" * 20 for k in range(6)}}})
    text = annotated(made)
    assert '"tags": {  // c.jsonc:1:' in text
    assert jsonc.parse(text).value == made.resolved
