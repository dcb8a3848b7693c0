"""What is in a bundle, once all of it was looked at: names, digests, texts, header of the weights.

Imports neither torch nor a component: this is all that ``dlk bundle verify`` and ``inspect`` run on
the bundle of a stranger, and what `Bundle` runs before it uses anything.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dlk.bundle import schema
from dlk.bundle._json import parse
from dlk.bundle._names import MAX_PARTS, clash, flaw
from dlk.bundle._open import local_folder
from dlk.bundle._tensors import Tensors, read_header
from dlk.bundle._zip import MAX_FILES
from dlk.errors import BundleError

__all__ = ["Contents"]

MAX_GOLDEN = 1000
_BLOCK = 1 << 20
_KEPT = (schema.MANIFEST, schema.PROCESS, schema.FIT, schema.GOLDEN)
_NEEDED = (schema.PROCESS, schema.FIT, schema.WEIGHTS)


class _State(NamedTuple):
    """What tells that a file is still the one that was read."""

    device: int
    number: int
    size: int
    changed: int
    written: int

    @classmethod
    def of(cls, found: os.stat_result) -> _State:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns, found.st_mtime_ns)


class Contents:
    """A bundle on disk, every byte of it digested and every text read.

    Args:
        path: the folder, or its zip.

    Attributes:
        folder: where it stands, absolute; of a zip a private temporary folder, which goes when
            nobody holds `keep`.
        name: what was named, for messages.
        keep: holds the temporary folder.
        manifest: what ``bundle.json`` holds.
        process, fit: the configs.
        golden: the kept rows with their predictions.
        tensors: the header of the weights.
        sizes: bytes of each file by name.

    Raises:
        BundleError: it is no bundle, is not what was written, or holds what a bundle may not hold.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.keep = local_folder(path)
        self.folder = self.keep.path
        self.name = self.keep.source
        self._states: dict[str, _State] = {}
        self._texts: dict[str, bytes] = {}
        self.tensors: Tensors
        self.manifest = self._manifest()
        self._check_files()
        self.sizes = {name: state.size for name, state in sorted(self._states.items())}
        self.process = self._config(schema.PROCESS)
        self.fit = self._config(schema.FIT)
        self.golden = self._golden()
        self._texts.clear()

    def check_unchanged(self) -> None:
        """Refuse files that were replaced or written to since they were digested.

        Raises:
            BundleError: one was.
        """
        for name, state in self._states.items():
            try:
                now = _State.of(os.lstat(self.folder / name))
            except OSError as error:
                raise BundleError(f"{self.name}: {name} has gone while it was loaded") from error
            if now != state:
                raise BundleError(f"{self.name}: {name} was changed while it was loaded")

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of each file by name, ``bundle.json`` left out."""
        digests: Mapping[str, str] = self.manifest["digests"]
        return digests

    def _manifest(self) -> dict[str, Any]:
        if not (self.folder / schema.MANIFEST).is_file():
            hint = "expected a folder with bundle.json"
            if (self.folder / "bundle").is_dir():
                hint = "it is a run; its bundle is in the folder bundle"
            raise BundleError(f"{self.name} is no bundle: {hint}")
        self._digest(schema.MANIFEST)
        manifest = self._object(schema.MANIFEST)
        version = manifest.get("schema")
        if type(version) is not int or version < 1:
            raise BundleError(f"{self.name}: bundle.json has no schema version")
        if version > schema.SCHEMA:
            raise BundleError(
                f"{self.name} has schema {version}, this dlk reads up to {schema.SCHEMA}: "
                "pip install -U dlk-core"
            )
        if not schema.is_whole(self._texts[schema.MANIFEST].decode(), manifest):
            raise BundleError(
                f"{self.name}: bundle.json is not what was written (its own digest differs)"
            )
        schema.check(manifest, self.name)
        return manifest

    def _check_files(self) -> None:
        self._check_names()
        there = self._walk()
        for name in self.digests:
            if name not in there:
                raise BundleError(f"{self.name}: {name} is missing or no plain file")
        for name in _NEEDED:
            if name not in self.digests:
                raise BundleError(f"{self.name}: {name} is missing")
        for name in sorted(there):
            if name not in self.digests and name != schema.MANIFEST:
                raise BundleError(f"{self.name}: {_shown(name)} is not listed in bundle.json")
        for name, digest in self.digests.items():
            if self._digest(name) != digest:
                raise BundleError(
                    f"{self.name}: {name} is not what was written (its SHA-256 differs)"
                )

    def _check_names(self) -> None:
        for name in self.digests:
            wrong = flaw(name)
            if wrong:
                raise BundleError(f"{self.name}: the file name {name!r} {wrong}")
        pair = clash([*self.digests, schema.MANIFEST])
        if pair:
            raise BundleError(f"{self.name}: {pair[0]} and {pair[1]} are one file on some systems")

    def _walk(self) -> set[str]:
        """Return the names of all files below; links, devices and the like are refused."""
        found: set[str] = set()
        folders = [""]
        seen = 0
        while folders:
            above = folders.pop()
            with os.scandir(self.folder / above) as entries:
                for entry in entries:
                    name = f"{above}{entry.name}"
                    seen += 1
                    if seen > MAX_FILES or name.count("/") > MAX_PARTS:
                        raise BundleError(
                            f"{self.name} holds more than {MAX_FILES} files and folders, "
                            f"or some more than {MAX_PARTS} deep"
                        )
                    if entry.is_symlink():
                        raise BundleError(
                            f"{self.name}: {_shown(name)} is a link: it leaves the bundle or might"
                        )
                    if entry.is_dir():
                        folders.append(f"{name}/")
                    elif entry.is_file():
                        found.add(name)
                    else:
                        raise BundleError(
                            f"{self.name}: {_shown(name)} is no plain file, but a pipe or device"
                        )
        return found

    def _digest(self, name: str) -> str:
        """Return the SHA-256 of a file; keep the text of those that are read here."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= getattr(os, "O_BINARY", 0)
        digest = hashlib.sha256()
        text = bytearray() if name in _KEPT else None
        try:
            with open(os.open(self.folder / name, flags), "rb", buffering=0) as handle:
                state = os.fstat(handle.fileno())
                if not stat.S_ISREG(state.st_mode):
                    raise BundleError(f"{self.name}: {name} is no plain file")
                if text is not None and state.st_size > schema.MAX_TEXT:
                    raise BundleError(
                        f"{self.name}: {name} has {state.st_size} bytes, "
                        f"at most {schema.MAX_TEXT} are read"
                    )
                if name == schema.WEIGHTS:
                    self._read_tensors(handle, state.st_size)
                    handle.seek(0)
                else:
                    self._check_content(name, handle, state.st_size)
                buffer = memoryview(bytearray(min(state.st_size + 1, _BLOCK)))
                while count := handle.readinto(buffer):
                    digest.update(buffer[:count])
                    if text is not None:
                        text += buffer[:count]
                if _State.of(os.fstat(handle.fileno())) != _State.of(state):
                    raise BundleError(f"{self.name}: {name} was changed while it was read")
        except OSError as error:
            raise BundleError(
                f"{self.name}: {name} cannot be read: {error.strerror or error}"
            ) from error
        self._states[name] = _State.of(state)
        if text is not None:
            self._texts[name] = bytes(text)
        return digest.hexdigest()

    def _read_tensors(self, handle: Any, size: int) -> None:
        try:
            self.tensors = read_header(handle, size)
        except ValueError as error:
            raise BundleError(f"{self.name}: {schema.WEIGHTS} is damaged: {error}") from None

    def _check_content(self, name: str, handle: Any, size: int) -> None:
        """Refuse what would be run or unpacked if it were loaded, whatever it is called."""
        head = handle.read(4)
        handle.seek(max(0, size - 1))
        is_pickle = head[:1] == b"\x80" and head[1:2] in _PROTOCOLS and handle.read(1) == b"."
        handle.seek(0)
        if is_pickle:
            raise BundleError(f"{self.name}: {name} is a pickle, which runs code when it is read")
        if head in (b"PK\x03\x04", b"\x7fELF"):
            what = "an archive" if head[:2] == b"PK" else "a program"
            raise BundleError(f"{self.name}: {name} is {what}, which a bundle may not hold")

    def _config(self, name: str) -> dict[str, Any]:
        config = self._object(name)
        for path, reason in _computed(config, ""):
            raise BundleError(f"{self.name}: {name} cannot be used: {path}: {reason}")
        return config

    def _golden(self) -> list[dict[str, Any]]:
        text = self._texts.get(schema.GOLDEN, b"")
        lines = [line for line in text.split(b"\n") if line.strip()]
        if len(lines) > MAX_GOLDEN:
            raise BundleError(
                f"{self.name}: {schema.GOLDEN} has {len(lines)} rows, at most {MAX_GOLDEN} are read"
            )
        found = [self._parsed(line, schema.GOLDEN) for line in lines]
        if not all(isinstance(each, dict) for each in found):
            raise BundleError(f"{self.name}: {schema.GOLDEN} holds a line that is no object")
        return found

    def _object(self, name: str) -> dict[str, Any]:
        value = self._parsed(self._texts[name], name)
        if not isinstance(value, dict):
            raise BundleError(f"{self.name}: {name}: expected an object")
        return value

    def _parsed(self, text: bytes, name: str) -> Any:
        try:
            return parse(text, limit=schema.MAX_TEXT)
        except ValueError as error:
            raise BundleError(f"{self.name}: {name} cannot be read: {error}") from None


_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")


def _shown(name: str) -> str:
    """Return a name as it can be printed anywhere."""
    return name if name.isprintable() else ascii(name)


def _computed(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield where something would have to be computed: a bundle holds resolved values only."""
    if isinstance(value, str) and "@lambda" in value:
        yield path, "an expression; only resolved values are allowed here"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            here = f"{path}.{key}" if path else key
            if key in ("_search", "_anchor", "_G", "_base"):
                yield here, f'"{key}" is not allowed here; only resolved values are'
            yield from _computed(part, here)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, part in enumerate(value):
            yield from _computed(part, f"{path}.{number}")
