"""What a run logs, in files that only grow: a disk that is full for a while costs no line of it.

What cannot be written is kept in memory, told once, and written in order as soon as the disk takes
it. A state holds what was not written yet, so that a run that goes on from it misses nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger

from dlk.errors import RunError, StateWarning

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["LogFile", "Logs", "Scalars"]

MOST = 32 << 20
"""Bytes that wait in memory before the run is ended: some hundred thousand lines."""
PAUSES = (1.0, 4.0)
"""Seconds between the tries at the end of a run."""
_FLUSHED = 10.0
"""Seconds after which TensorBoard's file gets what was logged since."""

_number = itertools.count()


class LogFile:
    """A file that grows by whole lines or records: what the disk does not take waits here.

    Args:
        path: where it is; folders on the way are made.
        logs: told of what cannot be written.
    """

    def __init__(self, path: str, logs: Logs) -> None:
        self.path = path
        self.closed = False
        self._logs = logs
        self._waiting: list[bytes] = []
        self._whole: int | None = None  # bytes of it that are sound, where the last write broke

    @property
    def waiting(self) -> bytes:
        """What is not on the disk yet."""
        return b"".join(self._waiting)

    @property
    def size(self) -> int:
        """How many bytes of it are on the disk, whole."""
        return os.path.getsize(self.path) if self._whole is None else self._whole

    def write(self, data: bytes) -> int:
        """Add a line or record; `flush` brings it to the disk."""
        self._waiting.append(data)
        return len(data)

    def flush(self) -> None:
        """Have the disk take what waits: all of it, or none."""
        data = self.waiting
        if not data:
            return
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            if self._whole is None:
                self._whole = os.path.getsize(self.path) if os.path.exists(self.path) else 0
            _append(self.path, self._whole, data)
        except OSError as error:
            if self._whole is not None:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, self._whole)  # half a line is worse than none
            self._logs.tell(self.path, error)
            return
        self.forget()
        self._logs.told_well()

    def forget(self) -> None:
        """Leave what waits unwritten."""
        self._waiting.clear()
        self._whole = None

    def close(self) -> None:
        """Flush it; what the disk does not take is tried again by `Logs`."""
        self.flush()
        self.closed = True


class Logs:
    """The log files of a run.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: str) -> None:
        self.run_dir = run_dir
        self._files: dict[str, LogFile] = {}
        self._trouble = ""
        self._tells = True

    def file(self, path: str) -> LogFile:
        """Return the file of a path: the same one each time."""
        return self._files.setdefault(path, LogFile(path, self))

    def tell(self, path: str, error: OSError) -> None:
        """Warn of what cannot be written: once, until all is written again."""
        self._trouble = f"cannot write {path}: {error.strerror or error}"
        if self._tells:
            self._tells = False
            message = (
                f"{self._trouble}; what is logged is kept in memory and written as soon as the "
                "disk takes it, training goes on"
            )
            warnings.warn(message, StateWarning, stacklevel=2)

    def told_well(self) -> None:
        """Warn again of the next trouble, where nothing waits any more."""
        self._tells = self._tells or not any(file.waiting for file in self._files.values())

    def check(self) -> None:
        """Refuse to keep more in memory.

        Raises:
            RunError: too much waits for the disk.
        """
        waiting = sum(len(file.waiting) for file in self._files.values()) if self._trouble else 0
        if not self._tells and waiting > MOST:
            raise RunError(
                f"{self._trouble}, and {waiting >> 20} MiB wait for it in memory: make room, then "
                "`dlk train FIT --resume` goes on"
            )

    def stand(self) -> tuple[dict[str, int], dict[str, bytes]]:
        """Return the sizes of all files, by name, and what of them is not on the disk."""
        self._flush()
        known = {Path(file.path): file for file in self._files.values()}
        sizes = {}
        for path in self._there():
            file = known.get(path)
            sizes[self._name(path)] = path.stat().st_size if file is None else file.size
        return sizes, {self._name(f.path): f.waiting for f in known.values() if f.waiting}

    def put_back(self, sizes: Mapping[str, int], waiting: Mapping[str, bytes]) -> None:
        """Let the files stand as they stood; what was logged since will be logged again."""
        for file in self._files.values():
            file.forget()
        for path in list(self._there()):
            size = sizes.get(self._name(path))
            if size is None:
                path.unlink()
            elif path.stat().st_size > size:
                os.truncate(path, size)
        for name, data in waiting.items():
            file = self.file(os.path.join(self.run_dir, name))
            file.write(data)
            file.flush()

    def end(self, *, can_go_on: bool) -> None:
        """Have all on the disk at the end of a run, where that is possible.

        Args:
            can_go_on: whether there is a state to go on from, which comes to the same lines. Where
                there is none the run is not lost for its logs: what lacks is told.

        Raises:
            RunError: the disk does not take it, and the run can go on.
        """
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            self._flush()
            if not any(file.waiting for file in self._files.values()):
                return
        lacking = [file for file in self._files.values() if file.waiting]
        sizes = ", ".join(f"{len(file.waiting)} bytes of {file.path}" for file in lacking)
        if can_go_on:
            raise RunError(
                f"{self._trouble}; the run is at its end and lacks {sizes}: make room, then `dlk "
                "train FIT --resume` goes on from its last state and writes them"
            )
        message = f"{self._trouble}; the run is at its end, and {sizes} are lost"
        warnings.warn(message, StateWarning, stacklevel=2)

    def _flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def _there(self) -> Iterator[Path]:
        lines = Path(self.run_dir, "metrics.jsonl")
        if lines.is_file():
            yield lines
        yield from Path(self.run_dir, "metrics").rglob("events.out.tfevents*")

    def _name(self, path: str | Path) -> str:
        return Path(path).relative_to(self.run_dir).as_posix()


def _append(path: str, whole: int, data: bytes) -> None:
    """Write at the end of the sound part of a file."""
    with open(path, "ab", buffering=0) as handle:
        handle.truncate(whole)
        rest = memoryview(data)
        while rest:
            rest = rest[handle.write(rest) :]


# TensorBoard --------------------------------------------------------------------------------------


class Scalars(TensorBoardLogger):
    """Lightning's logger for TensorBoard, on a `LogFile`: its own writer ends with its first error.

    Args:
        run_dir: folder of the run; the files go to ``metrics/`` in it.
        logs: where the files belong.
    """

    def __init__(self, run_dir: str, logs: Logs) -> None:
        super().__init__(save_dir=run_dir, name="metrics", version="", default_hp_metric=False)
        self._files = logs
        self._folder = os.path.join(run_dir, "metrics")

    @property
    def log_dir(self) -> str:
        """Where the files go: by this very name, in which Lightning would look for variables."""
        return self._folder

    @property
    def experiment(self) -> SummaryWriter:
        """Torch's writer."""
        if self._experiment is None:
            self._experiment = _writer(self.log_dir, self._files)
        return self._experiment

    def begin_anew(self) -> None:
        """Close the file; what is logged from now on goes to another one."""
        self.finalize("success")
        self._experiment = None

    @rank_zero_only
    def save(self) -> None:
        """Flush, and write ``hparams.yaml`` where it is not there."""
        try:
            super().save()
        except OSError as error:
            file = os.path.join(self.log_dir, self.NAME_HPARAMS_FILE)
            with contextlib.suppress(OSError):  # half of it would pass as all of it
                os.unlink(file)
            self._files.tell(file, error)


def _writer(folder: str, logs: Logs) -> SummaryWriter:
    """Return torch's writer of summaries, with an event file of ours."""
    from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

    class OurFile(FileWriter):
        def __init__(self) -> None:
            self.event_writer: Any = _Events(folder, logs)  # in place of tensorboard's

    class OurWriter(SummaryWriter):
        def _get_file_writer(self) -> FileWriter:
            attributes: Any = self  # torch's types know them as None alone
            if self.file_writer is None:  # at first, and after `close`
                attributes.file_writer = OurFile()
                attributes.all_writers = {folder: self.file_writer}
            found: FileWriter = attributes.file_writer
            return found

    return OurWriter(folder)


class _Events:
    """An event file, as tensorboard's ``EventFileWriter``; written by whoever adds an event."""

    def __init__(self, folder: str, logs: Logs) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        own = f"{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._folder = folder
        self._records = RecordWriter(logs.file(os.path.join(folder, f"events.out.tfevents.{own}")))
        self._flushed = time.monotonic()
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Any) -> None:  # Any: a message of tensorboard's
        self._records.write(event.SerializeToString())
        if time.monotonic() - self._flushed > _FLUSHED:
            self.flush()

    def flush(self) -> None:
        self._flushed = time.monotonic()
        self._records.flush()

    def close(self) -> None:
        self._records.close()
