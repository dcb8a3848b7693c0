"""Writing checkpoints beside training: what is to be written is copied at once, a thread writes it.

One copy is on its way at a time, so memory holds at most one beside training. Jobs go in order: an
older checkpoint is removed only once the newer one stands.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlk.errors import RunError
from dlk.io import atomic_write

__all__ = ["Writer", "copied", "reason_of", "write_torch"]


def copied(value: Any, *, strict: bool = False, path: str = "") -> Any:
    """Return plain containers with copies of all tensors, on the CPU; shared tensors stay shared.

    Args:
        value: what is to be copied.
        strict: refuse what cannot be read back without executing code.
        path: where the value stands, for the message.

    Raises:
        RunError: there is something that is no plain container, number, text or tensor.
    """
    return _copied(value, strict, path, {})


def _copied(value: Any, strict: bool, path: str, memo: dict[Any, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = (value.device, value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if not value.numel() or key not in memo:
            memo[key] = value.detach().to("cpu", copy=True)
        return memo[key]
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Mapping):
        pairs = {
            _copied(key, strict, path, memo): _copied(inner, strict, f"{path}.{key}", memo)
            for key, inner in value.items()
        }
        if not hasattr(value, "_metadata"):
            return pairs
        state = OrderedDict(pairs)  # of a module, with the versions of its parts
        state._metadata = deepcopy(value._metadata)  # type: ignore[attr-defined]  # as torch does
        return state
    if type(value) in (list, tuple):
        parts = [_copied(p, strict, f"{path}[{n}]", memo) for n, p in enumerate(value)]
        return parts if type(value) is list else tuple(parts)
    if isinstance(value, str):  # an enumeration's member, which is a text too
        return str.__str__(value)
    if strict:
        raise RunError(
            f"{path.lstrip('.')} is a {type(value).__name__}: a state holds numbers, texts, "
            "tensors, and lists, tuples and dicts of these"
        )
    return deepcopy(value)


def reason_of(error: Exception) -> str:
    """Return what an error says, in the system's words where it is one of the system's."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"


class _Noticing:
    """A file that remembers which error writing to it gave: torch tells another one."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            count: int = self.handle.write(data)
        except OSError as error:
            self.error = error
            raise
        return count

    def flush(self) -> None:
        self.handle.flush()


def write_torch(value: Any, handle: Any) -> None:
    """Write as `torch.save` does.

    Raises:
        OSError: the file cannot be written, such as where the disk is full.
    """
    noticing = _Noticing(handle)
    try:
        torch.save(value, noticing)  # type: ignore[arg-type]  # it writes and flushes only
    except (OSError, RuntimeError) as error:
        if noticing.error is not None and error is not noticing.error:
            raise noticing.error from error
        raise


class Writer:
    """Does what takes the disk's time in a thread of its own, in order.

    Args:
        in_background: false: each job is done before the call returns.

    Attributes:
        watcher: entered for each job, in the thread that does it.
    """

    def __init__(self, *, in_background: bool = True) -> None:
        self._pool = ThreadPoolExecutor(1, "dlk-writer") if in_background else None
        self._newest: Future[None] | None = None
        self._copy: Future[None] | None = None
        self.failed: RunError | None = None
        self.watcher: AbstractContextManager[None] = contextlib.nullcontext()

    @property
    def busy(self) -> bool:
        """Whether a copy is on its way."""
        return self._copy is not None and not self._copy.done()

    def write(self, path: str, value: Any) -> None:
        """Write a checkpoint, copied now; waits while another copy is on its way."""
        self.wait_for_copy()
        held = copied(value)

        def job() -> None:
            with atomic_write(path, "wb") as handle:
                write_torch(held, handle)

        self.do_with_copy(f"write {path}", job)

    def do_with_copy(self, what: str, job: Callable[[], None]) -> None:
        """Do a job that holds a copy; see `do`."""
        self._copy = self.do(what, job)

    def link(self, source: str, target: str) -> None:
        """Give a checkpoint a second name; both are never changed, only replaced."""

        def job() -> None:
            aside = f"{target}.link"
            Path(aside).unlink(missing_ok=True)
            try:
                os.link(source, aside)
            except OSError:  # a file system without links
                with open(source, "rb") as given, atomic_write(target, "wb") as handle:
                    shutil.copyfileobj(given, handle)
            else:
                os.replace(aside, target)

        self.do(f"write {target}", job)

    def do(self, what: str, job: Callable[[], None]) -> Future[None] | None:
        """Do any job in order.

        Args:
            what: what it does, for the message of `check`.
            job: whatever it raises is kept for `check`, as nobody sees the errors of a thread.
        """
        if self._pool is None:
            self._noted(what, job)
            return None
        self._newest = self._pool.submit(self._noted, what, job)
        return self._newest

    def _noted(self, what: str, job: Callable[[], None]) -> None:
        try:
            with self.watcher:
                job()
        except Exception as error:  # noqa: BLE001  # of any kind: see `do`
            if self.failed is None:
                self.failed = RunError(f"cannot {what}: {reason_of(error)}")
                self.failed.__cause__ = error

    def wait_for_copy(self) -> None:
        """Wait until no copy is on its way."""
        if self._copy is not None:
            self._copy.result()

    def check(self) -> None:
        """Raise the error of a job that could not be done, such as of writing a checkpoint.

        Raises:
            RunError: the first of them.
        """
        if self.failed is not None:
            raise self.failed

    def wait(self) -> None:
        """Wait until all is done."""
        if self._newest is not None:
            self._newest.result()

    def close(self) -> None:
        """Wait until all is done, and end the thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
