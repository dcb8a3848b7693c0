"""Conformance of readers: ``class TestMine(ReaderConformance): …``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from dlk.data.inputs import endings, open_input
from dlk.errors import DataError
from dlk.testing._common import Conformance


class ReaderConformance(Conformance):
    """Checks of a reader.

    Attributes:
        files: texts of the files of one input, by name; the first is the one that is read.
        rows: how many rows they hold, at least two.
        broken: a text which is no such file, for the first; the error names it.
    """

    files: ClassVar[Mapping[str, str]]
    rows: ClassVar[int]
    broken: ClassVar[str]

    def path(self, folder: Path, **changes: str) -> str:
        """Write the files and return the path of the first; `changes` are other texts."""
        for name, text in {**self.files, **changes}.items():
            (folder / name).write_text(text, encoding="utf-8")
        return str(folder / next(iter(self.files)))

    def test_rows_are_plain_and_the_same_each_time(self, tmp_path: Path) -> None:
        """Files are gone through more than once, and rows go into JSON."""
        reader, path = self.build(), self.path(tmp_path)
        first, second = list(reader.read(path)), list(reader.read(path))
        assert first == second, f"{self._name}: a second reading gives other rows"
        assert len(first) == self.rows, f"{self._name}: expected {self.rows} rows: {first}"
        assert json.loads(json.dumps(first)) == first, f"{self._name}: rows hold more than JSON"
        assert all(isinstance(key, str) for row in first for key in row), (
            f"{self._name}: names of columns are texts"
        )

    def test_inputs_are_read_by_the_ending(self, tmp_path: Path) -> None:
        """What takes files finds the reader, and gives its rows chunk by chunk."""
        path = self.path(tmp_path)
        assert Path(path).suffix.lower() in endings(), (
            f"{self._name}: it must be registered under the ending of its files, such as "
            f"{Path(path).suffix}"
        )
        chunks = list(open_input(path).chunks(1))
        read = [{k: v for k, (v,) in chunk.items() if v is not None} for chunk in chunks]
        given = [{k: v for k, v in row.items() if v is not None} for row in self.build().read(path)]
        assert read == given, f"{self._name}: an input gives other rows than the reader"

    def test_rows_come_one_by_one(self, tmp_path: Path) -> None:
        """`read` gives an iterator, so that a large file need not be in memory."""
        rows = self.build().read(self.path(tmp_path))
        assert iter(rows) is rows, f"{self._name}: read gives all rows at once"

    def test_what_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        """A missing file and a broken one are data errors with the file's name."""
        path = self.path(tmp_path)
        name = Path(path).name
        with self.refuses("a broken file", DataError, naming=[name]):
            list(self.build().read(self.path(tmp_path, **{name: self.broken})))
        Path(path).unlink()
        with self.refuses("a file that is not there", DataError, naming=[name]):
            list(self.build().read(path))
