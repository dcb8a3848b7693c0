"""Readers that are wrong on purpose fail the check that is meant for them."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest

from dlk.config import cregister
from dlk.data.reader.base import Reader
from dlk.data.reader.configs import ReaderConfig
from dlk.errors import DataError
from dlk.registry import register
from dlk.testing import ReaderConformance


class Right(Reader):
    """A row for each line, which must hold an equals sign."""

    def read(self, path):
        try:
            with open(path, encoding="utf-8") as handle:
                for number, line in enumerate(handle, 1):
                    name, sign, value = line.strip().partition("=")
                    if not sign:
                        raise DataError(f"{path}:{number}: expected NAME=VALUE, got {line!r}")
                    yield {name: value}
        except OSError as error:
            raise DataError(f"cannot read {path}: {error}") from error


class Draws:
    calls = 0

    def read(self, path):
        type(self).calls += 1
        yield from ({**row, "n": self.calls} for row in super().read(path))


class GivesMoreThanJson:
    def read(self, path):
        yield from ({**row, "n": (1, 2)} for row in super().read(path))


class LosesARow:
    def read(self, path):
        yield from list(super().read(path))[:-1]


class GivesAList:
    def read(self, path):
        return list(super().read(path))


class RaisesWhatItMeets:
    def read(self, path):
        with open(path, encoding="utf-8") as handle:
            yield from (dict([line.strip().split("=")]) for line in handle)


class ReadsAnything:
    def read(self, path):
        with open(path, encoding="utf-8") as handle:
            yield from ({"line": line} for line in handle)


class NamesNoFile:
    def read(self, path):
        try:
            yield from super().read(path)
        except DataError as error:
            raise DataError("cannot be read") from error


def checks(*faults: type) -> ReaderConformance:
    name = "kit" + "".join(fault.__name__.lower() for fault in faults)
    if ("reader", name) not in register:

        @cregister("reader", name)
        class _Config(ReaderConfig):
            """A reader for the tests of the kit."""

        register("reader", name)(type(name, (*faults, Right), {}))

    class Checks(ReaderConformance):
        component = ("reader", name)
        files: ClassVar = {f"some.{name}": "a=1\nb=2\n"}
        rows = 2
        broken = "no sign\n"

    return Checks()


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        (Draws, "rows_are_plain_and_the_same_each_time", "a second reading gives other rows"),
        (GivesMoreThanJson, "rows_are_plain_and_the_same_each_time", "rows hold more than JSON"),
        (LosesARow, "rows_are_plain_and_the_same_each_time", "expected 2 rows"),
        (GivesAList, "rows_come_one_by_one", "read gives all rows at once"),
        (
            RaisesWhatItMeets,
            "what_cannot_be_read_is_named",
            "a broken file raises ValueError",
        ),
        (ReadsAnything, "what_cannot_be_read_is_named", "takes a broken file without a word"),
        (NamesNoFile, "what_cannot_be_read_is_named", "does not name some.kit"),
    ],
)
def test_a_faulty_reader_is_found_by_its_check(fault, check, message, tmp_path):
    kit = checks(fault)
    with pytest.raises(AssertionError, match=re.escape(message)) as caught:
        getattr(kit, f"test_{check}")(tmp_path)
    assert f'reader "kit{fault.__name__.lower()}"' in str(caught.value)


def test_a_right_reader_passes(tmp_path):
    for number, check in enumerate(["what_cannot_be_read_is_named", "rows_come_one_by_one"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        getattr(checks(), f"test_{check}")(folder)


def test_a_reader_under_another_ending_than_its_files_is_found(tmp_path):
    kit = checks()
    kit.files = {"some.other": "a=1\nb=2\n"}
    with pytest.raises(AssertionError, match="must be registered under the ending of its files"):
        kit.test_inputs_are_read_by_the_ending(tmp_path)
