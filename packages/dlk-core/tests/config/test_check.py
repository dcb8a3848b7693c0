from __future__ import annotations

from typing import Any

import pytest

from dlk.config import (
    AnyField,
    BoolField,
    DictField,
    FloatField,
    IntField,
    ListField,
    MapField,
    StrField,
    cregister,
    make,
)
from dlk.config.check import check_value
from dlk.errors import ConfigError


def problems(field: Any, value: Any, **options: Any) -> list[str]:
    return [message for _, message in check_value(field.metadata, value, **options)]


INT = IntField(value=1, minimum=0, maximum=5, help="h")
FLOAT = FloatField(value=1.0, help="h")
BOOL = BoolField(True, help="h")
STR = StrField("abc", min_len=2, max_len=4, pattern="[a-c]+$", help="h")
PICK = IntField(value=1, options=[1, 2], help="h")
PICK_FLOAT = FloatField(value=0.5, options=[0.5, 1.0], help="h")
UNION = IntField(value=1, additions=["max", None], help="h")
SWITCH = BoolField(True, additions=["warn"], help="h")
LIST = ListField([], help="h")
DICT = DictField({}, help="h")
ANY = AnyField(None, help="h")
MAP = MapField({"a": "a"}, help="h")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (INT, 0),
        (INT, 5),
        (FLOAT, 3),
        (FLOAT, -0.5),
        (BOOL, False),
        (STR, "ab"),
        (PICK, 2),
        (PICK_FLOAT, 1),
        (UNION, "max"),
        (UNION, None),
        (UNION, 7),
        (SWITCH, "warn"),
        (LIST, [1, "a", None]),
        (DICT, {"a": {"b": []}}),
        (ANY, "x"),
        (ANY, {"a": None}),
        (MAP, {}),
        (MAP, {"a": ""}),
    ],
)
def test_a_value_that_fits_is_taken(field: Any, value: Any) -> None:
    assert problems(field, value) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (INT, 3.0, "expected an integer from 0 to 5, got 3.0 (h)"),
        (INT, 3.9, "got 3.9"),
        (INT, "3", 'got "3"'),
        (INT, "@_G.a", 'got "@_G.a" (h); a reference is written "@lambda @_G.a"'),
        (INT, True, "got true"),
        (INT, None, "got null"),
        (INT, -1, "got -1"),
        (INT, 6, "got 6"),
        (INT, 10**400, "got 1000"),
        (FLOAT, "1.0", 'expected a number, got "1.0"'),
        (FLOAT, False, "got false"),
        (FLOAT, float("inf"), "got inf"),
        (FLOAT, float("nan"), "got nan"),
        (FLOAT, 10**400, "expected a number, got 1000"),
        (BOOL, 1, "expected true or false, got 1"),
        (BOOL, "true", 'got "true"'),
        (STR, 3, "expected text of at least 2 characters of at most 4 characters that matches"),
        (STR, "a", 'got "a"'),
        (STR, "aaaaa", 'got "aaaaa"'),
        (STR, "abd", 'got "abd"'),
        (PICK, 3, "expected one of 1, 2, got 3"),
        (PICK, True, "got true"),
        (PICK, 1.0, "got 1.0"),
        (PICK_FLOAT, 2, "expected one of 0.5, 1.0, got 2.0"),
        (UNION, "min", 'expected an integer or "max" or null, got "min"'),
        (SWITCH, "error", 'expected true or false or "warn", got "error"'),
        (LIST, {}, "expected a list, got {}"),
        (LIST, "ab", 'expected a list, got "ab"'),
        (DICT, [], "expected an object, got []"),
        (MAP, {"b": "x"}, 'there is no "b" to rename. Known: a.'),
        (MAP, {"a": 3}, "expected a name, got 3"),
        (LIST, [1, [float("nan")]], "expected a finite number, got nan"),
        (INT, "???", "is required: h"),
        (LIST, ["???"], "is required: h"),
    ],
)
def test_a_value_that_misfits_is_refused_with_what_was_expected(
    field: Any, value: Any, message: str
) -> None:
    (found,) = problems(field, value)
    assert message in found


@pytest.mark.parametrize("field", [INT, FLOAT, BOOL, STR, PICK, LIST, DICT, MAP])
@pytest.mark.parametrize("value", ["@lambda _: 1", "@$.a @lambda a: a", "???"])
def test_what_is_computed_or_missing_is_left_until_it_is_resolved(field: Any, value: str) -> None:
    assert problems(field, value, resolved=False) == []
    assert problems(field, value, resolved=True) != []


def test_a_validator_of_a_field_is_heard_and_named_with_its_help() -> None:
    @cregister("even", "number")
    class EvenConfig:
        """No child of dlk's base, as a third party may write it."""

        n = IntField(value=2, validator=lambda v: v % 2 == 0, help="an even number")
        d = DictField({}, validator=lambda v: "a" in v, help="has an a", additions=[{}])

    assert make("even", "number", n=4, d={"a": 1}).d == {"a": 1}
    with pytest.raises(ConfigError, match=r"n: 3 is not allowed \(an even number\)"):
        make("even", "number", n=3)
    with pytest.raises(ConfigError, match=r"d: .* is not allowed \(has an a\)"):
        make("even", "number", d={"b": 1})


def test_a_class_that_declares_no_children_takes_any() -> None:
    @cregister("bag", "open")
    class BagConfig:
        """No child of dlk's base."""

    assert make("bag", "open", {"@lamp@bulb": {}})._get_modules("lamp")[0].watts == 60
