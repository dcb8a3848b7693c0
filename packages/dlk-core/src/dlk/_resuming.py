"""Which stopped run is meant, and whether it may go on with the config and data that are there now.

What is promised is that a run that was stopped ends as one of its config that was not. So what the
config says now may differ only where that changes nothing but speed, place and what is shown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dlk.config import child, node_of
from dlk.config.difference import differences
from dlk.errors import RunError
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.config import Point

__all__ = [
    "LENGTH",
    "changed_versions",
    "check_same",
    "config_of",
    "find",
    "is_done",
    "numbered",
    "versions",
]

LENGTH = ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time")
"""Options of the trainer that say how long a run is."""

_FREE = re.compile(
    r"log_dir|processed_data_dir"
    r"|datamodule\.(num_workers|pin_memory)"
    r"|trainer\.(enable_progress_bar|enable_model_summary|profiler)"
    r"|trainer\.(@?callback@)?(resume|progress_bar)(\..*)?"
)
_LENGTH = re.compile(rf"trainer\.({'|'.join(LENGTH)})")
_FREE_IN_WORDS = (
    "What may: log_dir, where the data lies, num_workers, pin_memory, what is shown, the callbacks "
    "resume and progress_bar, and the length of training where no schedule depends on it."
)


def config_of(folder: str) -> dict[str, Any] | None:
    """Return the resolved config of a run's folder; None where there is none."""
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as handle:
            config = json.load(handle)
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def is_done(folder: str) -> bool:
    """Return whether the run of a folder came to its end."""
    try:
        with open(os.path.join(folder, "result.json"), encoding="utf-8") as handle:
            return bool(json.load(handle)["state"] == "done")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def numbered(log_dir: str) -> Iterator[str]:
    """Yield the folders of runs that have no name but a number, the newest first."""
    try:
        numbers = sorted((int(n) for n in os.listdir(log_dir) if n.isdigit()), reverse=True)
    except OSError:
        return
    yield from (os.path.join(log_dir, str(number)) for number in numbers)


def find(
    folders: Iterable[str],
    point: Point,
    *,
    only: bool,
    is_of_data: Callable[[str], bool],
) -> str:
    """Return the folder to go on in: the first of an unfinished run that fits, else one done.

    Args:
        folders: those of runs, the newest first.
        point: the config.
        only: whether the config is of one run, which is meant whatever its config was.
        is_of_data: whether a folder's run is of the data that are there now. One that is done and
            of others is not what is asked for.

    Returns:
        The folder; empty where no run was begun.

    Raises:
        RunError: there are unfinished runs, and each is of another config.
    """
    done, misfit = "", ""
    for folder in folders:
        config = config_of(folder)
        if config is None:
            continue
        fits = not _misfits(config, point)
        if fits and not is_done(folder):
            return folder
        if fits:
            done = done or (folder if is_of_data(folder) else "")
        elif not is_done(folder):
            misfit = misfit or folder
    if misfit and not done and only:
        check_same(misfit, config_of(misfit) or {}, point)
    return done


def check_same(folder: str, before: Mapping[str, Any], point: Point) -> None:
    """Refuse to go on with another config.

    Raises:
        RunError: the message names each config path that differs and may not.
    """
    wrong = _misfits(before, point)
    if wrong:
        raise RunError(
            f"{folder} cannot go on with this config; it would not come to what it was to:\n  "
            + "\n  ".join(wrong)
            + f"\n{_FREE_IN_WORDS}"
        )


def _misfits(before: Mapping[str, Any], point: Point) -> list[str]:
    """Return what differs and may not."""
    after = json.loads(json.dumps(point.resolved))
    if before == after:
        return []
    wrong = []
    for found in differences(before, after):
        if _FREE.fullmatch(found.path):
            continue
        said = f"{found.path}: {_shown(found.before)} -> {_shown(found.after)}"
        if found.kind in ("added", "removed", "replaced", "reordered"):
            said = f"{found.path}: {found.kind}"
        if _LENGTH.fullmatch(found.path):
            if not _length_matters(point):
                continue
            said += " (the schedule depends on how long training is)"
        wrong.append(said)
    return wrong


def _length_matters(point: Point) -> bool:
    """Return whether the steps before the end would have been others in a run of other length."""
    imodel: Any = child(point.root("fit"), "imodel")
    try:
        scheduler = register.build(child(imodel, "scheduler"))
    except (KeyError, AttributeError):  # an imodel of another kind
        return True
    return bool(scheduler.needs_total) or _has_schedule(child(imodel, "loss"))


def _has_schedule(loss: Any) -> bool:
    """Return whether a loss, or one below it, changes over the run."""
    below = node_of(loss).children.values()
    return len(getattr(loss, "schedule", ())) > 1 or any(map(_has_schedule, below))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def versions() -> dict[str, str]:
    """Return the versions of what a run's numbers come from."""
    import importlib.metadata

    found = {}
    others = ("torch", "lightning", "transformers", "tokenizers", "intc", "numpy")
    for name in (*(plugin.distribution for plugin in register.plugins), *others):
        try:
            found[name] = importlib.metadata.version(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
    return found


def changed_versions(before: Mapping[str, str]) -> list[str]:
    """Return what has another version now than when a state was kept.

    Raises:
        RunError: it is one by which the state cannot be read for what it means.
    """
    now = versions()
    changed = [
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    major = [v.get("lightning", "").partition(".")[0] for v in (before, now)]
    if major[0] != major[1]:
        raise RunError(
            f"this run was begun with lightning {before.get('lightning')}, and this is "
            f"{now.get('lightning')}, which counts its loops otherwise: go on with that one"
        )
    return changed
