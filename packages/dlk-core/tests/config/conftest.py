"""A small world of components: a house with rooms, lamps, doors and a roof."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dlk.config import (
    MISSING,
    AnyField,
    AssetField,
    Base,
    BoolField,
    DictField,
    FloatField,
    IntField,
    ListField,
    Loaded,
    MapField,
    NestField,
    PathField,
    StrField,
    cregister,
    load,
    many,
    one,
)
from dlk.errors import ConfigError


@cregister("house")
class HouseConfig(Base):
    """The root, without a name."""

    floors = IntField(value=1, minimum=0, maximum=9, help="number of floors")
    street: str | None = StrField(None, additions=[None], help="where it stands")
    tags = DictField({"built": 1900}, help="free words")
    children: ClassVar = {
        "room": one(default="kitchen"),
        "door": many(),
        "roof": one(optional=True),
    }


@cregister("room", "kitchen")
class KitchenConfig(Base):
    """A room with everything."""

    width = IntField(value=3, minimum=1, help="metres")
    height = FloatField(value=2.5, minimum=1.0, maximum=5.0, help="metres up")
    tiled = BoolField(False, help="tiles on the wall")
    colour = StrField("white", options=["white", "green", "blue"], help="of the wall")
    sizes = ListField([1, 2], help="of its pans")
    extra = AnyField(None, help="anything")
    notes = DictField({}, help="free notes")
    input_map = MapField({"in": "in", "out": "out"}, help="doors by name")
    plan = AssetField("plan.txt", help="drawing of the room")
    model = AssetField(None, additions=[None], hub=True, help="of the oven")
    store = PathField("store", help="where things are kept")

    class Oven:
        """The oven."""

        watts = IntField(2000, minimum=1, help="power")
        fan = BoolField(True, help="whether it blows")

    oven: Any = NestField(Oven, help="the oven")
    children: ClassVar = {"lamp": one(default="bulb")}

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.width * self.height > 40:
            yield "width", "the room is too large"


@cregister("room", "cellar")
class CellarConfig(Base):
    """A room with a required field, and lamps of which there may be several."""

    depth = IntField(value=MISSING, minimum=1, help="metres down")
    racks = ListField(["a", "???"], help="names of the racks")
    children: ClassVar = {"lamp": many(minimum=1)}


@cregister("room", "cellar-dry")
class DryCellarConfig(CellarConfig):
    """A second config of the same class."""

    depth = IntField(value=2, minimum=1, help="metres down")
    racks = ListField([], help="names of the racks")


@cregister("lamp", "bulb")
class BulbConfig(Base):
    """Needs nothing."""

    watts = IntField(value=60, minimum=1, help="power")


@cregister("lamp", "tube")
class TubeConfig(Base):
    """Has fields of its own."""

    length = FloatField(value=1.0, help="metres")
    watts = IntField(value=30, minimum=1, help="power")
    shade = AssetField("shade.svg", help="drawing of the shade")


@cregister("door", "wood")
class DoorConfig(Base):
    """May be there often."""

    width = FloatField(value=0.9, minimum=0.5, help="metres")


@cregister("roof", "flat")
class RoofConfig(Base):
    """Optional."""

    slope = IntField(value=0, additions=["none"], help="degrees")


Read = Callable[..., Loaded]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project in which the test works; no `.intc.json` stands above it."""
    home = tmp_path / "project"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def read(folder: Path) -> Read:
    """Write a config to `c.jsonc` and load it; a dict is written as JSON."""

    def read(config: str | dict[str, Any], **options: Any) -> Loaded:
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "c.jsonc").write_text(text, encoding="utf-8")
        return load(str(folder / "c.jsonc"), **options)

    return read


@pytest.fixture
def house(read: Read) -> Callable[..., Any]:
    """Load a house of the given content and return its resolved values."""

    def house(content: dict[str, Any] | None = None, above: Any = None, **options: Any) -> Any:
        config = {**(above or {}), "@house": content or {}}
        return read(config, **options).one().resolved["@house"]

    return house


@pytest.fixture
def refuse(read: Read) -> Callable[..., list[str]]:
    """Load a config that is wrong and return its problems, the folder's name taken out."""

    def refuse(config: str | dict[str, Any], **options: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            list(read(config, **options))
        here = str(Path.cwd())
        return [str(p).replace(here + "/", "") for p in caught.value.problems]

    return refuse
