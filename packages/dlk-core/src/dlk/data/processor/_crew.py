"""Worker processes that run the steps of a processor over chunks; whoever asks keeps the order.

Workers are fresh interpreters, not forks: a fork of a process in which `tokenizers`, torch or Arrow
already run threads may hang, or quietly lose its speed. They build the steps anew from the resolved
config and the meta folder, and talk over pipes, so a script needs no ``if __name__ == "__main__"``.
A worker leads a process group of its own: Ctrl-C reaches the parent alone, which ends the workers;
where the parent is killed, they find their pipe closed, and end.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import queue
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

from dlk.errors import DataError

__all__ = ["Crew", "Refused", "cores", "packed", "receive", "send"]

# "-P": a file json.py in the folder where dlk was called is not taken for Python's own
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from dlk.data.processor._worker import main; main()"
)
_ONE_THREAD = {
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_HEAD = struct.Struct("<Q")
_MOST = 8
"""Workers that the automatic choice starts at most: then reading and writing is what takes time."""
TRIAL_S = 3.0
"""Seconds that a pass goes on in this process before workers are thought of: what they need to
start, a few times over."""
_BUSY = 0.6
"""Share of the cores that steps may keep busy by themselves (by threads) for workers to help."""


Answer = tuple[dict[str, Any], bytes]
"""A message, and the bytes beside it."""


class Refused(Exception):  # noqa: N818 - no error: the chunk is done in this process instead
    """A worker could not do a chunk; doing it here tells why."""


def cores() -> int:
    """Return how many cores this process may use: those it is held to, and what a container may."""
    if hasattr(os, "sched_getaffinity"):
        number = len(os.sched_getaffinity(0))
    else:
        number = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        with open("/sys/fs/cgroup/cpu.max", encoding="utf-8") as handle:
            quota, period = handle.read().split()
        number = min(number, max(1, round(int(quota) / int(period))))
    return max(1, number)


def packed(message: Mapping[str, Any], size: int = 0) -> bytes:
    """Return a message of plain data, as it goes through a pipe before so many bytes.

    Raises:
        ValueError: it holds what is no plain data.
    """
    head = marshal.dumps(dict(message))
    return _HEAD.pack(len(head)) + _HEAD.pack(size) + head


def send(pipe: IO[bytes], message: Mapping[str, Any], body: Any = b"") -> None:
    """Write a message of plain data, and bytes beside it."""
    pipe.write(packed(message, len(body)))
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Answer | None:
    """Return the next message and its bytes; None where the other side is gone."""
    sizes = pipe.read(2 * _HEAD.size)
    if len(sizes) < 2 * _HEAD.size:
        return None
    head, body = (_HEAD.unpack_from(sizes, place)[0] for place in (0, _HEAD.size))
    data = pipe.read(head + body)
    if len(data) < head + body:
        return None
    message: dict[str, Any] = marshal.loads(data[:head])  # noqa: S302 - of our own process
    return message, data[head:]


class _Worker:
    """One process, and how to ask it."""

    def __init__(self) -> None:
        paths = json.dumps([os.path.abspath(each) if each else os.getcwd() for each in sys.path])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
        self.told = -1  # number of the pass that it is set up for

    def ask(self, message: bytes, where: str) -> Answer:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(message)
            self.process.stdin.flush()
            answer = receive(self.process.stdout)
        except (BrokenPipeError, ConnectionError):
            answer = None
        if answer is None:
            raise DataError(self._death(where))
        return answer

    def _death(self, where: str) -> str:
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        memory = " (which is what a system does that has no more memory)" if code == -9 else ""
        return (
            f"{where}: the worker process {self.process.pid} {how}{memory}. Nothing was replaced; "
            "run it again, with fewer workers (num_workers) or fewer rows at once (chunk_size)"
        )

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.wait()


class Crew:
    """Workers that are started when they are first wanted.

    Args:
        size: how many there are; None: as many as pay, once a pass has gone on for a while.
        is_possible: whether workers could build the steps at all.
    """

    def __init__(self, size: int | None, *, is_possible: bool) -> None:
        self.is_automatic = size is None
        self.size = min(cores(), _MOST) if size is None else size
        if not is_possible or not sys.executable or (self.is_automatic and self.size < 2):
            self.size = 0
        self._pass = -1
        self._setup = b""
        self._pool: ThreadPoolExecutor | None = None
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._is_ended = False
        self._lock = threading.Lock()
        self._began = (0.0, 0.0)

    def begin(self, setup: Mapping[str, Any]) -> None:
        """Begin a pass, for which workers are told `setup`."""
        self._pass += 1
        self._setup = packed(setup)
        self._began = time.perf_counter(), time.process_time()

    @property
    def window(self) -> int:
        """How many chunks may be under way at once."""
        return self.size + 2

    def is_wanted(self, done: int, total: int | None) -> bool:
        """Return whether workers are to do the next chunk.

        Args:
            done: rows done in this pass.
            total: rows of the pass; None where only reading tells.
        """
        if self.size < 1:
            return False
        if not self.is_automatic or self._pool is not None:
            return True
        wall = time.perf_counter() - self._began[0]
        if wall < TRIAL_S or not done:
            return False
        if total is not None and wall * (total - done) / done < TRIAL_S:
            return False
        return (time.process_time() - self._began[1]) / wall < _BUSY * cores()

    def submit(self, message: Mapping[str, Any], where: str) -> Future[Answer]:
        """Let a worker answer a message; the result raises `Refused` where it cannot.

        Raises:
            ValueError: the message holds what is no plain data.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.size, "dlk-process")
            self._is_ended = False
        return self._pool.submit(self._ask, packed(message), where)

    def _ask(self, message: bytes, where: str) -> Answer:
        worker = self._idle_one()
        answer: dict[str, Any] = {"status": "done"}
        body = b""
        if worker.told != self._pass:
            answer, body = worker.ask(self._setup, where)
        if answer["status"] == "done":
            worker.told = self._pass
            answer, body = worker.ask(message, where)
        self._idle.put(worker)  # one that died raised: no other chunk is given to it
        _look(answer, where)
        return answer, body

    def _idle_one(self) -> _Worker:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            worker = _Worker()
        with self._lock:
            self._workers.append(worker)
            if self._is_ended:  # while it was started: nobody waits for it
                worker.process.kill()
        return worker

    def end(self) -> None:
        """End all workers, whatever they do; new ones are started where more is asked."""
        with self._lock:
            self._is_ended = True
            for worker in self._workers:
                worker.process.kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        self._idle = queue.SimpleQueue()
        self._pool = None


def _look(answer: Mapping[str, Any], where: str) -> None:
    """Raise what a worker's answer says went wrong."""
    if answer["status"] == "memory":
        raise DataError(
            f"{where}: a worker process ran out of memory. Nothing was replaced; run it again with "
            "fewer rows at once (chunk_size) or fewer workers (num_workers)"
        )
    if answer["status"] != "done":
        raise Refused(answer.get("reason", ""))
