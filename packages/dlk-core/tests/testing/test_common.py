"""Config classes that are wrong on purpose fail the check that is meant for them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dlk.config import AnyField, Base, IntField, NestField, cregister
from dlk.errors import DataError
from dlk.registry import Entry, register
from dlk.testing import ConfigConformance
from dlk.testing._common import Conformance


def checks(name: str, config: type, made: type | None = None, base: type = Conformance) -> Any:
    cregister("kit_thing", name)(config)
    if made is not None:
        register("kit_thing", name)(made)
    found = base()
    found.component = ("kit_thing", name)
    return found


class Documented:
    """What each of these begins with."""

    size = IntField(1, help="how large the thing is")


def test_a_config_without_a_class_needs_no_class():
    kit = checks(
        "alone", type("Alone", (Base, Documented), dict(vars(Documented))), base=ConfigConformance
    )
    for name in dir(kit):
        if name.startswith("test_"):
            getattr(kit, name)()


class Undocumented(Base):
    size = IntField(1, help="how large the thing is")


class WithoutHelp(Base):
    """A config of a test."""

    size = IntField(1)


class WithShortHelp(Base):
    """A config of a test."""

    size = IntField(1, help="size")


class Inside:
    """Inner options."""

    size = IntField(1)


class WithoutHelpInside(Base):
    """A config of a test."""

    inner = NestField(Inside, help="options of what is inside")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Undocumented, "give Undocumented a docstring"),
        (WithoutHelp, 'give the field "size" a help=… that says what it does'),
        (WithShortHelp, 'give the field "size" a help='),
        (WithoutHelpInside, 'give the field "inner.size" a help='),
    ],
)
def test_a_config_that_is_not_documented_is_found(config, message):
    kit = checks(config.__name__.lower(), config)
    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        kit.test_every_field_is_documented()
    assert str(caught.value).startswith(f'kit_thing "{config.__name__.lower()}": ')


def test_a_config_that_changes_when_it_is_written_is_found(monkeypatch):
    class Growing(Base):
        """A config of a test."""

        values = AnyField([1], help="values that grow each time they are written")

    kit = checks("growing", Growing)
    sizes = iter(range(1, 9))
    monkeypatch.setattr(
        "dlk.testing._common.to_dict",
        lambda config: {"@kit_thing@growing": {"values": next(sizes)}},
    )
    with pytest.raises(AssertionError, match="the resolved config changes when it is written"):
        kit.test_config_survives_a_round_trip()


def test_a_row_that_leads_to_another_class_is_found(monkeypatch):
    from dlk.plugin import Component

    class Mine(Base):
        """A config of a test."""

    kit = checks("misplaced", Mine, type("Thing", (), {}))
    row = Component("kit_thing", "misplaced", config="json:Nothing", cls="json:Nothing")
    monkeypatch.setattr(register, "entries", lambda: [Entry(row, "my-dist", "1.0")])
    with pytest.raises(AssertionError, match="the table of my-dist says json:Nothing, but"):
        kit.test_its_row_in_the_table_is_true()


def test_an_option_that_nothing_reads_is_found():
    class Idle(Base):
        """A config of a test."""

        size = IntField(1, help="how large the thing is")

    class Thing:
        def __init__(self, config):
            self.config = config

    kit = checks("idle", Idle, Thing)
    with pytest.raises(AssertionError, match="never reads size: use the field, remove it, or"):
        kit.test_every_field_is_read()
    kit.unread = ("size",)
    kit.test_every_field_is_read()


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (None, 'kit_thing "any" takes a letter without a word: raise a DataError that says'),
        (ValueError("x"), 'kit_thing "any": a letter raises ValueError (x): raise a DataError'),
        (DataError("x"), 'kit_thing "any": the error of a letter does not name letter: x'),
    ],
)
def test_what_must_be_refused_is_refused_in_words(raised, message):
    kit = Conformance()
    kit.component = ("kit_thing", "any")

    def give() -> None:
        with kit.refuses("a letter", DataError, naming=["letter"]):
            if raised is not None:
                raise raised

    with pytest.raises(AssertionError, match=re.escape(message)):
        give()
    with kit.refuses("a letter", DataError, naming=["letter"]):
        raise DataError("no letter, please")
