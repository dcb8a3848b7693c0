"""Going on as if nothing had happened: when the state of a run is kept, and how it is taken up.

There is one place where a state is kept: an optimizer step is done, with all that callbacks and
module do after it, and nothing that follows is: no validation, no end of an epoch. Lightning's own
way of going on has a case for each place where a checkpoint may have been made, and leaves out
validation and epoch ends in some. Here the epoch begins as any other, and in place of its first
batch everything is put back to what it was; what was still to come after that step then comes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from dlk._local import loaded_sources
from dlk.callback.weight_average import WeightAverage
from dlk.errors import RunError, StateWarning
from dlk.trainer._compared import COMPARED, is_compared, lacking
from dlk.trainer._state import FORMAT, States, write_state
from dlk.trainer._writer import Writer, copied, reason_of

if TYPE_CHECKING:
    from lightning.pytorch.loops.fetchers import _DataFetcher

    from dlk.callback.resume import Resume
    from dlk.trainer._logs import Logs, Scalars

__all__ = ["Keeper"]


class Keeper:
    """Keeps the states of one run, and puts one back.

    Args:
        run_dir: folder of the run.
        options: when a state is kept.
        logs: the run's log files, which are cut back to where they stood.
        tensorboard: what writes some of them.

    Attributes:
        about: what the run is: put into each state.
        io: what Lightning writes and removes checkpoints with.
    """

    def __init__(self, run_dir: str, options: Resume, logs: Logs, tensorboard: Scalars) -> None:
        self.run_dir = run_dir
        self.options = options
        self.logs = logs
        self.tensorboard = tensorboard
        self.states = States(run_dir)
        self.writer = Writer(in_background=options.in_background)
        self.io = _CheckpointIO(self)
        self.about: dict[str, Any] = {}
        self.alive: dict[str, None] = {}  # checkpoints that were asked for, and not to be removed
        self._doomed: list[tuple[str, int]] = []  # the writer's own
        self._state: dict[str, Any] | None = None  # to be put back
        self._is_new = True  # whether the step that was done last was done here
        self._in_step = False
        self._stopping = False
        self._owed = False
        self._kept_at = 0
        self._kept_time = time.monotonic()
        self._started = time.monotonic()
        self._before = 0.0  # seconds of earlier processes
        self._is_trial = False
        self._trouble = ""
        self._tells = True
        self._sources: dict[str, str] = {}
        self._lacking: list[str] = []  # of this Lightning: nothing is kept
        self.trainer: pl.Trainer | None = None

    def install(self, trainer: pl.Trainer) -> None:
        """Take a place in the trainer's loop: before each batch, and after it.

        None is taken in a Lightning that has not what this relies on.
        """
        self.trainer = trainer
        dynamic: Any = trainer  # Lightning sets some attributes where mypy does not see it
        self._is_trial = bool(dynamic.fast_dev_run)
        self._lacking = lacking(trainer)
        if self._lacking:
            return
        loop = trainer.fit_loop.epoch_loop
        advance, end = loop.advance, loop.on_advance_end

        def next_batch(data_fetcher: _DataFetcher) -> None:
            if self._state is not None:
                self._put_back(trainer, data_fetcher)
                return
            self._in_step = self._is_new = True
            try:
                advance(data_fetcher)
            finally:
                self._in_step = False

        def after_batch(data_fetcher: _DataFetcher) -> None:
            self._after_batch(trainer, data_fetcher)
            end(data_fetcher)

        loop.advance = next_batch  # type: ignore[method-assign]  # whichever loop it is
        loop.on_advance_end = after_batch  # type: ignore[method-assign]

    # Keeping --------------------------------------------------------------------------------------

    def _after_batch(self, trainer: pl.Trainer, fetcher: _DataFetcher) -> None:
        self.writer.check()
        if self._trouble:
            self._tell()
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return
        stops = self._stopping or trainer.received_sigterm
        if self._is_new and (stops or self._is_due(trainer, fetcher)) and self._can(trainer):
            self._save(trainer)
        if stops:
            self.writer.wait()
            self.writer.check()
            if self._trouble:
                self._tell()
            raise KeyboardInterrupt if self._stopping else SIGTERMException

    def _is_due(self, trainer: pl.Trainer, fetcher: _DataFetcher) -> bool:
        options = self.options
        if not options.enabled or self._is_trial:
            return False
        every, interval = options.every_n_train_steps, options.train_time_interval
        since = time.monotonic() - self._kept_time
        due = self._owed
        if every is not None and not due:
            due = trainer.global_step // every > self._kept_at // every
        if interval is not None and not due:
            due = since >= interval
        if options.at_evaluation and not due and since >= options.pause:
            loop = trainer.fit_loop.epoch_loop
            due = loop._num_ready_batches_reached() or loop._should_check_val_fx(fetcher)
        # training waits for no older copy: a later step is as good
        self._owed = due and self.writer.busy
        return due and not self._owed

    def _can(self, trainer: pl.Trainer) -> bool:
        """Return whether the place is known: a loader of another kind knows epochs only."""
        if not self.options.enabled or self._is_trial:
            return False
        loop = trainer.fit_loop.epoch_loop
        return hasattr(trainer.train_dataloader, "state_dict") or loop._num_ready_batches_reached()

    def _save(self, trainer: pl.Trainer) -> None:
        self._kept_at = trainer.global_step
        trainer.save_checkpoint(self.states.path(self._kept_at), weights_only=False)
        self._kept_time = time.monotonic()

    def take(self, path: str, checkpoint: dict[str, Any]) -> None:
        """Copy what Lightning keeps, with what else it takes to go on; have it written."""
        assert self.trainer is not None
        self.writer.wait_for_copy()
        try:
            held = copied({**checkpoint, "dlk": self._own(self.trainer)}, strict=True)
        except RunError as error:
            self._trouble = str(error)
            return

        def job() -> None:
            if self.writer.failed is not None:  # a state names checkpoints that are there
                return
            try:
                write_state(path, held)
            except Exception as error:  # noqa: BLE001  # a run that is not stopped needs no state
                self._trouble = f"cannot write {path}: {reason_of(error)}"
                return
            self._trouble, self._tells = "", True
            self.states.drop_old()
            self._release()

        self.writer.do_with_copy("remove states and checkpoints that are not needed any more", job)

    def _own(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Return what Lightning does not keep."""
        loader: Any = trainer.train_dataloader
        imodel: Any = trainer.lightning_module
        sizes, unwritten = self.logs.stand()
        return {
            **self.about,
            "format": FORMAT,
            "run_dir": self.run_dir,
            "sources": self._sources,
            "seconds": self._before + time.monotonic() - self._started,
            "loader": loader.state_dict() if hasattr(loader, "state_dict") else None,
            "imodel": imodel.course(),
            "callback_metrics": dict(trainer.callback_metrics),
            "is_first_batch": trainer._logger_connector._first_loop_iter,
            "should_stop": trainer.should_stop,
            "logs": sizes,
            "unwritten": unwritten,
            "checkpoints": [os.path.relpath(path, self.run_dir) for path in self.alive],
            "random": _random_state(),  # the last: nothing above draws
        }

    def _tell(self) -> None:
        """Warn of a state that could not be kept: once, until one could be kept again."""
        trouble, self._trouble = self._trouble, ""
        if self._tells:
            self._tells = False
            steps = self.states.steps()
            kept = f"the state of step {steps[-1]} is kept" if steps else "there is none yet"
            message = f"no state of this run could be kept: {trouble}; {kept}, training goes on"
            warnings.warn(message, StateWarning, stacklevel=2)

    # Checkpoints ----------------------------------------------------------------------------------

    def average(self) -> Mapping[str, Tensor]:
        """Return the average of the weights where evaluation takes it; {} otherwise."""
        dynamic: Any = self.trainer
        averages = (c.used for c in dynamic.callbacks if isinstance(c, WeightAverage))
        return next(averages, {})

    def doom(self, path: str) -> None:
        """Remove a checkpoint as soon as no state on disk knows it: going on would miss it."""

        def job() -> None:
            if self.writer.failed is None:
                self._doomed.append((path, max(self.states.steps(), default=-1)))
                self._release()

        self.alive.pop(path, None)
        self.writer.do(f"remove {path}", job)

    def _release(self, *, all_of_them: bool = False) -> None:
        oldest = min(self.states.steps(), default=None)
        kept = []
        for path, newest in self._doomed:
            if all_of_them or oldest is None or newest < oldest:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(path)
            else:
                kept.append((path, newest))
        self._doomed = kept

    # Going on -------------------------------------------------------------------------------------

    def resume(self, state: dict[str, Any]) -> str:
        """Have the state put back when training begins; return what Lightning calls its file.

        Raises:
            RunError: this Lightning has not what going on relies on.
        """
        if self._lacking:
            raise RunError(
                f"{self.run_dir} cannot go on: {self._unknown()}. Go on with lightning "
                f"{_lightning_of(state)}, or train anew (without resume)"
            )
        if not is_compared():
            message = (
                f"lightning {lightning.__version__} was not compared ({', '.join(COMPARED)} were): "
                "all that going on relies on is there, and what is put back is looked at once more"
            )
            warnings.warn(message, StateWarning, stacklevel=2)
        now = loaded_sources()
        before: dict[str, str] = state["dlk"].get("sources", {})
        edited = [name for name, digest in before.items() if now.get(name, digest) != digest]
        if edited:
            message = (
                f"{self.run_dir}: code of this project was edited since the state was kept "
                f"({', '.join(edited)}), so the run need not come to what it would have"
            )
            warnings.warn(message, StateWarning, stacklevel=2)
        state = _moved(state, state["dlk"]["run_dir"], self.run_dir)
        self._state = state
        self._kept_at = int(state["global_step"])
        self._before = float(state["dlk"]["seconds"])
        return self.states.path(self._kept_at)

    def _unknown(self) -> str:
        """Return why no state is kept, nor taken up, in this Lightning."""
        shown = ", ".join(self._lacking[:3]) + (", …" if len(self._lacking) > 3 else "")
        return (
            f"lightning {lightning.__version__} was not compared ({', '.join(COMPARED)} were), and "
            f"has not, or not as it was, what going on relies on: {shown}"
        )

    @property
    def lightnings(self) -> dict[str, Any]:
        """The part of the state that Lightning puts back by itself."""
        assert self._state is not None
        return {name: part for name, part in self._state.items() if name not in ("loops", "dlk")}

    def before_first_epoch(self, trainer: pl.Trainer) -> None:
        """Have the epoch begin in whose middle, or at whose end, the state was kept."""
        if self._state is None:
            return
        progress = trainer.fit_loop.epoch_progress
        progress.load_state_dict(self._state["loops"]["fit_loop"]["epoch_progress"])
        for counted in (progress.total, progress.current):
            counted.ready = counted.started = counted.processed = counted.completed  # type: ignore[attr-defined]  # Lightning names the base

    def _put_back(self, trainer: pl.Trainer, fetcher: _DataFetcher) -> None:
        """Put everything back to what it was after the step of the state."""
        assert self._state is not None
        state, self._state, self._is_new = self._state, None, False
        own: dict[str, Any] = state["dlk"]
        dynamic: Any = trainer
        for callback in dynamic.callbacks:  # again: those that begin an epoch may have counted
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])
        trainer.fit_loop.load_state_dict(state["loops"]["fit_loop"])
        _go_straight_on(trainer.fit_loop)
        trainer.should_stop = own["should_stop"]
        connector = trainer._logger_connector
        connector._callback_metrics.update(own["callback_metrics"])
        connector._first_loop_iter = own["is_first_batch"]
        imodel: Any = trainer.lightning_module
        imodel.load_course(own["imodel"])
        given = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        loader: Any = trainer.train_dataloader
        if own["loader"] is not None:
            loader.load_state_dict(own["loader"])
        iter(fetcher)
        fetcher.fetched = given
        fetcher.done = fetcher.length is not None and given >= fetcher.length
        self.tensorboard.begin_anew()
        self.logs.put_back(own["logs"], own.get("unwritten", {}))
        self._sweep(own["checkpoints"])
        self._check_put_back(trainer, state)
        self._kept_time = time.monotonic()
        _set_random_state(own["random"])

    def _check_put_back(self, trainer: pl.Trainer, state: Mapping[str, Any]) -> None:
        """Refuse to train on where Lightning took its counts up as anything else."""
        there = trainer.fit_loop.state_dict()
        counts = {
            name: was for name, was in state["loops"]["fit_loop"].items() if name != "state_dict"
        }
        found = {
            "global_step": (trainer.global_step, state["global_step"]),
            "epoch": (trainer.current_epoch, state["epoch"]),
            **{name: (there.get(name), was) for name, was in counts.items()},
        }
        wrong = [f"{name} {now}, not {was}" for name, (now, was) in found.items() if now != was]
        if wrong:
            began = _lightning_of(state)
            raise RunError(
                f"{self.run_dir} cannot go on: lightning {lightning.__version__} takes up the "
                f"counts of {began} as {'; '.join(wrong)}. Go on with lightning {began}"
            )

    def _sweep(self, names: list[str]) -> None:
        """Remove checkpoints that were made after the state."""
        self.alive = {os.path.join(self.run_dir, name): None for name in names}
        for path in Path(self.run_dir, "checkpoint").rglob("*.ckpt"):
            if str(path) not in self.alive:
                path.unlink()

    def end_logs(self) -> None:
        """Have all that was logged on the disk, now that the run is at its end.

        Raises:
            RunError: the disk does not take it; the run goes on from its last state.
        """
        self.logs.end(can_go_on=bool(self.states.steps()))

    # Around training ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep a state when Ctrl-C is pressed, and wait for all files at the end.

        Ctrl-C stops training after the step that goes on; pressed again, or where none goes on, at
        once.
        """
        python_own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        listens = python_own and threading.current_thread() is threading.main_thread()
        if listens:
            signal.signal(signal.SIGINT, self._interrupted)
        self._started = self._kept_time = time.monotonic()
        self._sources = loaded_sources()  # as they were loaded: they may be edited while it goes on
        if self._lacking and self.options.enabled:
            message = (
                f"no state of this run is kept, and none can be gone on from: {self._unknown()}"
            )
            warnings.warn(message, StateWarning, stacklevel=2)
        try:
            yield
            self.writer.do("remove old checkpoints", lambda: self._release(all_of_them=True))
            self.writer.wait()
            self.writer.check()
        finally:
            self.writer.close()
            if listens:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupted(self, number: int, frame: Any) -> None:
        if not self._in_step or self._stopping or not self.options.enabled:
            raise KeyboardInterrupt
        self._stopping = True


class _CheckpointIO(CheckpointIO):
    """How Lightning's checkpoints get to the disk."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,
    ) -> None:
        path = os.fspath(path)
        if path.endswith(".state"):
            self.keeper.take(path, checkpoint)
        else:
            average = self.keeper.average()
            if average:
                checkpoint = {**checkpoint, "average": dict(average)}
            self.keeper.alive[path] = None
            self.keeper.writer.write(path, checkpoint)

    @property
    def asked(self) -> Mapping[str, None]:
        """Checkpoints that are there, or about to be."""
        return self.keeper.alive

    def link(self, source: str, target: str) -> None:
        """Give a checkpoint that was saved a second name."""
        self.keeper.alive[target] = None
        self.keeper.writer.link(source, target)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        if os.fspath(path).endswith(".state"):
            return self.keeper.lightnings
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return found

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        self.keeper.doom(os.fspath(path))


def _lightning_of(state: Mapping[str, Any]) -> str:
    """Return with which version of Lightning a state was kept."""
    return str(state["dlk"].get("versions", {}).get("lightning", "that it was begun with"))


def _go_straight_on(loop: Any) -> None:  # Any: Lightning exports no base of its loops
    """Take back that a loop was loaded: it is not to find its way by Lightning's own rules."""
    loop._restarting = loop._loaded_from_state_dict = loop._resuming_from_checkpoint = False
    for part in vars(loop).values():
        if hasattr(part, "_loaded_from_state_dict"):
            _go_straight_on(part)


def _random_state() -> dict[str, Any]:
    kind, keys, place, has_gauss, gauss = np.random.get_state()  # noqa: NPY002  # what others draw from
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(place)),
        "numpy_gauss": (int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def _set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    kind, keys, place = state["numpy"]
    numbers = keys.numpy().astype(np.uint32)
    np.random.set_state((kind, numbers, place, *state["numpy_gauss"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def _moved(value: Any, old: str, new: str) -> Any:
    """Return the value with paths into a run's folder where that lies now."""
    if old == new:
        return value
    if isinstance(value, str):
        return new + value[len(old) :] if (value + os.sep).startswith(old + os.sep) else value
    if type(value) in (list, tuple):
        return type(value)(_moved(part, old, new) for part in value)
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    return value
