"""Sending what a run wrote to its URL: by a thread while training goes on, and at its end.

The thread takes a snapshot of the folder between two jobs of who writes it: files that are only
ever replaced get a second name, files that grow are copied. So training waits for neither network
nor disk, and a snapshot is what a kill at that moment would have left.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk import _remote
from dlk._remote_run import (
    HEAD,
    INDEX,
    OBJECTS,
    OWNER,
    SENT,
    Index,
    Stored,
    Tell,
    is_own,
    read_index,
)
from dlk.errors import DlkError, StateWarning, StorageError, redact
from dlk.io import sha256_of

if TYPE_CHECKING:
    from dlk._remote_run import RemoteRun

__all__ = ["Mirror"]

PAUSES = (2.0, 10.0)
"""Seconds between the tries of the last upload."""
_REPLACED = (".ckpt", ".state", ".safetensors")
"""Files that nobody writes to once they have their name."""
_STAGING = ".snapshot-"
_FOLDERS = ("bundle", "metrics", "source")
_FILES = (*HEAD, "error.txt", "metrics.jsonl")
"""What lies under its own name once a run is done. It stays for no snapshot that has not got it."""


class _LaterError(Exception):
    """A newer snapshot is to be taken instead."""


class Mirror:
    """Keeps a run's URL up to date with its folder. A context: entered while files are changed.

    Args:
        run: the run, whose lease is held.
        tell: takes a line on what goes on.
        in_background: false: nothing is sent before `finish`.
    """

    def __init__(self, run: RemoteRun, tell: Tell, *, in_background: bool = True) -> None:
        self.run = run
        self._tell = tell
        self._lock = threading.RLock()
        self._changed = threading.Event()
        self._ends = False
        self._warns = True
        self._digests: dict[tuple[int, int, int], str] = {}
        self._plain: dict[str, str] = {}  # what lies under its own name, and its SHA-256
        self._ours = run.sent()  # snapshots that may stand at the URL
        self._newest: Index | None = None
        self._is_swept = True
        for left in Path(run.dir).glob(f"{_STAGING}*"):
            shutil.rmtree(left, ignore_errors=True)
        run.note(self._ours)
        self._thread = threading.Thread(target=self._work, name="dlk-mirror", daemon=True)
        if in_background:
            self._thread.start()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._changed.set()

    def changed(self) -> None:
        """Have a snapshot taken, as soon as none is on its way."""
        self._changed.set()

    def finish(self, *, is_done: bool) -> None:
        """Send all that is there, and wait for it.

        Args:
            is_done: whether the run came to its end, so that readers are to find it.

        Raises:
            StorageError: it could not be sent; it is all in the local folder.
        """
        self._ends = True
        self._changed.set()
        try:
            if self._thread.is_alive():
                self._thread.join()
            for pause in (*PAUSES, None):
                try:
                    self._snapshot(is_done=is_done, is_last=True)
                    break
                except (DlkError, OSError) as error:
                    if pause is None or self.run.lease.lost:
                        then = "`dlk train FIT --resume` sends what is missing"
                        if self.run.lease.lost:
                            then = "copy what you need of it: the next run to there removes it"
                        raise StorageError(
                            f"run {self.run.name} could not be sent to {self.run.url}: "
                            f"{_reason(error)}. All of it is in {self.run.dir}; {then}"
                        ) from error
                    time.sleep(pause)
        finally:
            self.run.lease.release()

    # The thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            if self._ends:
                return
            try:
                self._snapshot(is_done=False, is_last=False)
                self._warns = True
            except _LaterError:
                continue
            except Exception as error:  # noqa: BLE001 - file systems raise errors of their own
                self._warn(error)
            if self.run.lease.lost:
                return

    def _warn(self, error: Exception) -> None:
        """Warn once, until it goes well again."""
        if not self._warns:
            return
        self._warns = False
        after = "training goes on, and it is tried again with the next state or checkpoint"
        if self.run.lease.lost:
            after = "training goes on here alone"
        with suppress(StateWarning):  # where warnings are errors, nobody would catch it here
            warnings.warn(
                f"run {self.run.name} cannot be sent to {redact(self.run.url)}: {_reason(error)}; "
                f"all of it is in {self.run.dir}, {after}",
                StateWarning,
                stacklevel=2,
            )

    # Snapshots ------------------------------------------------------------------------------------

    def _snapshot(self, *, is_done: bool, is_last: bool) -> None:
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=self.run.dir) as folder:
            with self._lock:
                if not Path(self.run.dir, SENT).is_file():
                    raise StorageError(f"{self.run.dir} was removed while the run went on")
                staged = dict(_staged(Path(self.run.dir), Path(folder)))
            files = {name: self._stored(name, path, is_done) for name, path in staged.items()}
            if self._newest is None or self._newest.files != files:
                self._send(files, staged, is_last=is_last)
        for _ in range(2 if is_last else 1):
            with suppress(StorageError, OSError):  # the next one tries again
                self._sweep()

    def _stored(self, name: str, path: Path, is_done: bool) -> Stored:
        info = path.stat()
        key = (info.st_ino, info.st_size, info.st_mtime_ns)
        digest = self._digests.get(key) if path.suffix in _REPLACED else None
        if digest is None:
            digest = sha256_of(path)
            if path.suffix in _REPLACED:
                self._digests[key] = digest
        plain = is_done and _has_own_name(name)
        return Stored(digest, info.st_size, name if plain else f"{OBJECTS}/{digest}")

    def _send(self, files: dict[str, Stored], staged: dict[str, Path], *, is_last: bool) -> None:
        url = self.run.url
        self._check_ours()
        there = {name: entry.size for name, entry in _remote.listed(f"{url}/{OBJECTS}").items()}
        there = {f"{OBJECTS}/{name}": size for name, size in there.items()}
        missing: dict[str, tuple[Path, Stored]] = {}
        for name in sorted(files, key=_order):
            each = files[name]
            if each.place.startswith(f"{OBJECTS}/"):
                is_there = there.get(each.place, -1) in (each.size, None)
            else:
                is_there = self._plain.get(each.place) == each.sha256
            if not is_there:
                missing.setdefault(each.place, (staged[name], each))
        manifest = "bundle/bundle.json"
        if manifest in missing and len(missing) > 1 and manifest not in self._plain:
            _remote.remove_file(f"{url}/{manifest}")  # of other files than those that come now
        with _progress(self.run.name, missing, self._tell, is_shown=is_last) as advance:
            for place, (path, each) in missing.items():
                if self._ends and not is_last:
                    raise _LaterError
                _remote.send(path, f"{url}/{place}")
                if not place.startswith(f"{OBJECTS}/"):
                    self._plain[place] = each.sha256
                advance(each.size)
        head = {name: _json(staged[name]) for name in HEAD if name in staged}
        index = Index(files, head)
        self.run.lease.look()
        self._check_ours()
        self._ours.append(index.snapshot)
        self.run.note(self._ours)
        with tempfile.TemporaryDirectory(prefix="dlk-sent-") as folder:
            file = Path(folder, INDEX)
            file.write_text(index.text(), encoding="utf-8")
            _remote.send(file, f"{url}/{INDEX}")
        self._newest = index
        self.run.note([index.snapshot])
        self._is_swept = False

    def _check_ours(self) -> None:
        """Refuse to replace what another machine wrote; see which of the snapshots is there."""
        lease = self.run.lease
        if not lease.lost:
            index = read_index(self.run.url)
            if index is None or index.snapshot in self._ours:
                self._ours = [] if index is None else [index.snapshot]
                return
            lease.lost = f"another process, at {index.taken}"
        raise StorageError(f"it was gone on with by {lease.lost}")

    def _sweep(self) -> None:
        """Remove what no snapshot knows any more, and what broken uploads left."""
        if self._is_swept or self._newest is None:
            return
        url = self.run.url
        places = {each.place for each in self._newest.files.values()}
        for name in sorted(_remote.files_below(url), key=_order, reverse=True):
            last = name.rpartition("/")[2]
            was_broken = last.startswith(".") and last.endswith((".part", ".old"))
            was_broken = was_broken and ("/" not in name or _is_ours(name))
            is_old = _is_ours(name) and name not in places
            # owner.json is written meanwhile
            if is_old or (was_broken and not name.startswith(f".{OWNER}.")):
                _remote.remove_file(f"{url}/{name}")
        self._is_swept = True


def _staged(run_dir: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a run by name, each with a path where it stays what it is."""
    number = 0
    for here, folders, names in os.walk(run_dir):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for each in sorted(names):
            path = Path(here, each)
            name = path.relative_to(run_dir).as_posix()
            if is_own(name):
                continue
            number += 1
            kept = folder / f"{number}{path.suffix}"
            try:
                if path.suffix in _REPLACED:
                    _link(path, kept)
                else:
                    shutil.copyfile(path, kept)
            except FileNotFoundError:  # gone meanwhile
                continue
            if name == "metrics.jsonl":
                _cut_to_lines(kept)
            yield name, kept


def _link(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(path, kept)


def _cut_to_lines(path: Path) -> None:
    """Leave out a last line that was being written."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def _has_own_name(name: str) -> bool:
    """Return whether a file lies under its own name once the run is done."""
    if name in (INDEX, OWNER) or name.startswith((f"{OBJECTS}/", "checkpoint/", "state/")):
        return False
    return "/" in name or not name.endswith(".safetensors")


def _is_ours(name: str) -> bool:
    """Return whether a snapshot may have put a file there; runs of longer names lie below too."""
    if "/" in name:
        return name.partition("/")[0] in (OBJECTS, *_FOLDERS)
    return name in _FILES


def _order(name: str) -> tuple[bool, bool, str]:
    """What says that something is whole comes last."""
    return name == "result.json", name == "bundle/bundle.json", name


def _json(path: Path) -> Any:
    import json

    return json.loads(path.read_text(encoding="utf-8"))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, DlkError) else redact(f"{type(error).__name__}: {error}")


@contextmanager
def _progress(
    name: str, missing: dict[str, tuple[Path, Stored]], tell: Tell, *, is_shown: bool
) -> Iterator[Any]:
    """Say what is sent, and on a terminal how far it is; gives what is told the bytes sent."""
    total = sum(each.size for _, each in missing.values())
    if not is_shown or not missing:
        yield int  # which does nothing with it
        return
    tell(f"run {name}: sends {len(missing)} files, {total / 1e6:,.1f} MB")
    from tqdm import tqdm  # type: ignore[import-untyped]

    bar = tqdm(total=total, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty())
    with bar:
        yield bar.update
