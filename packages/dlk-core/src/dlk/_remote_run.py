"""Runs at URLs: written to a folder of this machine, from where snapshots of them are sent.

A run's folder at a URL::

    run.json      the newest snapshot: names, SHA-256s and sizes of its files, and where they lie
    objects/      contents of files, named by their SHA-256
    owner.json    who writes the run, while somebody does
    bundle/ …     once the run is done: all but checkpoints, under their own names

All that belongs to a snapshot is there before ``run.json`` is replaced, and what belonged to the
one before goes afterwards. So a reader finds one of them whole, on any file system that replaces
one file whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dlk import _remote
from dlk._remote_folder import cache_folder, digest_of_url, file_and_folder, is_inside
from dlk._run_folder import OWNER as LOCAL_OWNER
from dlk._run_folder import left_weights, refuse_busy
from dlk.errors import DlkError, RunError, StorageError, redact
from dlk.io import atomic_dir, atomic_write, is_alive, sha256_of

__all__ = ["INDEX", "OBJECTS", "OWNER", "Index", "RemoteRun", "RemoteRuns", "Stored", "read_index"]

INDEX = "run.json"
OWNER = "owner.json"
OBJECTS = "objects"
SENT = ".sent"
"""File of a local folder: the snapshots at the URL that were made of it."""
HEAD = ("config.json", "environment.json", "result.json")
"""What tells whether a run is the one that is meant; the index repeats them."""

BEAT = 30.0
"""Seconds between two signs of life of who writes a run."""
_SILENT = 3
"""Who gives no sign of life for so many of them is taken to have ended."""
_LONGEST = 120.0
_SETTLES = 2.0
"""Seconds after which a claim is looked at again, where the protocol makes nobody the first."""
_SCHEMA = "dlk.run/1"
_TRIES = 3
_SHA256 = re.compile(r"[0-9a-f]{64}")

Tell = Callable[[str], None]
"""Takes a line on what goes on."""

_live: set[str] = set()
"""Tokens of the runs that this process writes."""


def _now() -> str:
    """Return the time, as files tell it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Stored(NamedTuple):
    """A file of a snapshot: its content, and where that lies below the run's URL."""

    sha256: str
    size: int
    place: str


@dataclass(frozen=True, slots=True)
class Index:
    """What ``run.json`` tells.

    Attributes:
        files: the files, by name.
        head: content of `HEAD`, as far as they are there.
        snapshot: a name that no other snapshot has.
        taken: when.
    """

    files: Mapping[str, Stored]
    head: Mapping[str, Any]
    snapshot: str = field(default_factory=lambda: secrets.token_hex(8))
    taken: str = field(default_factory=_now)

    @classmethod
    def parse(cls, text: str) -> Index:
        """Return what a text says.

        Raises:
            ValueError: it is none of ours, or names what does not lie below the run.
        """
        try:
            read: Any = json.loads(text)
            if read["schema"] != _SCHEMA:
                raise ValueError(f"got {read['schema']!r}")
            files = {
                name: Stored(each["sha256"], each["size"], each["place"])
                for name, each in dict(read["files"]).items()
            }
            found = cls(files, dict(read["head"]), str(read["snapshot"]), str(read["taken"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it lacks {error}") from error
        for name, each in files.items():
            sound = is_inside(name, each.sha256) and is_inside(each.place, each.sha256)
            if not (sound and _SHA256.fullmatch(each.sha256) and isinstance(each.size, int)):
                raise ValueError(f"got the file {name!r}")
        if both := file_and_folder(files):
            raise ValueError(f"got {both!r} as a file and as a folder")
        return found

    def text(self) -> str:
        """Return it as JSON."""
        files = {name: each._asdict() for name, each in self.files.items()}
        about = {"schema": _SCHEMA, "snapshot": self.snapshot, "taken": self.taken}
        return json.dumps({**about, "head": self.head, "files": files}, indent=1)

    @property
    def is_done(self) -> bool:
        """Whether the run came to its end."""
        result = self.head.get("result.json")
        return isinstance(result, dict) and result.get("state") == "done"


def read_index(url: str) -> Index | None:
    """Return the newest snapshot of a run; None where there is none.

    Raises:
        RunError: the index is damaged.
        StorageError: it cannot be read.
    """
    text = _read(url, INDEX)
    if text is None:
        return None
    try:
        return Index.parse(text)
    except ValueError as error:
        raise RunError(
            f'{url}/{INDEX} is damaged: expected "schema": "{_SCHEMA}", {error}'
        ) from error


def _read(url: str, name: str) -> str | None:
    """Return the text of a file that is replaced from time to time; None where there is none."""
    with tempfile.TemporaryDirectory(prefix="dlk-fetched-") as folder:
        file = Path(folder, "file")
        at = name
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):
                _remote.fetch_to(f"{url}/{at}", file)
                return file.read_text(encoding="utf-8", errors="replace")
            # a server that does not replace files: it is being replaced, or who did so was killed
            at = (_moved_away(url, name) or name) if at == name else name
        return None


def _moved_away(url: str, name: str) -> str:
    """Return the newest of the files that were moved away for a new one; empty where none was."""
    old = {
        each: entry.changed or datetime.min.replace(tzinfo=UTC)
        for each, entry in _remote.listed(url).items()
        if each.startswith(f".{name}.") and each.endswith(".old")
    }
    return max(old, key=lambda each: (old[each], each), default="")


def _write(url: str, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dlk-sent-") as folder:
        file = Path(folder, "file")
        file.write_text(text, encoding="utf-8")
        _remote.send(file, url)


# Who writes ---------------------------------------------------------------------------------------


class _Owner(NamedTuple):
    host: str
    process: int
    machine: str
    token: str
    since: str
    beats: int
    every: float

    def __str__(self) -> str:
        return f"process {self.process} of {self.host}"


class Lease:
    """That this process writes a run: said at the URL, and again and again while it does.

    Args:
        url: the run's.
        machine: what no other machine has.

    Attributes:
        lost: who writes the run instead; empty while nobody does.
    """

    def __init__(self, url: str, machine: str) -> None:
        self.url = url
        self.lost = ""
        self._machine = machine
        self._token = ""
        self._since = ""
        self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, tell: Tell, *, is_first: bool = False) -> None:
        """Say that this process writes the run.

        Where another machine said so and did not take it back, it is given time for a sign of life.
        Two that find nobody write one after the other: both look again once the other must have
        written, and who is not named then leaves it.

        Args:
            tell: takes a line on what goes on.
            is_first: whether this process made the run's folder, which no other one can have then.

        Raises:
            RunError: another process writes there.
        """
        if self._thread is not None:
            return
        other = self._read()
        if other is not None:
            self._wait_for(other, tell)
        self._token, self._since, self._beats = secrets.token_hex(8), _now(), 0
        self.lost = ""
        _live.add(self._token)
        try:
            self._say()
            if not (is_first and _remote.knows_folders(self.url)):
                time.sleep(_SETTLES)
            first = self._read()
            if first is not None and first.token != self._token:
                raise RunError(f"{first} began to write a run to {self.url} just now")
            _sweep(self.url, OWNER)
        except BaseException:
            _live.discard(self._token)
            raise
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="dlk-alive", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Take it back, as far as the URL can be reached."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        _live.discard(self._token)
        with contextlib.suppress(DlkError, OSError):
            owner = self._read()
            if owner is not None and owner.token == self._token:
                _remote.remove_file(f"{self.url}/{OWNER}")
                _sweep(self.url, OWNER)

    def look(self) -> None:
        """See whether another process said that it writes the run: `lost` tells."""
        owner = self._read()
        if owner is not None and owner.token != self._token:
            self.lost = f"{owner}, since {owner.since}"

    def _wait_for(self, other: _Owner, tell: Tell) -> None:
        if other.host == socket.gethostname() and other.machine == self._machine:
            if other.process == os.getpid():
                lives = other.token in _live
            else:
                lives = is_alive(other.process)
            if lives:
                self._refuse(other)
            return
        patience = _SILENT * other.every
        tell(
            f"{other} writes a run to {redact(self.url)} since {other.since}, or was stopped: "
            f"waits {patience:.0f} s for a sign of life"
        )
        until = time.monotonic() + patience
        while time.monotonic() < until:
            time.sleep(other.every / 4)
            found = self._read()
            if found is None:
                return
            if (found.token, found.beats) != (other.token, other.beats):
                self._refuse(found)

    def _refuse(self, other: _Owner) -> None:
        raise RunError(
            f"{other} is writing a run to {self.url}, since {other.since}: wait for it, or give "
            f"another name (if that process is no training, remove {self.url}/{OWNER})"
        )

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                self.look()
                if self.lost:
                    return
                self._beats += 1
                self._say()
            except (DlkError, OSError):
                continue  # the next one may come through

    def _say(self) -> None:
        own = _Owner(
            socket.gethostname(),
            os.getpid(),
            self._machine,
            self._token,
            self._since,
            self._beats,
            BEAT,
        )
        _write(f"{self.url}/{OWNER}", json.dumps(own._asdict()))

    def _read(self) -> _Owner | None:
        text = _read(self.url, OWNER)
        if text is None:
            return None
        try:
            read: Any = json.loads(text)
            found = _Owner(**read)
            every = min(max(float(found.every), 0.01), _LONGEST)
            return found._replace(every=every, process=int(found.process), beats=int(found.beats))
        except (ValueError, TypeError):
            raise RunError(
                f"{self.url}/{OWNER} is damaged: remove it if nobody writes there"
            ) from None


def _sweep(url: str, name: str) -> None:
    """Remove what killed or broken uploads of a file left beside it."""
    for left in _remote.listed(url):
        if left.startswith(f".{name}.") and left.endswith((".part", ".old")):
            _remote.remove_file(f"{url}/{left}")


# Runs ---------------------------------------------------------------------------------------------


class RemoteRuns:
    """The runs of a log folder at a URL.

    Args:
        url: the log folder.

    Attributes:
        folder: where they are written on this machine.
    """

    def __init__(self, url: str) -> None:
        self.url = _remote.without_slash(url)
        root = cache_folder() / "runs"
        self.folder = root / digest_of_url(self.url)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.machine = _machine(root)
        self.views = Path(tempfile.mkdtemp(prefix="dlk-runs-"))
        weakref.finalize(self, shutil.rmtree, self.views, ignore_errors=True)

    def check(self) -> None:
        """Refuse a place where no run can be written, and remove here what is whole there.

        Raises:
            StorageError: it is read-only, cannot be reached, or refuses.
        """
        probe = f"{self.url}/.dlk-{secrets.token_hex(6)}"
        try:
            _write(probe, "")
            _remote.remove_file(probe)
        except StorageError as error:  # of the folder, which is what was given
            told = str(error).replace(redact(probe), redact(self.url))
            raise StorageError(told) from error.__cause__
        for sent in self.folder.rglob(SENT):
            run = self.run(sent.parent.relative_to(self.folder).as_posix())
            with contextlib.suppress(RunError):
                refuse_busy(run.dir)
                run.drop_what_is_there()

    def numbers(self) -> Iterator[str]:
        """Yield the names of runs that have none but a number, the newest first."""
        yield from map(str, sorted(self._numbers(), reverse=True))

    def _numbers(self) -> set[int]:
        here = os.listdir(self.folder)
        return {int(name) for name in (*_remote.listed(self.url), *here) if name.isdigit()}

    def run(self, name: str) -> RemoteRun:
        """Return a run by its name, which need not be there."""
        return RemoteRun(self, name)

    def claim(self, tell: Tell) -> RemoteRun:
        """Make the folder of the next number, and say that this process writes there."""
        number = max(self._numbers(), default=-1) + 1
        while True:
            run = self.run(str(number))
            number += 1
            if not _remote.make_folder(run.url):
                continue
            try:
                run.lease.acquire(tell, is_first=True)
            except RunError:  # another one was faster
                continue
            return run


class RemoteRun:
    """One run: its folder at a URL, and the one on this machine that it is written to.

    Attributes:
        dir: the folder on this machine.
        lease: says that this process writes it.
    """

    def __init__(self, runs: RemoteRuns, name: str) -> None:
        self.runs = runs
        self.name = name
        self.url = f"{runs.url}/{name}"
        self.dir = str(runs.folder / name)
        self.lease = Lease(self.url, runs.machine)

    def look(self) -> str:
        """Return a folder that tells what the run came to: the one here where it is the newest.

        Else it is one to look at only: `HEAD`, and empty files for weights and states.

        Raises:
            RunError: something else than a run is there, or its index is damaged.
        """
        index = read_index(self.url)
        if index is None:
            if Path(self.dir, SENT).is_file():  # the first upload of it broke
                return self.dir
            others = set(_remote.listed(self.url)) - {OBJECTS, OWNER}
            if any(name[0] != "." for name in others):
                raise RunError(f"{self.url} is there already and holds no run: give another name")
            return self.dir
        if self._is_newest(index):
            return self.dir
        view = self.runs.views / self.name
        shutil.rmtree(view, ignore_errors=True)
        view.mkdir(parents=True)
        for name in HEAD:
            if name in index.head:
                (view / name).write_text(json.dumps(index.head[name]), encoding="utf-8")
        for name in index.files:
            if name.endswith((".ckpt", ".state")) or name == "bundle/bundle.json":
                (view / name).parent.mkdir(parents=True, exist_ok=True)
                (view / name).touch()
        return str(view)

    def bring(self) -> None:
        """Let the folder here be the newest snapshot, where that was not made of it."""
        for last in (False,) * (_TRIES - 1) + (True,):
            index = read_index(self.url)
            if index is None or self._is_newest(index):
                return
            try:
                with atomic_dir(self.dir) as aside:
                    fetch(self.url, index, aside)
                    _note(aside, [index.snapshot])
            except FileNotFoundError as error:  # replaced meanwhile
                if last:
                    message = f"{self.url} is damaged: {INDEX} names files that lack"
                    raise RunError(message) from error
            else:
                return

    def take(self, tell: Tell) -> None:
        """Begin anew at the URL: a run with weights is kept as ``NAME.old``, another one removed.

        Raises:
            RunError: another process writes there.
            StorageError: it cannot be written.
        """
        _remote.check_writable(self.url)
        if _remote.exists(self.url):
            self.lease.acquire(tell)
            was_sent = read_index(self.url) is not None
            has_weights = was_sent and left_weights(self.look())
            self.lease.release()
            if was_sent:
                self.drop()
            if has_weights:
                old = f"{self.url}.old"
                _remote.remove_file(f"{old}/{INDEX}")
                _remote.remove_folder(old)
                _remote.rename_folder(self.url, old, first=INDEX)
            else:
                _remote.remove_file(f"{self.url}/{INDEX}")
                _remote.remove_folder(self.url)
        if not _remote.make_folder(self.url):
            raise RunError(f"another process began to write to {self.url} just now")
        self.lease.acquire(tell, is_first=True)

    def drop(self) -> None:
        """Remove the folder here."""
        shutil.rmtree(self.dir, ignore_errors=True)
        folder = Path(self.dir).parent
        while folder != self.runs.folder:  # of a name with parts
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def drop_what_is_there(self) -> None:
        """Remove the folder here where nothing in it is newer than what is at the URL."""
        index = read_index(self.url)
        if index is None:
            return
        if not self._is_newest(index) or (index.is_done and index.snapshot == self.sent()[-1]):
            self.drop()

    def sent(self) -> list[str]:
        """Return the snapshots that were made of the folder here: the last one may not be there."""
        try:
            return [str(each) for each in json.loads(Path(self.dir, SENT).read_text("utf-8"))]
        except (OSError, ValueError, TypeError):
            return []

    def note(self, snapshots: list[str]) -> None:
        """Remember which snapshots were made of the folder here."""
        _note(Path(self.dir), snapshots)

    def _is_newest(self, index: Index) -> bool:
        return index.snapshot in self.sent()


def fetch(url: str, index: Index, folder: Path) -> None:
    """Fetch a snapshot.

    Raises:
        FileNotFoundError: one of its files is not there any more.
        RunError: one is not what was written.
        StorageError: it cannot be read.
    """
    for name, each in index.files.items():
        _remote.fetch_to(f"{url}/{each.place}", folder / name)
        if sha256_of(folder / name) != each.sha256:
            newest = read_index(url)
            if newest is None or newest.snapshot != index.snapshot:  # replaced meanwhile
                raise FileNotFoundError(name)
            raise RunError(f"{url}: {name} is not what was written (its SHA-256 differs)")


def _note(folder: Path, snapshots: list[str]) -> None:
    with atomic_write(folder / SENT) as handle:
        json.dump(snapshots, handle)


def _machine(root: Path) -> str:
    """Return what tells this machine from another of the same name: a text of its cache folder."""
    file = root / "machine"
    if not file.is_file():
        aside = root / f".machine-{secrets.token_hex(4)}"
        aside.write_text(secrets.token_hex(8), encoding="utf-8")
        try:
            os.link(aside, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            shutil.copy(aside, file)
        aside.unlink()
    return file.read_text(encoding="utf-8")


def is_own(name: str) -> bool:
    """Return whether a file of a run's local folder is no part of the run."""
    parts = name.split("/")
    return name == LOCAL_OWNER or name.endswith(".ckpt.link") or any(p[0] == "." for p in parts)
