"""The state of a run: what it takes to go on as if nothing had happened, in a file of its own.

``state/step=24.state`` in the run's folder is what `torch.save` writes of plain containers and
tensors, and behind it a SHA-256 of that. It is written aside, flushed and renamed, and the state
before it is kept until the next one stands.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from typing import Any

from dlk.errors import RunError
from dlk.io import atomic_write
from dlk.trainer._writer import write_torch

__all__ = ["FORMAT", "States", "read_state", "write_state"]

FORMAT = 1
"""What stands in a state, and what it means; another number is refused."""

_END = b"dlkstate"
_TAIL = hashlib.sha256().digest_size + len(_END)
_NAME = re.compile(r"step=(\d+)\.state")
_KEPT = 2


class States:
    """The folder of a run's states.

    Args:
        run_dir: folder of the run.
    """

    def __init__(self, run_dir: str) -> None:
        self.folder = os.path.join(run_dir, "state")

    def path(self, step: int) -> str:
        """Return the file of the state after an optimizer step."""
        return os.path.join(self.folder, f"step={step}.state")

    def steps(self) -> list[int]:
        """Return the steps after which a state was kept, the newest last."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def drop(self, steps: list[int]) -> None:
        """Remove states."""
        for step in steps:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path(step))

    def drop_old(self) -> None:
        """Remove all but the newest two."""
        self.drop(self.steps()[:-_KEPT])

    def newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the newest state that can be used, and what is wrong with newer ones.

        Raises:
            RunError: there are states, and none can be used.
        """
        wrong: list[str] = []
        for step in reversed(self.steps()):
            try:
                return read_state(self.path(step)), wrong
            except RunError as error:
                wrong.append(str(error))
        if wrong:
            raise RunError(
                "no state of this run can be used:\n  "
                + "\n  ".join(wrong)
                + f"\nRemove {self.folder} to start the run again"
            )
        return None, wrong


def write_state(path: str, state: dict[str, Any]) -> None:
    """Write a state; the file appears whole or not at all.

    Raises:
        OSError: it cannot be written, such as where the disk is full.
    """
    with atomic_write(path, "wb") as handle:
        digesting = _Digesting(handle)
        write_torch(state, digesting)
        handle.write(digesting.digest.digest() + _END)


def read_state(path: str) -> dict[str, Any]:
    """Return a state as plain containers and tensors, on the CPU; nothing in it is executed.

    Raises:
        RunError: it is damaged, of another format, or holds what would have to be executed.
    """
    import torch

    try:
        with open(path, "rb") as handle:
            size = _checked(handle, path)
            part = io.BufferedReader(_Part(handle, size))
            found: Any = torch.load(part, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except RunError:
        raise
    except Exception as error:  # torch raises many kinds for a foreign file
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"{path} holds more than numbers, texts and tensors, and nothing in a state is "
            f"executed: {reason}"
        ) from error
    own = found.get("dlk") if isinstance(found, dict) else None
    if not isinstance(own, dict):
        raise RunError(f"{path} is no state of a run")
    if own.get("format") != FORMAT:
        raise RunError(
            f"{path} is of format {own.get('format')!r}, this dlk reads {FORMAT}: go on with the "
            f"dlk that wrote it ({own.get('versions', {}).get('dlk-core', 'unknown')})"
        )
    return dict(found)


def _checked(handle: Any, path: str) -> int:
    """Return how many bytes torch wrote, once their digest is found to be right."""
    size = os.fstat(handle.fileno()).st_size - _TAIL
    if size < 0:
        raise RunError(f"{path} is cut: it has {size + _TAIL} bytes")
    handle.seek(size)
    told, end = handle.read(_TAIL - len(_END)), handle.read()
    if end != _END:
        raise RunError(f"{path} is cut, or no state of a run")
    handle.seek(0)
    digest = hashlib.sha256()
    left = size
    while left:
        block = handle.read(min(left, 1 << 20))
        if not block:
            raise RunError(f"{path} became shorter while it was read")
        digest.update(block)
        left -= len(block)
    if digest.digest() != told:
        raise RunError(f"{path} is damaged: its SHA-256 is not the one it was written with")
    return size


class _Digesting:
    """A file that takes the digest of what is written to it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        count: int = self.handle.write(data)
        return count

    def flush(self) -> None:
        self.handle.flush()


class _Part(io.RawIOBase):
    """The first bytes of a file, as a file."""

    def __init__(self, handle: Any, size: int) -> None:
        self.handle = handle
        self.size = size
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, start + offset)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self.size - self.place))
        self.handle.seek(self.place)
        block = self.handle.read(count)
        buffer[: len(block)] = block
        self.place += len(block)
        return len(block)
