"""Reading and writing that never leaves half a file. Local paths and any fsspec URL.

A local file is written aside, flushed to disk and renamed, so a reader sees the old content or the
new, never a part. A file on another file system is written to a local one first, and sent when it
is whole: aside and moved, where the protocol can rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = [
    "atomic_dir",
    "atomic_write",
    "exists",
    "glob",
    "is_alive",
    "is_remote",
    "local_folder",
    "local_path",
    "open_file",
    "sha256_of",
]

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a URL of another file system (``s3://…``), not a local path."""
    text = os.fspath(path)
    return "://" in text and not text.startswith("file://")


def local_path(path: str | os.PathLike[str]) -> str:
    """Return a path where it is given as a URL of this machine (``file:///data``); else as it is.

    Whoever takes a path or URL and does not hand it to this module only, asks here first.
    """
    return os.fspath(path).removeprefix("file://")


def open_file(
    path: str | os.PathLike[str], mode: str = "r", encoding: str | None = None
) -> IO[Any]:
    """Open a local path or a URL; text is UTF-8 unless `encoding` says otherwise.

    A URL is read from a local copy: all of it was fetched before the first byte is given.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the URL cannot be read.
    """
    if "b" not in mode:
        encoding = encoding or "utf-8"
    if not is_remote(path):
        return open(_local(path), mode, encoding=encoding)
    if mode not in {"r", "rb"}:
        raise ValueError(f"a URL is opened with 'r' or 'rb', and written by atomic_write: {mode!r}")
    from dlk._remote import fetch

    return open(fetch(os.fspath(path)), mode, encoding=encoding)


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether the file or folder exists."""
    if not is_remote(path):
        return _local(path).exists()
    from dlk import _remote

    return _remote.exists(os.fspath(path))


def glob(pattern: str | os.PathLike[str]) -> list[str]:
    """Return the paths, or URLs, that a pattern of ``*``, ``?`` and ``**`` fits, sorted."""
    if not is_remote(pattern):
        import glob as local

        return sorted(local.glob(str(_local(pattern)), recursive=True))
    from dlk import _remote

    return _remote.glob(os.fspath(pattern))


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears whole or not at all; folders on the way are made.

    A file that is replaced keeps its permissions. What killed writers left aside is removed by the
    next successful write of the same path.

    Args:
        path: where the file is to stand.
        mode: ``"w"`` for UTF-8 text or ``"wb"``.

    Raises:
        StorageError: a URL cannot be written.
    """
    if mode not in {"w", "wb"}:
        raise ValueError(f"atomic_write opens with 'w' or 'wb', got {mode!r}")
    encoding = None if "b" in mode else "utf-8"
    if is_remote(path):
        import tempfile

        from dlk._remote import check_writable, send

        check_writable(os.fspath(path))  # before any work is done
        with tempfile.TemporaryDirectory(prefix="dlk-sent-") as folder:
            whole = Path(folder, "whole")
            with open(whole, mode, encoding=encoding) as handle:
                yield handle
            send(whole, os.fspath(path))
        return
    target = _target(path)
    aside = _aside(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(aside, flags, 0o666)
    try:
        with os.fdopen(descriptor, mode, encoding=encoding) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, aside)
        os.replace(aside, target)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            error.filename = str(target)  # a write names no file
        raise
    _sweep(target)


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to fill, which replaces `path` when the block ends well; else it is removed.

    On Linux the two folders change places in one step, so a process killed at any moment leaves the
    old folder or the new one. Elsewhere there is an instant with neither; the old folder then still
    stands beside it as ``.NAME.*.part``. What killed writers left aside is removed by the next
    successful write of the same path.

    Raises:
        NotADirectoryError: a file stands at `path`.
    """
    target = _target(path)
    if target.is_file():
        raise NotADirectoryError(f"{target} is a file, not a folder")
    aside = _aside(target)
    aside.mkdir()
    try:
        yield aside
        try:
            os.replace(aside, target)  # there is nothing yet, or an empty folder
        except OSError:
            _exchange(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _sweep(target)


def local_folder(path: str | os.PathLike[str], *, anew: bool = False) -> str:
    """Return a folder of processed data as a local path; that of a URL is fetched, and kept.

    Args:
        path: the folder, or the URL that Process wrote to.
        anew: whether this process is to see what was written since it fetched the folder.

    Raises:
        DataError: the URL holds no such folder, or a damaged one.
        StorageError: it cannot be reached.
    """
    if not is_remote(path):
        return local_path(path)
    from dlk._remote_folder import fetched

    return str(fetched(os.fspath(path), anew=anew))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 in hex, read in blocks."""
    import hashlib

    digest = hashlib.sha256()
    with open_file(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _local(path: str | os.PathLike[str]) -> Path:
    return Path(local_path(path))


def _target(path: str | os.PathLike[str]) -> Path:
    """Return where a path leads, links followed; the folder above it is made."""
    target = Path(os.path.realpath(_local(path)))
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _aside(target: Path) -> Path:
    """Return a new name beside `target` that tells which process writes there."""
    own = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f"{_prefix(target)}{own}.part")


def _prefix(target: Path) -> str:
    return f".{target.name[:80]}."


def _sweep(target: Path) -> None:
    """Remove what killed processes of this host left beside `target`."""
    host, prefix = socket.gethostname(), _prefix(target)
    with os.scandir(target.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(".part")]
    for name in names:
        owner, _, rest = name.removeprefix(prefix).removesuffix(".part").rpartition("-")
        left_host, _, pid = owner.rpartition("-")
        if left_host != host or not rest or not pid.isdigit() or is_alive(int(pid)):
            continue
        left = target.with_name(name)
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change places, in one step where the system can."""
    if sys.platform == "linux":
        import ctypes

        at_fdcwd, rename_exchange = -100, 2  # <fcntl.h>, <linux/fs.h>
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if renameat2 is not None:
            source, target = (ctypes.c_char_p(os.fsencode(path)) for path in (new, old))
            if renameat2(at_fdcwd, source, at_fdcwd, target, rename_exchange) == 0:
                return
    retired = _aside(old)
    os.replace(old, retired)
    os.replace(new, old)
    shutil.rmtree(retired, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Return whether a process of this host goes on; one that ended and is not reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # not Linux, or gone meanwhile
        return True
    return state[:1] != ["Z"]
