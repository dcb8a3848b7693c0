"""Folders of processed data on other file systems, which are read through memory maps here.

At the URL lie generations of the folder and ``folder.json``, which names one of them with the
SHA-256 of its files. A generation is sent whole before ``folder.json`` is replaced, so a reader
finds the old folder or the new one, on any file system that can replace one file whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dlk import _remote
from dlk.errors import DataError, StorageError, redact
from dlk.io import atomic_dir, atomic_write, sha256_of

__all__ = [
    "cache_folder",
    "digest_of_url",
    "edited",
    "fetched",
    "file_and_folder",
    "is_inside",
    "latest",
]

INDEX = "folder.json"
_SCHEMA = "dlk.folder/1"
_GENERATION = re.compile(r"generation-[0-9a-f]{16}")
_ABANDONED = timedelta(days=1)
"""How long before ``folder.json`` a file of a generation was sent that no upload goes on with."""
_TRIES = 3

_fetched: dict[str, Path] = {}
"""Folders that this process uses: a run sees one generation from its beginning to its end."""


class _Index(NamedTuple):
    """What ``folder.json`` tells: the name of the generation, and its files with their SHA-256."""

    name: str
    files: Mapping[str, str]

    @classmethod
    def of(cls, files: Mapping[str, str]) -> _Index:
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(files.items()))
        return cls(hashlib.sha256(lines.encode()).hexdigest(), files)

    @property
    def folder(self) -> str:
        return f"generation-{self.name[:16]}"


def fetched(url: str, *, anew: bool = False) -> Path:
    """Return a local copy of a folder, not to be changed; kept for the next time.

    Args:
        url: where it lies.
        anew: whether a newer generation is to be noticed, where this process fetched one before.

    Raises:
        DataError: nothing of the kind is there, or it is damaged.
        StorageError: it cannot be reached.
    """
    known = _fetched.get(url)
    if known is not None and not anew:
        return known
    for last in (False,) * (_TRIES - 1) + (True,):
        index = _read_index(url)
        if index is None:
            raise DataError(f"{url} holds no processed data: run `dlk process` first")
        target = cache_folder() / "processed" / index.name
        try:
            if not _is_whole(target, index):
                _fetch(url, index, target)
        except FileNotFoundError as error:  # replaced meanwhile
            if last:
                raise DataError(f"{url} is damaged: {INDEX} names files that lack") from error
            continue
        _fetched[url] = target
        return target
    raise AssertionError("the last try returns or raises")


def latest(url: str) -> Path:
    """Return a local folder with what stands at a URL, or where `edited` would make it."""
    return _work(url) / "processed" if _read_index(url) is None else fetched(url, anew=True)


@contextlib.contextmanager
def edited(url: str) -> Iterator[str]:
    """Give a local folder with what stands at a URL, which is sent there when the block ends well.

    The folder, empty where nothing stands there yet, is kept for the next time, as is what lies
    beside it.

    Raises:
        StorageError: the file system is read-only, cannot be reached, or refuses.
    """
    _remote.check_writable(f"{_remote.without_slash(url)}/{INDEX}")
    work = _work(url)
    folder, last = work / "processed", work / "last"
    there = _read_index(url)
    then = last.read_text(encoding="utf-8") if last.is_file() else ""
    if there is not None and (then != there.name or not folder.is_dir()):
        found = fetched(url, anew=True)
        with atomic_dir(folder) as aside:
            shutil.copytree(found, aside, dirs_exist_ok=True)
    elif there is None:
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    yield str(folder)
    index = _send(folder, url, there)
    with atomic_write(last) as handle:
        handle.write(index.name)
    _fetched.pop(url, None)


def _send(folder: Path, url: str, there: _Index | None) -> _Index:
    base = _remote.without_slash(url)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = {path.relative_to(folder).as_posix(): path for path in files}
    kept = {name: path for name, path in kept.items() if not _is_hidden(name)}
    index = _Index.of({name: sha256_of(path) for name, path in kept.items()})
    if there is not None and index.name == there.name:
        _sweep(base, index)
        return index
    for name, path in kept.items():
        _remote.send(path, f"{base}/{index.folder}/{name}")
    with atomic_write(f"{base}/{INDEX}") as handle:
        json.dump({"schema": _SCHEMA, "files": index.files}, handle, indent=1)
    if there is not None:
        _remote.remove_folder(f"{base}/{there.folder}")
    _sweep(base, index)
    return index


def _sweep(base: str, index: _Index) -> None:
    """Remove what killed uploads left: generations that nobody touched for `_ABANDONED`.

    Compared are times of the server alone. Where it tells none, all stays; so does a generation
    that another process sends at the moment.
    """
    with contextlib.suppress(StorageError):
        there = _remote.listed(base)
        now = there[INDEX].changed if INDEX in there else None
        for name, entry in there.items():
            if not (entry.is_folder and _GENERATION.fullmatch(name)) or name == index.folder:
                continue
            times = _remote.files_below(f"{base}/{name}").values()
            if now is None or not times:
                continue
            if all(each is not None and now - each > _ABANDONED for each in times):
                _remote.remove_folder(f"{base}/{name}")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _fetch(url: str, index: _Index, target: Path) -> None:
    with atomic_dir(target) as aside:
        for name, digest in index.files.items():
            base = _remote.without_slash(url)
            _remote.fetch_to(f"{base}/{index.folder}/{name}", aside / name)
            if sha256_of(aside / name) != digest:
                raise DataError(f"{url}: {name} is not what was written (its SHA-256 differs)")


def _is_whole(folder: Path, index: _Index) -> bool:
    """Return whether a folder holds what an index tells, to the byte."""
    names = index.files.items()
    return folder.is_dir() and all(
        (folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in names
    )


def _read_index(url: str) -> _Index | None:
    """Return what a URL holds; None where nothing is there."""
    with tempfile.TemporaryDirectory(prefix="dlk-fetched-") as folder:
        file = Path(folder, INDEX)
        try:
            _remote.fetch_to(f"{_remote.without_slash(url)}/{INDEX}", file)
        except FileNotFoundError:
            return None
        try:
            return _parsed(file.read_bytes())
        except (ValueError, KeyError, TypeError) as error:
            where = f"{redact(url)}/{INDEX}"
            raise DataError(
                f'{where} is damaged: expected "schema": "{_SCHEMA}" and files, {error}'
            ) from error


def _parsed(content: bytes) -> _Index:
    read: Any = json.loads(content)  # Any: whatever JSON can hold
    if read["schema"] != _SCHEMA:
        raise ValueError(f"got {read['schema']!r}")
    files: dict[str, str] = dict(read["files"])
    for name, digest in files.items():
        if not is_inside(name, digest):
            raise ValueError(f"got the file {name!r}")
    if both := file_and_folder(files):
        raise ValueError(f"got {both!r} as a file and as a folder")
    return _Index.of(files)


def is_inside(name: object, digest: object) -> bool:
    """Return whether a name is one of a file below a folder, on any system."""
    if not isinstance(name, str) or not isinstance(digest, str) or set("\\:\0") & set(name):
        return False
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and str(path) == name


def file_and_folder(names: Collection[str]) -> str:
    """Return a file that others have as a folder above them; empty where there is none."""
    above = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    return min(above.intersection(names), default="")


def _work(url: str) -> Path:
    return cache_folder() / "work" / digest_of_url(url)


def digest_of_url(url: str) -> str:
    """Return a name for what lies at a URL."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """Return where copies of what lies at URLs are kept, on this machine."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home, "dlk")
