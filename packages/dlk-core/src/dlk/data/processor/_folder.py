"""The folder of processed data: what may be replaced there, and which steps made it."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dlk.config import assets, children, to_dict
from dlk.data.meta import FILE as META
from dlk.data.processor._steps import SPLITS
from dlk.errors import DataError
from dlk.io import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlk.data.meta import Meta
    from dlk.data.processor._steps import Step
    from dlk.data.processor.configs import DefaultProcessorConfig

__all__ = [
    "learnt_at",
    "refuse_foreign",
    "refuse_foreign_split",
    "refuse_other_steps",
    "take_learnt",
    "write_config",
]

_PROCESS = "process.json"
_PART = re.compile(rf"\.({'|'.join(SPLITS['train'] + SPLITS['predict'])})\..+\.part")
_HOW = {"num_workers": None, "cache": True, "cache_dir": "", "cache_mb": 4096}
"""Options that say how the work is done, and change nothing of what comes of it; by default."""


def refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that holds anything which no processor made, such as raw data.

    Raises:
        DataError: it does.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: choose another processed_data_dir")
    for entry in sorted(folder.iterdir()):
        if entry.name in SPLITS["train"] + SPLITS["predict"]:
            refuse_foreign_split(entry)
        elif _PART.fullmatch(entry.name):  # of a process that adds a split, or was killed there
            continue
        elif entry.name != _PROCESS and not (entry.name == "meta" and (entry / META).is_file()):
            raise DataError(
                f"{folder} would be replaced, and holds {entry.name}, which is no processed data: "
                "choose another processed_data_dir"
            )


def learnt_at(meta_dir: str) -> tuple[int, int] | None:
    """Return what tells a meta folder from one that another process puts in its place."""
    try:
        found = os.stat(os.path.join(meta_dir, META))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def refuse_foreign_split(folder: Path) -> None:
    """Refuse to replace a folder that is no split.

    Raises:
        DataError: it is none.
    """
    from dlk.data.store import is_split

    if folder.exists() and not is_split(folder):
        raise DataError(
            f"{folder} would be replaced, and is no processed split: "
            "choose another processed_data_dir"
        )


def refuse_other_steps(config: DefaultProcessorConfig, folder: Path) -> None:
    """Refuse to put splits beside those that other steps, or other options of them, made.

    Raises:
        DataError: the folder's were made otherwise than `config` says.
    """
    from dlk.config import from_resolved

    try:
        written = json.loads((folder / _PROCESS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    (before,) = from_resolved(written, folder=str(folder)).values()
    then, now = _recipe(before), _recipe(config)
    if then != now:
        changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        raise DataError(
            f"the training data in {folder} was processed otherwise "
            f"({', '.join(changed) or 'another order'}), and models learn from that: process "
            "it again together with this, or use the config it was made with"
        )


def _recipe(config: Any) -> dict[str, Any]:  # Any: a processor of any kind
    """Return what decides how rows are made: steps in order, without the places of their files."""
    if not hasattr(config, "order"):
        return {}
    steps = children(config, "subprocessor")
    found: dict[str, Any] = {}
    for name in config.order():
        (values,) = to_dict(steps[name]).values()
        files = {field for owner, field, _ in assets(steps[name]) if owner is steps[name]}
        kept = {field: value for field, value in values.items() if field not in files}
        found[name] = (len(found), kept)
    return found


def write_config(config: DefaultProcessorConfig, folder: Path) -> None:
    """Write a config beside the data; options of how the data was made stand there by default."""
    ((key, values),) = to_dict(config).items()
    with atomic_write(folder / _PROCESS) as handle:
        json.dump({key: {**values, **_HOW}}, handle, ensure_ascii=False, indent=2)
        handle.write("\n")


def take_learnt(folder: Path, meta: Meta, steps: Sequence[Step]) -> list[str]:
    """Copy what steps learnt before into a meta folder, to go by; return notes that tell of it."""
    learns = {file: step.name for step in steps if step.run.learns for file in step.meta}
    notes = []
    for file, name in learns.items():
        if (folder / file).is_file():
            meta.put_start(file, {}, partial(_put_bytes, (folder / file).read_bytes()))
            notes.append(f"Counted as if {name} learnt the same {file} as before.")
        else:
            notes.append(f"What reads {file} is to do: {name} has yet to learn it.")
    return notes


def _put_bytes(content: bytes, handle: IO[bytes]) -> None:
    handle.write(content)
