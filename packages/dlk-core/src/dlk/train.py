"""`Train`: from ``fit.jsonc`` to runs, each with logs, checkpoints, results and a bundle.

A config with ``_search`` spans a grid; its runs go in turn, each in its own folder::

    log_dir/NAME/
        config.json        the resolved config
        source/            the configs as they were written
        environment.json   versions, platform, seed
        metrics.jsonl      what was logged; metrics/ holds the same for TensorBoard
        checkpoint/        where a checkpoint callback is configured
        result.json        state, metrics, which weights were kept
        bundle/            the artefact to predict and serve with
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dlk.checkpoint import read_checkpoint, read_weights
from dlk.config import Point, child
from dlk.config.keys import locate
from dlk.config.reading import Source
from dlk.errors import ConfigError, DlkError, Problem, RunError
from dlk.fit import load_fit, load_meta
from dlk.io import atomic_write

__all__ = ["RunResult", "Train", "TrainResult"]


@dataclass(slots=True)
class RunResult:
    """What one run came to; the content of its ``result.json``.

    Attributes:
        name: its folder below the log folder.
        dir: its folder.
        state: ``done``, ``failed`` or ``interrupted``.
        parameters: the values that set it apart from the other runs.
        metrics: the final ``val_*`` and ``test_*`` of the weights that were kept.
        weights: which weights these are: the best checkpoint and its step, or the last step.
        bundle: folder of the bundle; empty where there is none.
        seconds: wall time.
        error: why it failed.
        skipped: true where an earlier call had done it.
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
    skipped: bool = False


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
            {"run": r.name, "state": r.state, **r.parameters, **r.metrics, "seconds": round(r.seconds, 1)}
            for r in self.runs
        ]


class Train:
    """Trains every run of a fit config.

    Args:
        config: path of ``fit.jsonc``, or its content as a dict.
        overrides: ``"imodel.optimizer.lr=1e-4"`` texts, or a mapping of path to value.
        checkpoint: weights to start from, or to test where there is no training data (a checkpoint of a run).
        overwrite: replace a run's folder that is there already.

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
    ) -> None:
        self.source = config
        self.loaded = load_fit(config, overrides)
        self.checkpoint = checkpoint
        self.overwrite = overwrite
        if checkpoint and len(self.loaded) > 1:
            raise ConfigError("a checkpoint fits one run, but this config searches over several")

    def run(self) -> TrainResult:
        """Make the runs in turn and return their results.

        In a search, a run that fails is noted and the others go on; a run that an earlier call finished with the same
        config is not made again.

        Raises:
            RunError: a run's folder holds another run.
        """
        single = len(self.loaded) == 1
        results: list[RunResult] = []
        for point, name, parameters in self._named():
            results.append(self._one(point, name, parameters, single=single))
        return TrainResult(results)

    def _named(self) -> Iterator[tuple[Point, str, dict[str, Any]]]:
        log_dir, number = "", 0
        seen: dict[str, int] = {}
        for count, point in enumerate(self.loaded):
            fit = point.root("fit")
            if not log_dir:
                log_dir, number = fit.log_dir, _next_number(fit.log_dir)
            parameters = _parameters(point)
            name = "/".join(f"{k}={_safe(v)}" for k, v in parameters.items()) if fit.specific else str(number + count)
            if name in seen:
                raise ConfigError(
                    [Problem("specific", f'runs {seen[name]} and {count} would both be called "{name}"; name more of what is searched')]
                )
            seen[name] = count
            yield point, name, parameters or dict(point.choice)

    def _one(self, point: Point, name: str, parameters: dict[str, Any], *, single: bool) -> RunResult:
        run_dir = os.path.join(point.root("fit").log_dir, *name.split("/"))
        done = _finished(run_dir, point)
        if done is not None and not single and not self.overwrite:
            done.skipped = True
            return done
        result = RunResult(name=name, dir=run_dir, parameters=parameters)
        _open_run_dir(run_dir, overwrite=self.overwrite)
        started = time.monotonic()
        try:
            self._write_head(point, run_dir)
            self._work(point, result)
            result.state = "done"
        except KeyboardInterrupt:
            result.state, result.error = "interrupted", "stopped by Ctrl-C; the last checkpoint is kept"
            raise
        except DlkError as error:
            result.state, result.error = "failed", str(error)
            if single:
                raise
        except Exception as error:
            result.state, result.error = "failed", f"{type(error).__name__}: {error}"
            if single:
                raise
        finally:
            result.seconds = time.monotonic() - started
            with atomic_write(os.path.join(run_dir, "result.json")) as handle:
                json.dump(asdict(result), handle, indent=2, ensure_ascii=False)
            gc.collect()
        return result

    def _write_head(self, point: Point, run_dir: str) -> None:
        """Write what tells later what was run, and on what."""
        with atomic_write(os.path.join(run_dir, "config.json")) as handle:
            json.dump(point.resolved, handle, indent=2, ensure_ascii=False)
        with atomic_write(os.path.join(run_dir, "environment.json")) as handle:
            json.dump(environment(point.root("fit").seed), handle, indent=2)
        source = os.path.join(run_dir, "source")
        if self.loaded.document.file:
            with open(self.loaded.document.file, "rb") as given, atomic_write(
                os.path.join(source, os.path.basename(self.loaded.document.file)), "wb"
            ) as handle:
                handle.write(given.read())
        processed = os.path.join(point.root("fit").processed_data_dir, "process.json")
        if os.path.exists(processed):
            with open(processed, "rb") as given, atomic_write(os.path.join(source, "process.json"), "wb") as handle:
                handle.write(given.read())

    def _work(self, point: Point, result: RunResult) -> None:
        import lightning.pytorch as pl

        from dlk.bundle.write import write_bundle
        from dlk.context import Setup
        from dlk.inference import load_weights
        from dlk.registry import register

        fit = point.root("fit")
        pl.seed_everything(fit.seed, workers=True, verbose=False)
        meta = load_meta(fit.processed_data_dir)
        setup = Setup(meta=meta, pretrained=not self.checkpoint, seed=fit.seed)
        datamodule = register.build(child(fit, "datamodule"), setup)
        datamodule.open(fit.processed_data_dir)
        has = {split: datamodule.split(split) is not None for split in ("train", "valid", "test")}
        if not any(has.values()):
            raise RunError(f"{fit.processed_data_dir} holds neither train, valid nor test data")
        if not has["train"] and not self.checkpoint:
            raise RunError("there is no training data: give the checkpoint whose weights are to be tested")
        imodel = register.build(child(fit, "imodel"), setup)
        if self.checkpoint:
            load_weights(imodel.model, read_weights(self.checkpoint))
        trainer = register.build(child(fit, "trainer"), setup, run_dir=result.dir)
        metrics = child(fit, "imodel").signature().metrics
        known = {"train_loss_epoch"} | {f"val_{m}" for m in metrics if has["valid"]}
        trainer.check_monitors(known, validates=has["valid"])
        result.weights = f"those of {self.checkpoint}" if self.checkpoint else ""
        if has["train"]:
            trainer.fit(imodel, datamodule)
            result.metrics.update(self._keep_best(trainer, imodel, result))
        elif has["valid"]:
            result.metrics.update(trainer.validate(imodel, datamodule))
        if has["test"]:
            result.metrics.update(trainer.test(imodel, datamodule))
        result.metrics = {k: v for k, v in sorted(result.metrics.items())}
        bundle = os.path.join(result.dir, "bundle")
        if os.path.exists(os.path.join(fit.processed_data_dir, "process.json")):
            write_bundle(
                bundle,
                fit=fit,
                model=imodel.model,
                processed_data_dir=fit.processed_data_dir,
                metrics=result.metrics,
            )
            result.bundle = bundle
        chosen = {fit.hp_metrics: result.metrics.get(fit.hp_metrics, float("nan"))} if fit.hp_metrics else result.metrics
        trainer.log_hyperparameters(result.parameters or {"seed": fit.seed}, {f"final/{k}": v for k, v in chosen.items()})

    @staticmethod
    def _keep_best(trainer: Any, imodel: Any, result: RunResult) -> dict[str, float]:
        """Load the weights of the best checkpoint, where one is kept, and return its validation metrics."""
        step = trainer.trainer.global_step
        callback = trainer.checkpoint
        best = callback.best_model_path if callback is not None else ""
        if best:
            saved = read_checkpoint(best)
            imodel.load_state_dict(saved["state_dict"])
            step = int(saved["global_step"])
            by = f"best {callback.monitor}" if callback.monitor else "newest checkpoint"
            result.weights = f"{by}: step {step}, {os.path.relpath(best, result.dir)}"
        else:
            result.weights = f"last: step {step}"
        at_step = [h for h in imodel.history if h["step"] == step]
        return {k: v for k, v in at_step[-1].items() if k not in ("step", "epoch")} if at_step else {}


def environment(seed: int) -> dict[str, Any]:
    """Return versions, platform and command line, to be kept beside a run."""
    import importlib.metadata
    import platform

    versions = {}
    for name in ("dlk-core", "dlk-nlp", "torch", "lightning", "transformers", "tokenizers", "intc", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]] if sys.argv else [],
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _parameters(point: Point) -> dict[str, Any]:
    """Return the run's values of the paths that `specific` names, by their short names."""
    from dlk.config.node import thaw

    found: dict[str, Any] = {}
    fit = point.root("fit")
    for path, short in fit.specific.items():
        value: Any = point.resolved
        start = next(iter(point.resolved)) if len(point.resolved) == 1 else None
        base = point.resolved[start] if start and not path.startswith("@fit") else point.resolved
        keys, rest = locate(base, path)
        if rest:
            raise ConfigError([Problem("fit.specific", f'there is no "{path}" in this config')])
        value = base
        for key in keys:
            value = value[key]
        last = str(keys[-1])
        if last.startswith("@"):
            value = value.get("_name", last)
        found[short] = thaw(value)
    return found


def _safe(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return re.sub(r"[^\w.+-]+", "_", text).strip(".")[:80] or "_"


def _next_number(log_dir: str) -> int:
    taken = [int(n) for n in os.listdir(log_dir) if n.isdigit()] if os.path.isdir(log_dir) else []
    return max(taken, default=-1) + 1


def _open_run_dir(run_dir: str, *, overwrite: bool) -> None:
    if os.path.exists(run_dir) and os.listdir(run_dir):
        if not overwrite:
            raise RunError(
                f"{run_dir} holds a run already. Give it another name (specific, log_dir), remove it, or say overwrite (--overwrite)."
            )
        import shutil

        shutil.rmtree(run_dir)
    os.makedirs(run_dir, exist_ok=True)


def _finished(run_dir: str, point: Point) -> RunResult | None:
    """Return the result of a run that was done with the same config, None where there is none."""
    try:
        with open(os.path.join(run_dir, "result.json"), encoding="utf-8") as handle:
            result = RunResult(**json.load(handle))
        with open(os.path.join(run_dir, "config.json"), encoding="utf-8") as handle:
            config = json.load(handle)
    except (OSError, ValueError, TypeError):
        return None
    same = config == json.loads(json.dumps(point.resolved))
    return result if same and result.state == "done" else None
