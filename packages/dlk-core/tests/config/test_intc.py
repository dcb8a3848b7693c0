"""What dlk puts in place of intc's parts, and relies on: red where a later intc differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import intc
import intc.config
import intc.parser
import intc.register
import intc.share
import intc.utils
import pytest

from dlk.config import Base, IntField, StrField, _intc, cregister, make
from dlk.config._intc import DictField, fields_of, solve_references
from dlk.errors import ConfigError


def test_the_parts_that_are_replaced_are_still_where_intc_looks_for_them() -> None:
    parser, register, utils = vars(intc.parser), vars(intc.register), vars(intc.utils)
    assert parser["ic_repo"] is register["ic_repo"]
    assert type(parser["ic_repo"]).__module__ == "dlk.config._intc"
    code = intc.parser.Parser.collect_refs.__func__.__code__
    assert "parser_lambda_key_value_pair" in code.co_names
    assert parser["parser_lambda_key_value_pair"].__module__ == "dlk.config._intc"
    assert any("eval" in c.co_names for c in _codes(intc.parser.Parser.do_parser_refs.__code__))
    assert parser["eval"] is utils["eval"]
    assert "inspect" in intc.utils.get_position.__code__.co_names
    assert any("inspect" in c.co_names for c in _codes(_intc._register.__code__))
    assert intc.share.LOAD_SUBMODULE_DONE is True
    assert intc.share.MISSING == "???"


def _codes(code: Any) -> list[Any]:
    inner = [c for c in code.co_consts if hasattr(c, "co_names")]
    return [code, *(deep for c in inner for deep in _codes(c))]


def test_intcs_own_parser_runs_no_code_of_a_config(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    hostile = f"@lambda _: open({str(target)!r}, 'w')"
    with pytest.raises(ConfigError, match="only these functions"):
        intc.parser.Parser({"@lamp@bulb": {"watts": hostile}}).parser()
    assert not target.exists()


def test_the_file_that_touches_intc_is_one() -> None:
    source = Path(sys.modules["dlk.config._intc"].__file__ or "").parents[1]
    touching = [
        path.name
        for path in source.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import intc", "from intc"))
    ]
    assert set(touching) == {"_intc.py"}


def test_intcs_lookup_imports_a_component_that_nobody_asked_for_yet() -> None:
    code = (
        "import sys, dlk.config.reading, intc.register\n"
        "assert 'dlk.postprocessor.configs' not in sys.modules\n"
        "found = intc.register.ic_repo.get(('postprocessor', 'identity'))\n"
        "print(found is not None, intc.register.ic_repo.get(('postprocessor', 'nope')))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "None"]


def test_minus_two_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    IntField(value=-2, help="h")
    made = cregister("pin", "minus")(
        type("MinusConfig", (Base,), {"n": IntField(value=-2, help="h")})
    )
    assert made().n == -2
    assert make("pin", "minus", n=-2).n == -2
    assert capsys.readouterr().out == ""


def test_intc_converts_where_dlk_is_strict() -> None:
    # The reason for dlk's own checks; a stricter intc would make them easier.
    converter = intc.config.NumConvert(None, None, int)
    assert (converter(3.9), converter("3"), converter(True)) == (3, 3, 1)
    for value in (3.9, "3", True):
        with pytest.raises(ConfigError, match="expected an integer"):
            make("lamp", "bulb", watts=value)


def test_a_text_default_of_none_is_no_word() -> None:
    @cregister("pin", "none")
    class NoneConfig(Base):
        """intc makes the text "None" of such a default."""

        word = StrField(None, help="w")

    with pytest.raises(ConfigError, match="expected text, got null"):
        make("pin", "none")


def test_a_dict_validator_ends() -> None:
    field: Any = DictField({"a": 1}, validator=lambda v: "a" in v)
    assert field.converter({"a": 2}) == {"a": 2}
    with pytest.raises(intc.config.ValueValidateError):
        field.converter({"b": 2})


def test_fields_carry_the_descriptions_that_the_checks_read() -> None:
    from dlk.registry import register

    fields = fields_of(register.config("room", "kitchen"))
    kinds = {name: field["type_name"] for name, field in fields.items()}
    assert kinds == {
        "width": "IntField",
        "height": "FloatField",
        "tiled": "BoolField",
        "colour": "StrField",
        "sizes": "ListField",
        "extra": "AnyField",
        "notes": "DictField",
        "input_map": "MapField",
        "plan": "StrField",
        "model": "StrField",
        "store": "StrField",
        "oven": "NestField",
    }
    assert (fields["height"]["minimum"], fields["height"]["maximum"]) == (1.0, 5.0)
    assert fields["colour"]["enum"] == ["white", "green", "blue"]
    assert fields["model"]["additions"] == [None]
    assert fields["width"]["description"] == "metres"
    for field in fields.values():
        assert field["position"]["file_path"].endswith("conftest.py")
        assert field["position"]["line_no"] > 1


def test_a_class_tells_its_source_only_when_asked() -> None:
    from dlk.registry import register

    meta = register.config("lamp", "bulb").__meta__
    assert type(meta["lines"]).__name__ == "_LazyLines"
    assert "class BulbConfig" in "".join(meta["lines"])
    assert meta["position"]["file_path"].endswith("conftest.py")


def test_names_of_a_class_are_not_those_of_another_object(house: Callable[..., Any]) -> None:
    # intc writes the name of the child that was built last into the class itself.
    first = make("room", "cellar-dry", {"@lamp@bulb": {}})
    make("room", "cellar", {"depth": 1, "racks": [], "@lamp@bulb": {}})
    assert first._module_name == "cellar-dry"
    assert first._get_modules("lamp")[0]._module_name == "bulb"


def test_referring_is_intcs_work_and_leaves_the_given_trees_alone() -> None:
    tree = {
        "@a@b": {
            "x": "@lambda @_G.n",
            "@c@d#e": {"y": "@$$.x @lambda x: x + 1", "_anchor": "deep"},
            "z": "@lambda @deep.y",
        }
    }
    given = json.dumps(tree)
    found, problems, computed = solve_references(tree, {"n": 3})
    assert problems == []
    assert computed[("@a@b", "@c@d#e", "y")] == ("@$$.x @lambda x: x + 1", [(("@a@b", "x"), 3)])
    assert computed[("@a@b", "x")] == ("@lambda @_G.n", [(("_G", "n"), 3)])
    assert (found["@a@b"]["x"], found["@a@b"]["@c@d#e"]["y"], found["@a@b"]["z"]) == (3, 4, 4)
    assert json.dumps(tree) == given
