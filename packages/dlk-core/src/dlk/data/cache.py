"""Results kept on disk by what they were made of, so that they are not made twice.

An entry is one file, named by its key: a digest, an Arrow table, and a little JSON. It is written
aside and renamed, and its digest is checked whenever it is read, so half an entry, or a damaged
one, is the same as none. Any number of processes may use one folder at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import ipc

from dlk.errors import CacheWarning

__all__ = ["Cache", "Entry"]

_MAGIC = b"dlk.cache/1\n"
_DIGEST = hashlib.sha256().digest_size
_INFO = b"dlk"
_STALE_S = 3600.0
"""Age from which a file left aside is taken for one of a process that was killed."""
_README = """# Made by dlk process: what steps made of rows, kept so that it is not made twice.
# It may be removed at any time.
*
"""
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# see https://bford.info/cachedir/\n"


class Entry(NamedTuple):
    """What is kept under a key.

    Attributes:
        table: columns.
        info: plain data beside them.
    """

    table: pa.Table
    info: dict[str, Any]


class Cache:
    """A folder of entries, bounded in size: those not used for longest go first.

    Args:
        folder: where it lies; made when the first entry is put.
        limit: bytes that it may hold.

    Attributes:
        put_bytes: how much was put since the last `trim`.
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.put_bytes = 0
        self._is_broken = False

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        return self.folder / key[:2] / key[2:]

    def has(self, key: str) -> bool:
        """Return whether there is an entry, sound or not."""
        return self.path(key).is_file()

    def get(self, key: str) -> Entry | None:
        """Return the entry of a key; None where there is none, or it is damaged, which removes it.

        What is used is younger from then on.
        """
        path = self.path(key)
        try:
            data = path.read_bytes()
        except OSError:  # not there, or not for us
            return None
        found = _unpacked(data, key)
        if found is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return found

    def put(self, key: str, table: pa.Table, info: Mapping[str, Any]) -> None:
        """Keep an entry. Where the disk refuses it, that is told once, and nothing is kept."""
        if self._is_broken:
            return
        sink = pa.BufferOutputStream()
        text = json.dumps(info, ensure_ascii=True)
        table = table.replace_schema_metadata({_INFO: text.encode()})
        with ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getvalue()
        path = self.path(key)
        aside = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            self._make(path.parent)
            try:
                with open(aside, "xb") as handle:
                    handle.write(_MAGIC + _digest(key, body))
                    handle.write(body)
                os.replace(aside, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    aside.unlink()
                raise
        except OSError as error:
            self._is_broken = True
            warnings.warn(
                f"results of steps are not kept in {self.folder}: {error.strerror or error}. "
                "Name a folder with room (cache_dir, --cache-dir), or keep none (--no-cache).",
                CacheWarning,
                stacklevel=2,
            )
            return
        self.put_bytes += len(body)

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", _README), ("CACHEDIR.TAG", _TAG)):
            if not (self.folder / name).exists():
                (self.folder / name).write_text(text, encoding="utf-8")

    def size(self) -> int:
        """Return how many bytes the entries take."""
        return sum(size for _, size, _ in self._files())

    def trim(self) -> None:
        """Remove what was not used for longest until the rest keeps to the limit."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        stale = time.time() - _STALE_S
        for used, size, path in files:
            is_left = path.suffix == ".part"
            if (is_left and used < stale) or (not is_left and total > self.limit):
                with contextlib.suppress(OSError):  # another process may have been first
                    path.unlink()
                total -= size
        self.put_bytes = 0

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return when each entry was last used, its size and its file."""
        found = []
        with contextlib.suppress(OSError):
            for part in os.scandir(self.folder):
                if len(part.name) != 2 or not part.is_dir():
                    continue
                for each in os.scandir(part.path):
                    with contextlib.suppress(OSError):
                        about = each.stat()
                        found.append((about.st_mtime, about.st_size, Path(each.path)))
        return found


def _digest(key: str, body: Any) -> bytes:  # Any: Arrow's buffer
    made = hashlib.sha256(key.encode())
    made.update(body)
    return made.digest()


def _unpacked(data: bytes, key: str) -> Entry | None:
    start = len(_MAGIC) + _DIGEST
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        return None
    body = memoryview(data)[start:]
    if _digest(key, body) != data[len(_MAGIC) : start]:
        return None
    with ipc.open_stream(pa.py_buffer(body)) as reader:
        table = reader.read_all()
    info: dict[str, Any] = json.loads(table.schema.metadata[_INFO])
    return Entry(table.replace_schema_metadata(None), info)
