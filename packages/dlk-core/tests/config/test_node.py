from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlk.config import assets, child, children, ident, load, make, node_of, thaw, to_dict
from dlk.errors import ConfigError


@pytest.fixture
def config() -> Any:
    return make("room", "kitchen", {"notes": {"a": [1, {"b": 2}]}, "sizes": [1, [2]]})


def test_a_field_can_be_neither_set_nor_deleted(config: Any) -> None:
    for change in (
        lambda: setattr(config, "width", 5),
        lambda: setattr(config, "new", 5),
        lambda: delattr(config, "width"),
        lambda: setattr(config.oven, "watts", 5),
    ):
        with pytest.raises(TypeError, match="immutable"):
            change()
    assert (config.width, config.oven.watts) == (3, 2000)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.sizes.append(1),
        lambda c: c.sizes.extend([1]),
        lambda c: c.sizes.sort(),
        lambda c: c.sizes.clear(),
        lambda c: c.sizes.pop(),
        lambda c: c.sizes[1].append(1),
        lambda c: c.sizes.__setitem__(0, 1),
        lambda c: c.sizes.__delitem__(0),
        lambda c: c.sizes.__iadd__([1]),
        lambda c: c.sizes.__imul__(2),
        lambda c: c.notes.update(a=1),
        lambda c: c.notes.pop("a"),
        lambda c: c.notes.setdefault("b", 1),
        lambda c: c.notes["a"].append(1),
        lambda c: c.notes["a"][1].__setitem__("b", 1),
        lambda c: c.notes.__ior__({"b": 1}),
        lambda c: c.notes.__delitem__("a"),
        lambda c: c.notes.clear(),
        lambda c: c.notes.popitem(),
        lambda c: c.input_map.__setitem__("in", "x"),
        lambda c: node_of(c).values["notes"]["a"].append(1),
    ],
)
def test_a_list_or_dict_inside_cannot_be_changed(config: Any, change: Callable[[Any], Any]) -> None:
    before = json.dumps(to_dict(config))
    with pytest.raises(TypeError, match="immutable"):
        change(config)
    assert json.dumps(to_dict(config)) == before


def test_copies_of_lists_and_dicts_are_plain_and_changeable(config: Any) -> None:
    for copied in (
        copy.copy(config.notes),
        copy.deepcopy(config.notes),
        pickle.loads(pickle.dumps(config.notes)),
        thaw(config.notes),
        dict(config.notes),
    ):
        assert type(copied) is dict
        assert copied == {"a": [1, {"b": 2}]}
        copied["c"] = 1
    for copied in (
        copy.deepcopy(config.sizes),
        pickle.loads(pickle.dumps(config.sizes)),
        thaw(config.sizes),
    ):
        assert (type(copied), type(copied[1])) == (list, list)
        copied[1].append(3)
    assert isinstance(config.notes, dict)
    assert isinstance(config.sizes, list)
    assert to_dict(config)["@room@kitchen"]["sizes"] == [1, [2]]


def test_a_config_survives_pickle_and_is_its_own_copy(config: Any) -> None:
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert isinstance(again, type(config).__mro__[1])
    assert child(again, "lamp").watts == 60
    assert copy.deepcopy(config) is config
    assert copy.copy(config) is config
    with pytest.raises(TypeError, match="immutable"):
        again.width = 1


def test_a_config_is_an_object_of_its_class_and_tells_its_names(config: Any) -> None:
    from dlk.registry import register

    assert isinstance(config, register.config("room", "kitchen"))
    assert ident(config) == ("room", "kitchen")
    assert ident(child(config, "lamp")) == ("lamp", "bulb")
    assert child(config, "door") is None
    assert ident(make("house")) == ("house", "")


def test_children_come_in_order_by_alias_or_name() -> None:
    doors = {"@door@wood#b": {}, "@door@wood": {"width": 1.5}, "@door@wood#a": {}, "@roof@flat": {}}
    found = children(make("house", "", doors), "door")
    assert list(found) == ["b", "wood", "a"]
    assert found["wood"].width == 1.5
    with pytest.raises(ConfigError, match="expected one door, got 3"):
        child(make("house", "", doors), "door")


def test_two_children_of_one_label_are_refused() -> None:
    config = make("house", "", {"@door@wood": {}, "@door@mine#wood": {"_base": "wood"}})
    with pytest.raises(ConfigError, match='two door are called "wood"; give them an #alias each'):
        children(config, "door")


def test_intcs_own_ways_to_a_child_give_the_frozen_one(config: Any) -> None:
    (lamp,) = config._get_modules("lamp")
    assert lamp is child(config, "lamp")
    assert config["@lamp"] is lamp
    assert config._module_name == "kitchen"


def test_a_config_that_dlk_did_not_make_is_refused() -> None:
    from dlk.registry import register

    with pytest.raises(TypeError, match="expected a config object made by dlk"):
        node_of(register.config("lamp", "bulb")())


def test_numbers_are_of_the_fields_type(config: Any) -> None:
    made = make("room", "kitchen", height=2)
    assert type(made.height) is float
    assert made == make("room", "kitchen", height=2.0)


def test_files_are_relative_to_the_config_and_absolute_once_read(folder: Path) -> None:
    (folder / "oven").mkdir()
    values = {
        "plan": "../a.txt",
        "model": "oven",
        "store": "~/x",
        "@lamp@tube": {"shade": "/s.svg"},
    }
    (folder / "below").mkdir()
    (folder / "below" / "c.jsonc").write_text(json.dumps({"@room@kitchen": values}))
    kitchen: Any = load("below/c.jsonc").one().root("room")
    assert kitchen.plan == str(folder / "a.txt")
    assert kitchen.model == "oven"  # below/oven is not there, so it names something on a hub
    assert kitchen.store == str(Path("~/x").expanduser())
    assert child(kitchen, "lamp").shade == "/s.svg"
    assert kitchen.input_map == {"in": "in", "out": "out"}
    (folder / "below" / "oven").mkdir()
    kitchen = load("below/c.jsonc").one().root("room")
    assert kitchen.model == str(folder / "below" / "oven")


@pytest.mark.parametrize(
    ("value", "found"),
    [("org/name", "org/name"), ("./name", "{}/name"), ("s3://b/name", "s3://b/name"), (None, None)],
)
def test_names_of_a_hub_are_left_alone(folder: Path, value: str | None, found: str | None) -> None:
    made = make("room", "kitchen", model=value)
    assert made.model == (found.format(folder) if found else None)


def test_assets_are_those_of_the_config_and_of_all_below(folder: Path) -> None:
    house = make("house", "", {"@room@kitchen": {"@lamp@tube": {}}})
    found = [(ident(owner)[1], name, asset["bundle"]) for owner, name, asset in assets(house)]
    assert found == [
        ("kitchen", "plan", True),
        ("kitchen", "store", False),
        ("tube", "shade", True),
    ]


def test_what_a_config_gives_as_values_is_plain_json_and_a_copy(config: Any) -> None:
    plain = to_dict(config)
    plain["@room@kitchen"]["notes"]["a"].append(1)
    assert to_dict(config)["@room@kitchen"]["notes"]["a"] == [1, {"b": 2}]
    assert type(to_dict(config)["@room@kitchen"]["oven"]) is dict
