"""`Train`: from ``fit.jsonc`` to runs, each with logs, checkpoints, results and a bundle.

A config with ``_search`` spans a grid; its runs go in turn, each in its own folder::

    log_dir/NAME/
        config.json        the resolved config
        source/            the configs as they were written
        environment.json   versions, platform, seed
        metrics.jsonl      what was logged; metrics/ holds the same for TensorBoard
        average.safetensors  the average of the weights, where a callback keeps one
        checkpoint/        where a checkpoint callback is configured
        state/             while it is not done: what a run that was stopped goes on from
        result.json        state, metrics, which weights were kept
        bundle/            the artefact to predict and serve with

Where ``log_dir`` is a URL, a run is written to a folder of this machine, and sent from there.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import re
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk._hooks import Hook
from dlk._override import shown_overrides
from dlk._resuming import changed_versions, check_same, config_of, find, numbered, versions
from dlk._run_folder import OWNER, claim_number, go_on, left_weights, refuse_busy, release, take
from dlk.config import Point, changed, child, node_of, thaw
from dlk.config.keys import locate
from dlk.config.reading import Source
from dlk.errors import (
    ConfigError,
    DlkError,
    Problem,
    RunError,
    StateWarning,
    StorageError,
    redact,
)
from dlk.fit import load_fit, load_meta
from dlk.flow.metrics import missing_metric, reported
from dlk.io import atomic_write, is_remote, local_folder, local_path, open_file, sha256_of
from dlk.plugin import FitFacts, FitOutcome
from dlk.postprocessor import plain
from dlk.registry import register

if TYPE_CHECKING:
    from dlk._mirror import Mirror
    from dlk._remote_run import RemoteRun, RemoteRuns

__all__ = ["RunResult", "Train", "TrainResult"]


@dataclass(slots=True)
class RunResult:
    """What one run came to; the content of its ``result.json``.

    Attributes:
        name: its folder below the log folder.
        dir: its folder, or the URL of it.
        state: ``done``, ``failed`` or ``interrupted``.
        parameters: the values that set it apart from the other runs.
        metrics: the final ``val_*`` and ``test_*`` of the weights that were kept.
        weights: which weights these are: the best checkpoint and its step, or the last step.
        bundle: folder of the bundle, or the URL of it; empty where there is none.
        seconds: wall time.
        error: why it failed.
        found: what validation found for options that were searched for, by config path.
        skipped: true where an earlier call had done it.
        resumed: the steps after which it was stopped and went on.
        note: what is to be said of how it began.
    """

    name: str
    dir: str
    state: str = "running"
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    weights: str = ""
    bundle: str = ""
    seconds: float = 0.0
    error: str = ""
    found: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False
    resumed: list[int] = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class TrainResult:
    """All runs of a config, in the order in which they went."""

    runs: list[RunResult]

    @property
    def bundle(self) -> str:
        """The bundle of the only run."""
        if len(self.runs) != 1:
            raise RunError(f"{len(self.runs)} runs were made; choose the bundle of one of them")
        return self.runs[0].bundle

    @property
    def failed(self) -> list[RunResult]:
        """The runs that did not end well."""
        return [run for run in self.runs if run.state != "done"]

    def table(self) -> list[dict[str, Any]]:
        """Return one row per run: name, state, parameters, metrics, seconds."""
        return [
            {
                "run": r.name,
                "state": r.state,
                **r.parameters,
                **r.metrics,
                "seconds": round(r.seconds, 1),
            }
            for r in self.runs
        ]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run to be made: its config, and where it goes: the log folder while it has no name.

    Attributes:
        dir: its folder on this machine.
        runs: where it is sent to; None: nowhere.
    """

    point: Point
    name: str
    dir: str
    parameters: dict[str, Any]
    runs: RemoteRuns | None = None
    remote: RemoteRun | None = None

    @property
    def shown(self) -> str:
        """Where it is to be found in the end."""
        return self.dir if self.remote is None else redact(self.remote.url)

    def look(self) -> str:
        """Return a folder that tells what the run came to so far."""
        return self.dir if self.remote is None else self.remote.look()

    def called(self, name: str) -> _Run:
        """Return the run under a name."""
        if self.runs is None:
            return replace(self, name=name, dir=os.path.join(self.dir, name))
        remote = self.runs.run(name)
        return replace(self, name=name, dir=remote.dir, remote=remote)


class Train:
    """Trains every run of a fit config.

    Args:
        config: path of ``fit.jsonc``, or its content as a dict.
        overrides: ``"imodel.optimizer.lr=1e-4"`` texts, or a mapping of path to value.
        checkpoint: weights to start from, or to test where there is no training data: a run's
            ``.ckpt`` or a ``.safetensors``.
        overwrite: take the name of a run that is there already, which becomes ``NAME.old``.
        resume: go on with what was stopped: the run of this folder (its path, or its name below
            the log folder, or its URL); true: the newest that is not done. Of a search, runs that
            are done are kept, and those that were not begun are made.

    Raises:
        ConfigError: the config is wrong; all mistakes that can be seen are named.
        DataError: the data was not processed yet.
    """

    def __init__(
        self,
        config: Source,
        *,
        overrides: Sequence[str] | Mapping[str, Any] = (),
        checkpoint: str = "",
        overwrite: bool = False,
        resume: bool | str = False,
    ) -> None:
        self.source = config
        self.overrides = overrides
        self.loaded = load_fit(config, overrides)
        self.points: list[Point] = list(self.loaded)
        self.checkpoint = local_path(checkpoint)
        self.overwrite = overwrite
        self.resume = local_path(resume) if isinstance(resume, str) else resume
        if resume and (checkpoint or overwrite):
            other = "checkpoint" if checkpoint else "overwrite"
            raise ConfigError(f"a run that goes on has weights and folder: leave out {other}")
        if isinstance(resume, str) and len(self.points) > 1:
            raise ConfigError("this config searches over several runs: resume them all (no name)")
        if checkpoint and len(self.points) > 1:
            raise ConfigError("a checkpoint fits one run, but this config searches over several")
        self._parameters = [_parameters(point) for point in self.points]
        self._check_names()
        self._tell: Callable[[str], None] = _silently
        self._runs: dict[str, RemoteRuns] = {}
        self._mirror: Mirror | None = None
        self._began = 0.0

    def run(self, *, tell: Callable[[str], None] | None = None) -> TrainResult:
        """Make the runs in turn and return their results.

        In a search, a run that fails is noted and the others go on; a run that an earlier call
        finished with the same config is not made again, one that it did not finish is.

        Args:
            tell: takes a line on what goes on, such as from where a run goes on.

        Raises:
            RunError: a run's folder holds something else; nothing was trained then.
            StorageError: `log_dir` is a URL that cannot be written, and nothing was trained; or
                what was trained could not be sent there: the message says where it is.
        """
        self._tell = tell or _silently
        runs = self._planned()
        if self.resume:
            runs = self._begun_before(runs)
        for run in runs:
            self._check_folder(run, is_search=len(runs) > 1)
        return TrainResult([self._one(run, is_search=len(runs) > 1) for run in runs])

    def _check_names(self) -> None:
        """Refuse a search of which two runs would go to one folder."""
        seen: dict[tuple[str, str], int] = {}
        for number, (point, parameters) in enumerate(
            zip(self.points, self._parameters, strict=True)
        ):
            fit = point.root("fit")
            if not fit.specific:
                continue
            name = _name(parameters)
            other = seen.setdefault((fit.log_dir, name), number)
            if other != number:
                message = (
                    f'runs {other} and {number} of the search would both be called "{name}": '
                    "name more of what is searched"
                )
                raise ConfigError([Problem("fit.specific", message)])

    def _planned(self) -> list[_Run]:
        """Return the runs: named by `specific`, else without a name until they begin."""
        runs: list[_Run] = []
        for point, parameters in zip(self.points, self._parameters, strict=True):
            fit = point.root("fit")
            at = self._at(fit.log_dir) if is_remote(fit.log_dir) else None
            folder = fit.log_dir if at is None else str(at.folder)
            run = _Run(point, "", folder, parameters or dict(point.choice), at)
            runs.append(run.called(_name(parameters)) if fit.specific else run)
        return runs

    def _at(self, url: str) -> RemoteRuns:
        """Return the runs at a URL, where runs can be written."""
        if url not in self._runs:
            from dlk._remote_run import RemoteRuns

            runs = RemoteRuns(url)
            runs.check()
            self._runs[url] = runs
        return self._runs[url]

    def _begun_before(self, runs: list[_Run]) -> list[_Run]:
        """Return the runs with the folders of those that were begun before."""
        if isinstance(self.resume, str):
            (run,) = runs
            return [self._named(run, self.resume)]
        found: list[_Run] = []
        for run in runs:
            taken = [other.name for other in found]
            folder = "" if run.name else find(
                self._numbered(run, taken), run.point, only=len(runs) == 1,
                is_of_data=partial(_is_of_data, run),
            )  # fmt: skip
            found.append(run.called(os.path.basename(folder)) if folder else run)
        return found

    def _named(self, run: _Run, resume: str) -> _Run:
        """Return the run with the folder that is named."""
        from dlk._remote import without_slash

        log_dir = run.point.root("fit").log_dir
        log_dir = without_slash(log_dir) if is_remote(log_dir) else log_dir
        if is_remote(resume):
            resume = resume.rstrip("/")
            base = log_dir if resume.startswith(f"{log_dir}/") else resume.rpartition("/")[0]
            if not is_remote(base):
                raise RunError(f"{resume} names no run of a log folder (resume)")
            at = self._at(base)
            begun = replace(run, dir=str(at.folder), runs=at).called(resume[len(base) + 1 :])
        elif run.runs is not None and config_of(resume) is None:
            begun = replace(run, dir=str(run.runs.folder)).called(resume)
        else:
            folder = resume if os.path.isdir(resume) else os.path.join(log_dir, resume)
            name = os.path.relpath(os.path.abspath(folder), log_dir if run.runs is None else None)
            begun = replace(run, name=name, dir=os.path.abspath(folder), runs=None, remote=None)
        parts = begun.name.split("/")
        leaves = begun.remote is not None and not {"", ".", ".."}.isdisjoint(parts)
        if leaves or config_of(begun.look()) is None:
            raise RunError(f"{begun.shown} holds no run to go on with (resume)")
        return begun

    def _numbered(self, run: _Run, taken: Sequence[str]) -> Iterator[str]:
        """Yield folders that tell of the runs without names, the newest first."""
        if run.runs is None:
            yield from (f for f in numbered(run.dir) if os.path.basename(f) not in taken)
            return
        for name in run.runs.numbers():
            if name in taken:
                continue
            try:
                folder = run.runs.run(name).look()
            except RunError as error:
                self._tell(f"run {name} is left out: {error}")
            else:
                yield folder

    def _check_same(self, run: _Run, folder: str) -> None:
        """Refuse to go on where config or data are not what they were."""
        before = config_of(folder)
        if before is None:
            return
        check_same(run.shown, before, run.point)
        if not _is_of_data(run, folder):
            raise RunError(
                f"{run.shown} cannot go on: it was trained on other data, which was processed anew "
                "since. Process what it was, or train anew (without resume)."
            )

    def _state_of(self, run: _Run) -> tuple[dict[str, Any] | None, str]:
        """Return the state to go on from, and what is to be said of it."""
        from dlk.trainer._state import States

        if config_of(run.dir) is None:
            return None, ""
        state, wrong = States(run.dir).newest()
        if state is None:
            return None, "it was stopped before it kept a state, so it starts again"
        own = state["dlk"]
        check_same(run.shown, json.loads(own["config"]), run.point)
        changed = changed_versions(own["versions"])
        note = f"goes on from step {state['global_step']}"
        if wrong:
            note += f", as a newer state cannot be used: {wrong[0]}"
        if changed:
            note += (
                f"; versions are others now ({', '.join(changed)}), so it need not come to the "
                "same bits"
            )
        if wrong or changed:
            warnings.warn(f"{run.shown} {note}", StateWarning, stacklevel=2)
        return state, note

    def _check_folder(self, run: _Run, *, is_search: bool) -> str:
        """Refuse a folder that is in use by something else than this very run.

        Returns:
            A folder that tells what the run came to so far; one that is not there where it was not
            begun.
        """
        if not run.name:
            return ""
        folder = run.look()
        if not os.path.lexists(folder):
            return folder
        refuse_busy(run.dir)
        if self.resume and not _came_to_nothing(folder):
            self._check_same(run, folder)
            return folder
        if os.path.isdir(folder) and all(n[0] == "." or n == OWNER for n in os.listdir(folder)):
            return folder
        if not os.path.isfile(os.path.join(folder, "config.json")):
            raise RunError(f"{run.shown} is there already and holds no run: give another name")
        if self.checkpoint and Path(run.dir).resolve() in Path(self.checkpoint).resolve().parents:
            raise RunError(
                f"{run.shown} would be replaced, and holds the checkpoint to start from: "
                "give the run another name"
            )
        if _came_to_nothing(folder):
            return folder
        if not self.overwrite and not (is_search and _is_same(run, folder)):
            raise RunError(
                f"{run.shown} holds a run already. Give it another name (specific, log_dir), "
                "remove it, or say overwrite (--overwrite)."
            )
        if not self.overwrite and not _is_of_data(run, folder):
            raise RunError(
                f"{run.shown} holds a run on other data: it was processed anew since. Give the "
                "runs another log_dir, or say overwrite (--overwrite)."
            )
        return folder

    def _one(self, run: _Run, *, is_search: bool) -> RunResult:
        # a run before may have taken hours
        folder = self._check_folder(run, is_search=is_search)
        keeps = bool(self.resume) or (is_search and not self.overwrite)
        done = _finished(folder) if keeps and run.name else None
        if done is None:
            is_to_come = bool(self.resume) and config_of(folder) is not None
        else:  # all but its last word, which is said here
            is_to_come = done.state == "running" and folder != run.dir
        if run.remote and is_to_come:
            run.remote.lease.acquire(self._tell)
            try:
                run.remote.bring()
                done = _finished(run.dir)  # by another machine, meanwhile
                if done is not None:
                    run.remote.lease.release()
                    folder = run.dir
            except BaseException:
                run.remote.lease.release()
                raise
        if done is not None:
            return self._left_as_it_is(run, done, folder)
        try:
            state, note = self._state_of(run) if self.resume and run.name else (None, "")
            if state is None:
                run = self._begun(run)
            else:
                go_on(run.dir)
        except BaseException:
            if run.remote:
                run.remote.lease.release()
            raise
        if note:
            self._tell(f"run {run.name}: {note}")
        return self._made(run, state, note, is_search=is_search)

    def _made(
        self, run: _Run, state: dict[str, Any] | None, note: str, *, is_search: bool
    ) -> RunResult:
        """Make a run, or go on with it, in a folder that is this process's own."""
        result = RunResult(name=run.name, dir=run.dir, parameters=run.parameters, note=note)
        self._began = time.monotonic()
        if state is not None:
            self._began -= float(state["dlk"]["seconds"])
            result.resumed = [*state["dlk"]["resumed"], int(state["global_step"])]
        facts = FitFacts(run.name, run.dir, run.parameters, run.point.resolved)
        unsent: StorageError | None = None
        try:
            self._write_head(run.point, run.dir, result.resumed)
            self._follow(run)
            Hook("dlk_before_fit").tell(may_veto=True, facts=facts)
            self._work(run.point, result, *([] if state is None else [state]))
            result.state = "done"
        except KeyboardInterrupt:
            result.state = "interrupted"
            result.error = "stopped by Ctrl-C; resume (--resume) goes on"
            raise
        except Exception as error:
            result.state = "failed"
            expected = isinstance(error, DlkError)
            result.error = str(error) if expected else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # the folder may be what failed
                _write_text(os.path.join(run.dir, "error.txt"), traceback.format_exc())
            if not is_search:
                raise
        finally:
            if result.state == "running":  # the process is being ended
                result.state = "interrupted"
            try:
                self._write_result(run, result)
            finally:
                release(run.dir)
            if result.state == "done":
                shutil.rmtree(os.path.join(run.dir, "state"), ignore_errors=True)
            unsent = self._send(run, result)
            after = Hook("dlk_after_fit")
            if after:
                after.tell(facts=facts, outcome=_outcome(result))
            if run.remote is not None and unsent is None:
                run.remote.drop()
            gc.collect()
        if unsent is not None and result.state == "done":
            if not is_search:
                raise unsent
            result.state, result.error = "failed", str(unsent)
        return result

    def _left_as_it_is(self, run: _Run, done: RunResult, folder: str) -> RunResult:
        """Return the result of a run that is done; a part of it that is not at its URL is sent."""
        was_stopped = done.state == "running"  # when only its last word was left to say
        done.state, done.dir = "done", run.shown
        if done.bundle:
            done.bundle = os.path.join(run.shown, "bundle")
        if folder == run.dir:
            shutil.rmtree(os.path.join(folder, "state"), ignore_errors=True)
        if was_stopped:
            _dump(os.path.join(folder, "result.json"), plain(asdict(done)))
            release(folder)
        done.skipped = True
        done.note = "it was done already"
        self._tell(f"run {run.name}: {done.note}")
        if run.remote is not None and folder == run.dir:
            run.remote.lease.acquire(self._tell)
            self._follow(run)
            unsent = self._send(run, done)
            if unsent is not None:
                raise unsent
            run.remote.drop()
        return done

    def _begun(self, run: _Run) -> _Run:
        """Return the run with a folder that is made, and its own."""
        if run.runs is None and not run.name:
            return run.called(claim_number(run.dir))
        if run.runs is None:
            take(run.dir)
            return run
        if run.remote is None:
            remote = run.runs.claim(self._tell)
            run = replace(run, name=remote.name, dir=remote.dir, remote=remote)
        else:
            remote = run.remote
            remote.take(self._tell)
        try:
            take(run.dir)
        except BaseException:
            remote.lease.release()
            raise
        return run

    def _follow(self, run: _Run) -> None:
        """Send from now on what is written, where the run is to be at a URL."""
        self._mirror = None
        if run.remote is not None:
            from dlk._mirror import Mirror

            self._mirror = Mirror(run.remote, self._tell)
            self._mirror.changed()

    def _send(self, run: _Run, result: RunResult) -> StorageError | None:
        """Send the rest of a run that has ended; return why it could not be sent."""
        mirror, self._mirror = self._mirror, None
        if mirror is None:
            if run.remote is not None:
                run.remote.lease.release()
            return None
        try:
            mirror.finish(is_done=result.state == "done")
        except StorageError as error:
            result.dir = run.dir
            if result.bundle:
                result.bundle = os.path.join(run.dir, "bundle")
            if result.state != "done":  # what ended the run is the news
                warnings.warn(str(error), StateWarning, stacklevel=2)
            return error
        return None

    def _write_result(self, run: _Run, result: RunResult) -> None:
        """Write what the run came to, with the place where it is to be found in the end."""
        result.seconds = time.monotonic() - self._began
        if run.remote is not None:
            result.dir = run.shown
            result.bundle = result.bundle and f"{run.shown}/bundle"
        try:
            _dump(os.path.join(run.dir, "result.json"), plain(asdict(result)))
        except OSError:
            if result.state == "done":  # else what stopped the run is to be told
                raise

    def _write_head(self, point: Point, run_dir: str, resumed: Sequence[int]) -> None:
        """Write what tells later what was run, and on what."""
        fit = point.root("fit")
        _dump(os.path.join(run_dir, "config.json"), point.resolved)
        about = {
            **environment(fit.seed),
            "data": _digest_of_data(local_folder(fit.processed_data_dir)),
        }
        if resumed:
            about["resumed"] = list(resumed)
        _dump(os.path.join(run_dir, "environment.json"), about)
        source = os.path.join(run_dir, "source")
        if self.loaded.document.file:
            _copy(self.loaded.document.file, source)
        elif isinstance(self.source, Mapping):
            _dump(os.path.join(source, "fit.json"), self.source)
        if self.overrides:
            _dump(os.path.join(source, "overrides.json"), thaw(self.overrides))
        processed = os.path.join(local_folder(fit.processed_data_dir), "process.json")
        if os.path.exists(processed):
            _copy(processed, source)

    def _work(self, point: Point, result: RunResult, state: dict[str, Any] | None = None) -> None:
        import lightning.pytorch as pl

        from dlk.bundle.write import write_bundle
        from dlk.checkpoint import read_weights
        from dlk.context import Setup
        from dlk.inference import load_weights

        fit = point.root("fit")
        pl.seed_everything(fit.seed, workers=True, verbose=False)
        meta = load_meta(fit.processed_data_dir)
        setup = Setup(meta=meta, pretrained=not self.checkpoint and state is None, seed=fit.seed)
        datamodule = register.build(child(fit, "datamodule"), setup)
        datamodule.open(local_folder(fit.processed_data_dir))
        has = self._check_splits(datamodule, fit.processed_data_dir)
        trainer = register.build(child(fit, "trainer"), setup, run_dir=result.dir)
        metrics = child(fit, "imodel").signature().metrics
        trainer.check_monitors(metrics, has_validation_data="valid" in has)
        _check_hp_metrics(fit.hp_metrics, metrics, has)
        imodel = register.build(child(fit, "imodel"), setup)
        _check_searched(imodel.postprocessor, validates="valid" in has and trainer.validates)
        if self.checkpoint:
            load_weights(imodel.model, read_weights(self.checkpoint))
            result.weights = f"those of {self.checkpoint}"
        keeper = getattr(trainer, "keeper", None)
        if "train" in has:
            if self._mirror is not None and keeper is not None:
                keeper.writer.watcher = self._mirror
            self._fit(trainer, imodel, datamodule, point=point, result=result, state=state)
            result.metrics.update(self._keep_best(trainer, imodel, result))
        if imodel.postprocessor.searched:
            fit = self._settle(trainer, imodel, datamodule, fit, result)
        elif "valid" in has and not result.metrics:
            result.metrics.update(trainer.validate(imodel, datamodule))
        if "test" in has:
            result.metrics.update(trainer.test(imodel, datamodule))
        result.metrics = dict(sorted(result.metrics.items()))
        chosen = [fit.hp_metrics] if fit.hp_metrics else list(result.metrics)
        trainer.log_hyperparameters(
            result.parameters or {"seed": fit.seed},
            {f"final/{name}": result.metrics[name] for name in chosen if name in result.metrics},
        )
        if keeper is not None:
            keeper.end_logs()
        if os.path.exists(os.path.join(local_folder(fit.processed_data_dir), "process.json")):
            bundle = os.path.join(result.dir, "bundle")
            self._foretell(replace(result, bundle=bundle))
            write_bundle(
                bundle,
                fit=fit,
                model=imodel.model,
                processed_data_dir=local_folder(fit.processed_data_dir),
                metrics=result.metrics,
            )
            result.bundle = bundle

    def _foretell(self, result: RunResult) -> None:
        """Write what the run comes to once its bundle is there: see `_finished`."""
        result.seconds = time.monotonic() - self._began
        _dump(os.path.join(result.dir, "result.json"), plain(asdict(result)))

    @staticmethod
    def _fit(
        trainer: Any,
        imodel: Any,
        datamodule: Any,
        *,
        point: Point,
        result: RunResult,
        state: dict[str, Any] | None,
    ) -> None:
        """Train; a trainer that keeps states is told what the run is, and where it goes on."""
        from dlk.bundle.weights import save_state
        from dlk.callback._average import put_average
        from dlk.callback.weight_average import WeightAverage

        keeper = getattr(trainer, "keeper", None)
        if keeper is None:
            trainer.fit(imodel, datamodule)
            return
        keeper.about = {
            "config": json.dumps(point.resolved),
            "versions": versions(),
            "resumed": result.resumed,
        }
        trainer.fit(imodel, datamodule, state=state)
        for callback in trainer.callbacks.values():
            if isinstance(callback, WeightAverage) and callback.average:
                weights = put_average(imodel.model.state_dict(), callback.average)
                save_state(weights, os.path.join(result.dir, "average.safetensors"))

    def _check_splits(self, datamodule: Any, folder: str) -> list[str]:
        """Return the splits with rows; refuse data that leaves nothing to do."""
        found = {name: datamodule.split(name) for name in ("train", "valid", "test")}
        has = [name for name, split in found.items() if split is not None and len(split)]
        if found["train"] is not None and "train" not in has:
            raise RunError(f"the training data in {folder} has no rows")
        if not has:
            raise RunError(f"{folder} holds neither train, valid nor test data")
        if "train" not in has and not self.checkpoint:
            raise RunError(
                "there is no training data: give the checkpoint whose weights are to be tested"
            )
        return has

    @staticmethod
    def _keep_best(trainer: Any, imodel: Any, result: RunResult) -> dict[str, float]:
        """Load the weights of the best checkpoint, where one is kept.

        Returns:
            What validation measured with these weights; {} where it did not see them.
        """
        from dlk.checkpoint import read_checkpoint

        step = trainer.trainer.global_step
        callback = trainer.checkpoint
        best = callback.best_model_path if callback is not None else ""
        if best:
            saved = read_checkpoint(best)
            imodel.load_state_dict(saved["state_dict"])
            average = saved.get("average", {})
            step = int(saved["global_step"])
            by = f"best {callback.monitor}" if callback.monitor else "newest checkpoint"
            result.weights = f"{by}: step {step}, {os.path.relpath(best, result.dir)}"
        else:
            result.weights = f"last: step {step}"
            keeper = getattr(trainer, "keeper", None)
            average = keeper.average() if keeper is not None else {}
        if average:
            imodel.model.load_state_dict(average, strict=False)
            result.weights += ", averaged"
        seen = [entry for entry in imodel.history if entry["step"] == step]
        return {k: v for k, v in seen[-1].items() if k not in ("step", "epoch")} if seen else {}

    @staticmethod
    def _settle(trainer: Any, imodel: Any, datamodule: Any, fit: Any, result: RunResult) -> Any:
        """Let validation find the postprocessor's searched options, for the weights that are kept.

        Returns:
            The config with what was found, which the bundle holds. The imodel's postprocessor is
            built of it, and measured by it are the final ``val_*`` and all that comes after.
        """
        trainer.validate(imodel, datamodule, logged=False)
        before, found = imodel.postprocessor, imodel.found
        fit, config = changed(fit, before.config, found)
        imodel.postprocessor = register.build(config, before.setup)
        result.found = {f"{node_of(config).path}.{name}": value for name, value in found.items()}
        result.metrics = trainer.validate(imodel, datamodule, logged=False)
        return fit


def _outcome(result: RunResult) -> FitOutcome:
    return FitOutcome(
        result.seconds,
        result.error,
        state=result.state,
        metrics=dict(result.metrics),
        weights=result.weights,
        bundle=result.bundle,
    )


def _check_searched(postprocessor: Any, *, validates: bool) -> None:
    path = node_of(postprocessor.config).path
    message = "to be searched for on validation data, and none is evaluated here: give a value"
    problems = [
        Problem(f"{path}.{name}", message, code="no-validation") for name in postprocessor.searched
    ]
    if problems and not validates:
        raise ConfigError(problems)


def _check_hp_metrics(name: str | None, metrics: Iterable[str], has: Sequence[str]) -> None:
    found = missing_metric(name, reported(metrics, has)) if name is not None else ()
    problems = [
        Problem("fit.hp_metrics", message, code="unknown-metric", suggestions=close)
        for message, close in found
    ]
    if problems:
        raise ConfigError(problems)


def environment(seed: int) -> dict[str, Any]:
    """Return versions, platform and command line, to be kept beside a run."""
    import platform

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "overrides": shown_overrides(),
        "argv": [os.path.basename(sys.argv[0]), *map(redact, sys.argv[1:])] if sys.argv else [],
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _parameters(point: Point) -> dict[str, Any]:
    """Return the run's values of the paths that `specific` names, by their short names."""
    found: dict[str, Any] = {}
    fit = point.root("fit")
    values = point.resolved[node_of(fit).key]
    for path, short in fit.specific.items():
        base = point.resolved if path.startswith(("@fit", "fit.")) else values
        keys, rest = locate(base, path)
        if rest:
            raise ConfigError([Problem("fit.specific", f'there is no "{path}" in this config')])
        value: Any = base
        for key in keys:
            value = value[key]
        is_component = isinstance(keys[-1], str) and keys[-1].startswith("@")
        found[short] = value.get("_name", keys[-1]) if is_component else thaw(value)
    return found


def _safe(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return re.sub(r"[^\w.+-]+", "_", text).strip(".")[:80] or "_"


def _name(parameters: Mapping[str, Any]) -> str:
    return "/".join(f"{short}={_safe(value)}" for short, value in parameters.items())


def _came_to_nothing(folder: str) -> bool:
    """Return whether a run failed before it had any weights: there is nothing to lose."""
    try:
        with open(os.path.join(folder, "result.json"), encoding="utf-8") as handle:
            state = json.load(handle)["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return state == "failed" and not left_weights(folder)


def _is_same(run: _Run, folder: str) -> bool:
    """Return whether a folder holds a run of the same config, whatever came of it."""
    return bool(config_of(folder) == json.loads(json.dumps(run.point.resolved)))


def _digest_of_data(folder: str) -> str:
    """Return the SHA-256 of what was learnt, and of what tells the content of every split."""
    digest = hashlib.sha256()
    for pattern in ("meta/*", "*/split.json"):
        for file in sorted(Path(folder).glob(pattern)):
            digest.update(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _data_of(folder: str) -> str:
    """Return the digest of the data of an earlier call; empty where it was killed before."""
    try:
        with open(os.path.join(folder, "environment.json"), encoding="utf-8") as handle:
            return str(json.load(handle)["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_of_data(run: _Run, folder: str) -> bool:
    """Return whether a folder's run is of the data of now, so far as it tells."""
    data = _digest_of_data(local_folder(run.point.root("fit").processed_data_dir))
    return _data_of(folder) in ("", data)


def _finished(folder: str) -> RunResult | None:
    """Return the result of a run that an earlier call ended well, None where it did not.

    That its config and data were these is known: another's folder was refused. One that was stopped
    between its bundle and its last word has ended too; its state is ``running``.
    """
    try:
        with open(os.path.join(folder, "result.json"), encoding="utf-8") as handle:
            result = RunResult(**json.load(handle))
    except (OSError, ValueError, TypeError):
        return None
    has_bundle = bool(result.bundle) and os.path.isdir(os.path.join(folder, "bundle"))
    return result if result.state == "done" or (result.state == "running" and has_bundle) else None


def _silently(line: str) -> None:
    """Tell nobody."""


def _dump(path: str, value: Any) -> None:
    with atomic_write(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)


def _write_text(path: str, text: str) -> None:
    with atomic_write(path) as handle:
        handle.write(text)


def _copy(file: str, folder: str) -> None:
    with (
        open_file(file, "rb") as given,
        atomic_write(os.path.join(folder, os.path.basename(file)), "wb") as handle,
    ):
        shutil.copyfileobj(given, handle)
