"""What Process learnt: a folder with `meta.json` and the files of vocabularies and tokenizers.

Numbers and booleans are readable in configs (`numbers`); words and files are read by components
only, never by the config parser, which evaluates strings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from dlk.data.vocabulary import Vocabulary
from dlk.errors import DataError, did_you_mean
from dlk.io import atomic_write

__all__ = ["Meta", "entry_name"]

_SCHEMA = "dlk.meta/1"
FILE = "meta.json"
_START = "start values"


def entry_name(file: str) -> str:
    """Return the entry of a meta file: ``label_vocab.json`` -> ``label_vocab``."""
    return os.path.splitext(file)[0]


def _is_plain(file: str) -> bool:
    """Return whether the name stays inside of the folder, and is not that of `meta.json`."""
    return file == os.path.basename(file) and "\\" not in file and file not in {"", ".", "..", FILE}


class Meta:
    """Entries, one per vocabulary or extractor: its numbers, and the file it stands in.

    Args:
        folder: where the files stand; empty: nothing was learnt.
    """

    def __init__(self, folder: str | os.PathLike[str] = "") -> None:
        self.dir: str = os.fspath(folder)
        self._entries: dict[str, dict[str, Any]] = {}
        self._vocabularies: dict[str, Vocabulary] = {}

    @classmethod
    def empty(cls) -> Meta:
        """Return a meta without any entry."""
        return cls()

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Meta:
        """Read a meta folder, or the ``meta`` folder of processed data.

        Raises:
            DataError: there is no `meta.json`, or it is not ours.
        """
        found = Path(folder)
        if (found / "meta" / FILE).is_file():
            found = found / "meta"
        path = found / FILE
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                f"{os.fspath(folder)} holds no {FILE}: process the training data first"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged: {error}") from error
        if not isinstance(plain, dict) or plain.get("schema") != _SCHEMA:
            raise DataError(f'{path}: expected an object with "schema": "{_SCHEMA}"')
        entries = plain.get("entries")
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise DataError(f'{path}: expected "entries", one object per vocabulary or extractor')
        for name, entry in entries.items():
            file = entry.get("file")
            if not isinstance(file, str) or not _is_plain(file):
                raise DataError(f'{path}: the entry "{name}" names no file of this folder')
        made = cls(found.absolute())
        made._entries = entries
        return made

    def __contains__(self, file: object) -> bool:
        return any(entry.get("file") == file for entry in self._entries.values())

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files, sorted."""
        return tuple(sorted(entry["file"] for entry in self._entries.values() if entry.get("file")))

    def numbers(self) -> dict[str, dict[str, int | float | bool]]:
        """Return the numbers and booleans of each entry: what configs may refer to as `_G.meta`.

        Nothing else can be among them: configs evaluate strings, and a label of the data must not
        be one.
        """
        return {
            name: {
                key: value for key, value in entry.items() if isinstance(value, bool | int | float)
            }
            for name, entry in self._entries.items()
        }

    def path(self, file: str) -> str:
        """Return the absolute path of a file of this meta.

        Raises:
            DataError: no entry names that file.
        """
        if file not in self:
            known = did_you_mean(file, self.files)
            where = f"the meta folder {self.dir}" if self.dir else "the empty meta"
            raise DataError(
                f"{where} holds no {file}: process the training data first. {known}".rstrip()
            )
        return os.path.join(os.path.abspath(self.dir), file)

    def vocabulary(self, file: str) -> Vocabulary:
        """Return the vocabulary of a file. It is read once and shared: do not add to it."""
        found = self._vocabularies.get(file)
        if found is None:
            found = self._vocabularies[file] = Vocabulary.load(self.path(file))
        return found

    def put(self, file: str, numbers: Mapping[str, Any], *, text: str) -> None:
        """Write a file of text into the folder, and an entry that gives its numbers.

        Raises:
            DataError: the name leads out of the folder, or another file has the same entry.
        """
        entry = self._entry(file, numbers)
        with atomic_write(os.path.join(self.dir, file)) as handle:
            handle.write(text)
        self._keep(file, entry)

    def put_start(
        self, file: str, numbers: Mapping[str, Any], write: Callable[[IO[bytes]], object]
    ) -> None:
        """Write start values of weights, such as a table of vectors, and an entry with its numbers.

        A trained model no longer needs them, so bundles leave the file out (`start_files`).

        Args:
            file: name of the file.
            numbers: what configs may refer to.
            write: is given the file, open for writing bytes.

        Raises:
            DataError: as `put`.
        """
        entry = self._entry(file, numbers)
        with atomic_write(os.path.join(self.dir, file), "wb") as handle:
            write(handle)
        self._keep(file, {**entry, "holds": _START})

    @property
    def start_files(self) -> tuple[str, ...]:
        """Names of the files of start values, sorted."""
        entries = self._entries.values()
        return tuple(sorted(each["file"] for each in entries if each.get("holds") == _START))

    def _entry(self, file: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry of a file that is to be written, or say why it cannot be."""
        name = entry_name(file)
        if not name or not _is_plain(file):
            raise DataError(
                f'"{file}" is no name for a meta file: expected one such as label_vocab.json'
            )
        other = self._entries.get(name)
        if other is not None and other.get("file") != file:
            raise DataError(
                f'the meta files "{other.get("file")}" and "{file}" would share the entry "{name}"'
            )
        wrong = [key for key, value in numbers.items() if not isinstance(value, bool | int | float)]
        if wrong:
            raise ValueError(f"entries hold numbers and booleans, not {', '.join(wrong)}")
        if not self.dir:
            raise ValueError("the empty meta has no folder to write to")
        return {"file": file, **numbers}

    def _keep(self, file: str, entry: dict[str, Any]) -> None:
        self._entries[entry_name(file)] = entry
        self._vocabularies.pop(file, None)
        self.save()

    def put_vocabulary(self, file: str, vocabulary: Vocabulary) -> None:
        """Write a vocabulary into the folder, with its entry."""
        text = json.dumps(vocabulary.to_dict(), ensure_ascii=False, indent=1) + "\n"
        self.put(file, vocabulary.numbers(), text=text)

    def save(self) -> None:
        """Write `meta.json`."""
        with atomic_write(os.path.join(self.dir, FILE)) as handle:
            json.dump(
                {"schema": _SCHEMA, "entries": self._entries}, handle, ensure_ascii=False, indent=1
            )
            handle.write("\n")

    def __repr__(self) -> str:
        return f"Meta({self.dir!r}, {', '.join(self._entries) or 'empty'})"
