from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import pytest

import dlk.config
from dlk.config import Base, IntField, MapField, Signature, StrField, cregister, make, many, one
from dlk.config._intc import fields_of
from dlk.config.base import Children


def test_every_public_name_is_there_and_no_other() -> None:
    for name in dlk.config.__all__:
        assert getattr(dlk.config, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = dlk.config.nope  # type: ignore[attr-defined]


def test_the_config_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "pyarrow", "transformers", "lightning")
    code = (
        "import sys, dlk.config as c\n"
        "[getattr(c, n) for n in c.__all__]\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_one_and_many_say_how_many_children_there_are() -> None:
    assert one() == Children(1, 1, None)
    assert one("a") == Children(1, 1, "a")
    assert one(optional=True) == Children(0, 1, None)
    assert many() == Children(0, None, None)
    assert many(2) == Children(2, None, None)


def test_a_signature_is_by_default_what_the_maps_name() -> None:
    @cregister("signed", "maps")
    class MapsConfig(Base):
        """Two maps."""

        input_map = MapField({"a": "x", "b": ""}, help="read")
        output_map = MapField({"c": "y"}, help="written")

    assert make("signed", "maps").signature() == Signature(reads=("x",), writes=("y",))
    assert make("signed", "maps", input_map={"a": "z"}).signature().reads == ("z",)
    assert make("lamp", "bulb").signature() == Signature()


def test_a_field_may_be_annotated_and_a_class_inherited() -> None:
    @cregister("signed", "lower")
    class LowerConfig(Base):
        """Below."""

        pool: str | None = StrField(None, additions=[None], help="p")
        children: ClassVar = {"lamp": one("bulb")}

    @cregister("signed", "upper")
    class UpperConfig(LowerConfig):
        """Above, with another default and a field more."""

        pool: str | None = StrField("max", additions=[None], help="p")
        size = IntField(3, help="s")

    made: Any = make("signed", "upper")
    assert (made.pool, made.size) == ("max", 3)
    assert make("signed", "lower").pool is None
    assert set(fields_of(type(made))) == {"pool", "size"}
    assert made._get_modules("lamp")


def test_a_class_defined_without_a_source_file_can_be_registered() -> None:
    namespace: dict[str, Any] = {}
    exec(
        "from dlk.config import Base, IntField, cregister\n"
        "@cregister('signed', 'unsourced')\n"
        "class C(Base):\n"
        "    'Typed into a notebook.'\n"
        "    n = IntField(1, help='n')\n",
        namespace,
    )
    assert make("signed", "unsourced").n == 1
    assert list(namespace["C"].__meta__["lines"]) == []
