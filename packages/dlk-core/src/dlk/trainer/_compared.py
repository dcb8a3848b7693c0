"""What dlk relies on inside Lightning: the versions that were compared, and a look at any other.

Taking up a state in the middle of an epoch puts Lightning's counts where they were, by names that
Lightning promises nobody. So they are looked at before a run begins: with a version that has not
all of them, or has something else in their place, no state is kept, and that is said. What was put
back is looked at again afterwards (`Keeper`), whatever the version.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from operator import attrgetter
from typing import Any

import lightning
import lightning.pytorch as pl

__all__ = ["COMPARED", "is_compared", "lacking"]

COMPARED = ("2.5.6", "2.6.0", "2.6.1", "2.6.6")
"""Versions of Lightning with which the tests of `_steps` and of resuming were run: no others."""

_COUNTS = ("ready", "started", "processed", "completed")
_TRAINER: dict[str, type | int] = {  # a number: a method that takes so many arguments
    "global_step": int,
    "should_stop": bool,
    "callback_metrics": dict,
    "save_checkpoint": 1,
    "fit_loop.state_dict": 0,
    "fit_loop.load_state_dict": 1,
    "fit_loop.epoch_progress.load_state_dict": 1,
    **{f"fit_loop.epoch_progress.{part}.{name}": int for part in ("total", "current")
       for name in _COUNTS},
    "fit_loop.epoch_loop.advance": 1,
    "fit_loop.epoch_loop.on_advance_end": 1,
    "fit_loop.epoch_loop._should_accumulate": 0,
    "fit_loop.epoch_loop._num_ready_batches_reached": 0,
    "fit_loop.epoch_loop._should_check_val_fx": 1,
    "fit_loop.epoch_loop._batches_that_stepped": int,
    "fit_loop.epoch_loop.batch_progress.current.ready": int,
    **{f"fit_loop.{part}{name}": bool for part in ("", "epoch_loop.", "epoch_loop.val_loop.")
       for name in ("_restarting", "_loaded_from_state_dict", "_resuming_from_checkpoint")},
    "_logger_connector._callback_metrics": dict,
    "_logger_connector._first_loop_iter": object,  # true, false, or None outside an epoch
}  # fmt: skip
_PROPERTIES = ("received_sigterm", "train_dataloader", "lightning_module")
_FETCHER: dict[str, type | int] = {"fetched": int, "done": bool, "length": object}
_CHECKPOINT: dict[str, type | int] = {
    "_last_global_step_saved": int,
    "_last_checkpoint_saved": str,
    "_defer_save_until_validation": bool,
}
_NOTHING = object()


def is_compared() -> bool:
    """Return whether the tests were run with this version of Lightning."""
    return lightning.__version__ in COMPARED


def lacking(trainer: pl.Trainer) -> list[str]:
    """Return what keeping states relies on and this Lightning has not, or not as what it is."""
    return list(_wrong(trainer))


def _wrong(trainer: pl.Trainer) -> Iterator[str]:
    yield from _differing("Trainer", trainer, _TRAINER)
    for name in _PROPERTIES:  # they hold only while a run goes on
        if not isinstance(getattr(type(trainer), name, None), property):
            yield f"Trainer.{name}"
    fetcher = _made("lightning.pytorch.loops.fetchers", "_PrefetchDataFetcher")
    yield from _differing("_PrefetchDataFetcher", fetcher, _FETCHER)
    checkpoint = _made("lightning.pytorch.callbacks", "ModelCheckpoint")
    yield from _differing("ModelCheckpoint", checkpoint, _CHECKPOINT)


def _differing(name: str, thing: Any, expected: dict[str, type | int]) -> Iterator[str]:
    """Yield the paths below a thing where something else stands than is expected, or nothing."""
    for path, kind in expected.items():
        try:
            value = attrgetter(path)(thing)
        except AttributeError:
            value = _NOTHING
        if isinstance(kind, int):
            fits = callable(value) and _takes(value, kind)
        else:
            fits = value is not _NOTHING and isinstance(value, kind)
        if not fits:
            yield f"{name}.{path}"


def _takes(method: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError:
        return False
    return True


def _made(module: str, name: str) -> Any:
    """Return an object of a class of Lightning's; something without any attribute if it is gone."""
    try:
        return getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError):
        return _NOTHING
