"""Reading and writing that never leaves half a file. Local paths and any fsspec URL.

A local file is written aside, flushed to disk and renamed, so a reader sees the old content or the new, never a
part. Other file systems are written through fsspec, whose own upload decides what a reader may see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["atomic_dir", "atomic_write", "exists", "is_remote", "open_file", "sha256_of"]


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether `path` is a URL of another file system (``s3://…``), not a local path."""
    text = os.fspath(path)
    return "://" in text and not text.startswith("file://")


def _local(path: str | os.PathLike[str]) -> Path:
    return Path(os.fspath(path).removeprefix("file://"))


def open_file(path: str | os.PathLike[str], mode: str = "r", encoding: str | None = None) -> IO[Any]:
    """Open a local path or a URL; text is UTF-8 unless `encoding` says otherwise."""
    if "b" not in mode:
        encoding = encoding or "utf-8"
    if not is_remote(path):
        return open(_local(path), mode, encoding=encoding)
    import fsspec

    handle: IO[Any] = fsspec.open(os.fspath(path), mode, encoding=encoding).open()
    return handle


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether the file or folder exists."""
    if not is_remote(path):
        return _local(path).exists()
    import fsspec

    fs, inner = fsspec.core.url_to_fs(os.fspath(path))
    return bool(fs.exists(inner))


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears whole or not at all; folders on the way are made.

    Args:
        path: where the file is to stand.
        mode: ``"w"`` for UTF-8 text or ``"wb"``.
    """
    if mode not in {"w", "wb"}:
        raise ValueError(f"atomic_write opens with 'w' or 'wb', got {mode!r}")
    if is_remote(path):
        with open_file(path, mode) as handle:
            yield handle
        return
    target = _local(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
        raise


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to fill that replaces `path` when the block ends well, and is removed when it raises.

    On Linux the two folders change places in one step, so a process killed at any moment leaves the old folder or
    the new one. Elsewhere there is an instant with neither; the old folder then still stands as ``.NAME.*.part``.
    What killed writers left aside is removed by the next successful write of the same path.
    """
    target = _local(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.{os.getpid()}."
    aside = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=target.parent))
    os.chmod(aside, 0o777 & ~_umask())
    try:
        yield aside
        if target.exists():
            _exchange(aside, target)
        else:
            os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for left in target.parent.glob(f".{target.name}.*.part"):
        owner = left.name.removeprefix(f".{target.name}.").partition(".")[0]
        if not owner.isdigit() or not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change places, in one step where the system can."""
    if sys.platform == "linux":
        import ctypes

        at_fdcwd, rename_exchange = -100, 2  # <fcntl.h>, <linux/fs.h>
        renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if renameat2 is not None:
            names = (ctypes.c_char_p(os.fsencode(new)), ctypes.c_char_p(os.fsencode(old)))
            if renameat2(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange) == 0:
                return
    retired = new.with_name(new.name.removesuffix(".part") + ".old.part")
    os.replace(old, retired)
    os.replace(new, old)
    shutil.rmtree(retired, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the file's SHA-256 in hex, read in blocks."""
    import hashlib

    digest = hashlib.sha256()
    with open_file(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
