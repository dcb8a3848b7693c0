"""Whose folder a run's is: several processes may train into one log folder at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket

from dlk.errors import RunError
from dlk.io import is_alive

__all__ = ["OWNER", "claim_number", "go_on", "left_weights", "refuse_busy", "release", "take"]

OWNER = "running"
"""File in the folder of a run that goes on: host and process that write there."""


def claim_number(log_dir: str) -> str:
    """Make the folder of the next number, which no other process can get too; return its name.

    Raises:
        RunError: the log folder cannot be made.
    """
    try:
        os.makedirs(log_dir, exist_ok=True)
        taken = [int(name) for name in os.listdir(log_dir) if name.isdigit()]
        number = max(taken, default=-1) + 1
        while True:
            try:
                os.mkdir(os.path.join(log_dir, str(number)))
            except FileExistsError:
                number += 1
            else:
                break
    except OSError as error:
        raise RunError(f"cannot write runs to {log_dir}: {error.strerror or error}") from error
    _sign(os.path.join(log_dir, str(number)))
    return str(number)


def take(folder: str) -> None:
    """Make a run's folder, in the place of an older run's.

    An older run that left weights is kept beside it as ``NAME.old``, until the next one is.

    Raises:
        RunError: another process writes there, or the folder cannot be made.
    """
    refuse_busy(folder)
    try:
        if left_weights(folder):
            shutil.rmtree(f"{folder}.old", ignore_errors=True)
            os.replace(folder, f"{folder}.old")
        elif os.path.exists(folder):
            shutil.rmtree(folder)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            os.mkdir(folder)
        except FileExistsError:
            raise RunError(f"another process began to write to {folder} just now") from None
    except OSError as error:
        raise RunError(f"cannot write a run to {folder}: {error.strerror or error}") from error
    _sign(folder)


def go_on(folder: str) -> None:
    """Take the folder of a run that was stopped, and leave in it what it came to.

    Raises:
        RunError: another process writes there, or it cannot be written to.
    """
    refuse_busy(folder)
    try:
        for name in ("result.json", "error.txt"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))
        _sign(folder)
    except OSError as error:
        raise RunError(f"cannot write a run to {folder}: {error.strerror or error}") from error


def left_weights(folder: str) -> bool:
    """Return whether a run's folder holds a bundle, a checkpoint or a state."""
    if os.path.isdir(os.path.join(folder, "bundle")):
        return True
    kept = [os.walk(os.path.join(folder, part)) for part in ("checkpoint", "state")]
    names = [name for walk in kept for _, _, names in walk for name in names]
    return any(name.endswith((".ckpt", ".state")) for name in names)


def refuse_busy(folder: str) -> None:
    """Refuse a folder that a living process of this host writes to.

    Raises:
        RunError: the message names the process, and what to do where it is none of dlk's.
    """
    try:
        with open(os.path.join(folder, OWNER), encoding="utf-8") as handle:
            host, _, pid = handle.read().strip().rpartition(" ")
    except OSError:
        return
    if host == socket.gethostname() and pid.isdigit() and is_alive(int(pid)):
        raise RunError(
            f"process {pid} is writing a run to {folder}: wait for it, or give another name "
            f"(if that process is no training, remove {os.path.join(folder, OWNER)})"
        )


def release(folder: str) -> None:
    """Say that the run in this folder has ended, where it can still be written to."""
    with contextlib.suppress(OSError):
        os.remove(os.path.join(folder, OWNER))


def _sign(folder: str) -> None:
    with open(os.path.join(folder, OWNER), "w", encoding="utf-8") as handle:
        handle.write(f"{socket.gethostname()} {os.getpid()}\n")
