"""Files on other file systems, by URL: fetched whole, sent aside and moved into place.

Any file system of fsspec. Where a file is read, all of it is fetched first, so that a connection
that breaks is an error and never a shorter file.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from ftplib import error_temp
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from dlk.errors import DlkError, StorageError, redact

__all__ = [
    "Entry",
    "check_writable",
    "exists",
    "fetch",
    "fetch_to",
    "files_below",
    "glob",
    "knows_folders",
    "listed",
    "make_folder",
    "remove_file",
    "remove_folder",
    "rename_folder",
    "send",
    "without_slash",
]

_SESSIONS = frozenset({"ftp"})
"""A connection is made for each use: an old one may have ended, and its listings are of then."""
_READ_ONLY = frozenset({"http", "https", "github", "data", "zip", "tar", "libarchive"})
_APPEAR_WHOLE = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "hf"}
)
"""Stores of objects: a file is there once its upload ended. They cannot rename."""
_UNSIZED = frozenset({"http", "https"})
"""What is told of a size may be that of a compressed answer; a cut answer is an error anyway."""
_STAMPS = ("mtime", "modify", "LastModified", "last_modified", "updated", "created", "ETag", "etag")
_TIMES = ("mtime", "modify", "LastModified", "last_modified", "updated", "created")
_BREAKS = (ConnectionError, EOFError, TimeoutError, error_temp)
"""What a connection that breaks raises; another one may do."""
_KEPT = 8
"""Fetched files that are kept for the next reading, while they stay what they are over there."""


def protocol_of(url: str) -> str:
    """Return the protocol of the file system that a URL names last, such as ``ftp``."""
    return url.partition("://")[0].rpartition("::")[2].lower()


def without_slash(url: str) -> str:
    """Return the URL of a folder without a slash at its end, but for the root of a file system."""
    start, slashes, inner = url.partition("://")
    return f"{start}{slashes}{inner.rstrip('/')}"


def fetch(url: str) -> Path:
    """Return a local copy of a file, not to be changed. One that stayed the same is fetched once.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    with _telling(url, "read"):
        system, inner = _system(url)
        stamp = _stamp(system, inner, url)
        kept = _spool.kept(url, stamp)
        if kept is not None:
            return kept
        target = _spool.new()
        _get(system, inner, target, stamp[0])
        _spool.keep(url, stamp, target)
        return target


def fetch_to(url: str, target: str | os.PathLike[str]) -> None:
    """Fetch a file to a local path, folders on the way made; raises as `fetch`."""
    with _telling(url, "read"):
        system, inner = _system(url)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        _get(system, inner, Path(target), _stamp(system, inner, url)[0])


def check_writable(url: str) -> None:
    """Refuse at once what `send` would refuse in the end, and make the folders on the way.

    Raises:
        StorageError: the file system is read-only or cannot be reached, or refuses a folder.
    """
    protocol = protocol_of(url)
    if protocol in _READ_ONLY:
        raise StorageError(f"cannot write {url}: {protocol} is read-only; write to a path or ftp")
    with _telling(url, "write"):
        system, inner = _system(url)
        folder = inner.rpartition("/")[0]
        if folder:
            system.makedirs(folder, exist_ok=True)


def send(path: str | os.PathLike[str], url: str) -> None:
    """Let a local file stand at a URL, whole; where that fails, what stood there stays.

    It is sent under another name beside the target, its size looked at, then moved; stores of
    objects show a file only once it is whole anyway. A connection that breaks is tried once more.

    Raises:
        StorageError: it could not be sent.
    """
    check_writable(url)
    with _telling(url, "write"):
        try:
            _put(os.fspath(path), url)
        except _BREAKS:
            _put(os.fspath(path), url)


def remove_folder(url: str) -> None:
    """Remove a folder with what is in it; where that fails it stays."""
    with contextlib.suppress(Exception):
        system, inner = _system(url)
        for path in system.find(inner):
            system.rm_file(path)
        for path in sorted(system.find(inner, withdirs=True), key=len, reverse=True):
            system.rmdir(path)
        system.rmdir(inner)


def remove_file(url: str) -> None:
    """Remove a file; it may be gone already.

    Raises:
        StorageError: it is there, and cannot be removed.
    """
    with _telling(url, "write"):
        system, inner = _system(url)
        if system.exists(inner):
            with contextlib.suppress(FileNotFoundError):  # by somebody else, meanwhile
                system.rm_file(inner)


def knows_folders(url: str) -> bool:
    """Return whether the protocol makes folders, so that one of several who try is the first."""
    return protocol_of(url) not in _APPEAR_WHOLE


def make_folder(url: str) -> bool:
    """Make a folder below one that is there; return false where it is there already.

    Of several that try at once one is told that it made it, but by stores of objects, which know no
    folders: there everybody is who found nothing.

    Raises:
        StorageError: it cannot be made.
    """
    with _telling(url, "write"):
        system, inner = _system(url)
        try:
            if not knows_folders(url):
                return not system.exists(inner)
            system.mkdir(inner, create_parents=False)
        except Exception:
            system.invalidate_cache()
            if system.exists(inner):
                return False
            raise
        return True


def rename_folder(url: str, to: str, *, first: str) -> None:
    """Let a folder stand at another URL, where nothing is.

    Where the protocol cannot rename, its files are copied, then removed: the one named `first` is
    the last to be there, and the first that is gone.

    Raises:
        StorageError: it could not be renamed.
    """
    from fsspec.spec import AbstractFileSystem

    with _telling(to, "write"):
        system, inner = _system(url)
        target = _system(to)[1]
        if type(system).mv is not AbstractFileSystem.mv and knows_folders(url):
            system.mv(inner, target)
            return
        names = [name[len(inner) :] for name in system.find(inner)]
        names.sort(key=lambda name: name == f"/{first}")
        for name in names:
            system.makedirs(f"{target}{name}".rpartition("/")[0], exist_ok=True)
            system.cp_file(f"{inner}{name}", f"{target}{name}")
        for name in reversed(names):
            system.rm_file(f"{inner}{name}")
    remove_folder(url)


class Entry(NamedTuple):
    """What a folder holds: its size where it is a file, and when it changed, as far as is told."""

    is_folder: bool
    size: int | None
    changed: datetime | None


def listed(url: str) -> dict[str, Entry]:
    """Return what stands in a folder, by name; nothing where there is no such folder.

    Raises:
        StorageError: it cannot be read.
    """
    with _telling(url, "read"):
        system, inner = _system(url)
        try:
            found = system.ls(inner, detail=True)
        except FileNotFoundError:
            return {}
        return {
            str(info["name"]).rstrip("/").rpartition("/")[2]: Entry(
                info.get("type") == "directory", info.get("size"), _changed(info)
            )
            for info in found
            if str(info["name"]).rstrip("/") != inner.rstrip("/")
        }


def files_below(url: str) -> dict[str, datetime | None]:
    """Return the files below a folder, and when each changed, as far as is told.

    Raises:
        StorageError: it cannot be read.
    """
    with _telling(url, "read"):
        system, inner = _system(url)
        start = len(inner.rstrip("/")) + 1
        found = system.find(inner, detail=True)
        return {str(name)[start:]: _changed(info) for name, info in found.items()}


def _changed(info: dict[str, Any]) -> datetime | None:
    """Return when a file changed, as its file system tells it."""
    told = next((info[name] for name in _TIMES if info.get(name)), None)
    try:
        if isinstance(told, datetime):
            return told if told.tzinfo else told.replace(tzinfo=UTC)
        if isinstance(told, (int, float)):
            return datetime.fromtimestamp(told, UTC)
        if isinstance(told, str) and told[:14].isdigit():  # ftp: 20261123235959
            return datetime.strptime(told[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return datetime.fromisoformat(told).astimezone(UTC) if isinstance(told, str) else None
    except (ValueError, OverflowError):
        return None


def exists(url: str) -> bool:
    """Return whether a file or folder stands at a URL."""
    with _telling(url, "read"):
        system, inner = _system(url)
        return bool(system.exists(inner))


def glob(pattern: str) -> list[str]:
    """Return the URLs that a pattern fits, sorted; user and password are those of the pattern."""
    with _telling(pattern, "read"):
        system, inner = _system(pattern)
        if not pattern.endswith(inner):
            return sorted(system.unstrip_protocol(name) for name in system.glob(inner))
        # fsspec itself would leave out the host of an ftp server
        before = pattern.removesuffix(inner)
        return sorted(f"{before}{name}" for name in system.glob(inner))


def _put(path: str, url: str) -> None:
    system, inner = _system(url)
    size = os.path.getsize(path)
    if protocol_of(url) in _APPEAR_WHOLE:
        system.put_file(path, inner)
        return
    folder, slash, name = inner.rpartition("/")
    aside = f"{folder}{slash}.{name[:80]}.{secrets.token_hex(6)}.part"
    try:
        system.put_file(path, aside)
        sent = system.info(aside).get("size")
        if sent is not None and sent != size:
            raise ConnectionError(f"{sent} of {size} bytes arrived")
        _move(system, aside, inner)
    except BaseException:
        # by a connection of its own: that one may be what failed
        with contextlib.suppress(Exception):
            again, _ = _system(url)
            again.rm_file(aside)
        raise


def _move(system: Any, aside: str, inner: str) -> None:  # Any: a file system of fsspec
    """Move a file to where another may stand."""
    try:
        system.mv(aside, inner)
        return
    except _BREAKS:
        raise
    except Exception:
        if not system.exists(inner):
            raise
    # servers may refuse to replace: for an instant there is neither, and the old one beside it
    old = f"{aside.removesuffix('.part')}.old"
    system.mv(inner, old)
    try:
        system.mv(aside, inner)
    except BaseException:
        system.mv(old, inner)
        raise
    system.rm_file(old)


def _get(system: Any, inner: str, target: Path, size: int | None) -> None:
    aside = target.with_name(f"{target.name}.part")
    try:
        if "ftp" in system.protocol:  # which leaves a file that it opens itself open where it fails
            with aside.open("wb") as handle:
                system.get_file(inner, handle)
        else:
            system.get_file(inner, str(aside))
        if size is not None and aside.stat().st_size != size:
            raise ConnectionError(f"{aside.stat().st_size} of {size} bytes arrived")
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def _stamp(system: Any, inner: str, url: str) -> tuple[int | None, str]:
    """Return a file's size where it is sure, and what would change with its content."""
    info = system.info(inner)
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "it is a folder", redact(url))
    size = None if protocol_of(url) in _UNSIZED else info.get("size")
    stamps = [str(info[name]) for name in _STAMPS if info.get(name)]
    return size, " ".join([*stamps, str(info.get("size"))]) if stamps else ""


def _system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and its path there."""
    import fsspec

    options: dict[str, Any] = {}
    if protocol_of(url) in _SESSIONS:
        options["skip_instance_cache"] = True
        start, login, rest = _parted(url)
        if login:  # fsspec leaves user and password percent-encoded
            user, _, password = login.partition(":")
            options |= {"username": unquote(user), "password": unquote(password)}
            url = start + rest
    system, inner = fsspec.core.url_to_fs(url, **options)
    system.invalidate_cache()
    return system, str(inner)


def _parted(url: str) -> tuple[str, str, str]:
    """Return a URL's protocol, user with password, and the rest."""
    protocol, _, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    login, _, host = host.rpartition("@")
    return f"{protocol}://", login, f"{host}{slash}{path}"


@contextlib.contextmanager
def _telling(url: str, what: str) -> Iterator[None]:
    """Give what a file system raises as an error that names the URL, and no password."""
    try:
        yield
    except (DlkError, IsADirectoryError):
        raise
    except FileNotFoundError as error:
        shown = redact(url)
        raise FileNotFoundError(errno.ENOENT, "there is no such file", shown) from error
    except Exception as error:  # noqa: BLE001 - each file system raises errors of its own
        reason = _without_secrets(" ".join(str(error).split()) or type(error).__name__, url)
        hint = ""
        if isinstance(error, ImportError):
            hint = f'; it needs what `pip install "fsspec[{protocol_of(url)}]"` brings'
        elif reason.startswith("530"):
            hint = ": the server refuses this user or password"
        elif reason.startswith(("550", "553")) or isinstance(error, PermissionError):
            hint = ": the user may not do this there"
        # the cause may show the URL in a traceback
        cause = error if reason == " ".join(str(error).split()) else None
        raise StorageError(f"cannot {what} {redact(url)}: {reason}{hint}") from cause


def _without_secrets(reason: str, url: str) -> str:
    password = urlsplit(url.rpartition("::")[2]).password
    for secret in {password, unquote(password)} if password else ():
        reason = reason.replace(secret, "***")
    return redact(reason)


class _Spool:
    """A private folder of fetched files, removed when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._owner = 0
        self._files: OrderedDict[str, tuple[tuple[int | None, str], Path]] = OrderedDict()

    def new(self) -> Path:
        """Return a name for a file."""
        with self._lock:
            if self._folder is None or self._owner != os.getpid():  # a fork has its own
                self._folder, self._owner = (
                    Path(tempfile.mkdtemp(prefix="dlk-fetched-")),
                    os.getpid(),
                )
                self._files.clear()
                atexit.register(_remove, self._folder, self._owner)
            return self._folder / secrets.token_hex(8)

    def kept(self, url: str, stamp: tuple[int | None, str]) -> Path | None:
        """Return the copy of a file that did not change since; None where that is not known."""
        with self._lock:
            then, path = self._files.get(url, (None, None))
            if path is None or not stamp[1] or then != stamp or not path.is_file():
                return None
            self._files.move_to_end(url)
            return path

    def keep(self, url: str, stamp: tuple[int | None, str], path: Path) -> None:
        """Remember a copy; the one that was not read for longest goes."""
        with self._lock:
            old = self._files.pop(url, None)
            self._files[url] = stamp, path
            gone = [old[1]] if old else []
            while len(self._files) > _KEPT:
                gone.append(self._files.popitem(last=False)[1][1])
        for each in gone:
            each.unlink(missing_ok=True)


def _remove(folder: Path, owner: int) -> None:
    if owner == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)


_spool = _Spool()
