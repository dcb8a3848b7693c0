"""The Lightning trainer: options from the config, callbacks from components, logs in the run."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar
from torch import Tensor

from dlk.callback.resume import Resume
from dlk.config import children, make, node_of, thaw
from dlk.config._intc import fields_of
from dlk.errors import ConfigError, Problem, RunError, did_you_mean
from dlk.flow.metrics import missing_metric, monitored
from dlk.inference import to_device
from dlk.registry import register
from dlk.trainer._compared import is_compared
from dlk.trainer._logs import Logs, Scalars
from dlk.trainer._resume import Keeper
from dlk.trainer._settings import settings
from dlk.trainer.jsonl import JsonlLogger

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.imodel.base import IModel
    from dlk.trainer.configs import LightningTrainerConfig

__all__ = ["LightningTrainer"]

_OWN = {
    "logger",
    "callbacks",
    "default_root_dir",
    "enable_checkpointing",
    "use_distributed_sampler",
    "plugins",
}


_OURS = {  # fields that are no options of Lightning's Trainer, or are passed in another way
    "extra",
    "enable_progress_bar",
    "enable_model_summary",
    "matmul_precision",
    "compile",
    "compile_mode",
    "compile_dynamic",
    "compile_backend",
}


@register("trainer", "lightning")
class LightningTrainer:
    """Runs one training: built once per run.

    Args:
        config: Lightning's options and the callbacks.
        setup: handed on to the callbacks.
        run_dir: folder of the run; logs and checkpoints go there.

    Attributes:
        callbacks: the callbacks of the config, by name.
        trainer: Lightning's.

    Raises:
        ConfigError: `extra` names what is no option of Lightning's Trainer, or Lightning refuses
            the value of an option.
    """

    def __init__(self, config: LightningTrainerConfig, setup: Setup, run_dir: str) -> None:
        self.config = config
        self.run_dir = run_dir
        self.callbacks: dict[str, Any] = register.build_children(
            config, "callback", setup, run_dir=run_dir
        )
        _part_folders(self.callbacks)
        self.logs = Logs(run_dir)
        self.tensorboard = Scalars(run_dir, self.logs)
        resume = next((c for c in self.callbacks.values() if isinstance(c, Resume)), None)
        resume = resume or register.build(make("callback", "resume"))
        self.keeper = resume.keeper = Keeper(run_dir, resume, self.logs, self.tensorboard)
        options = self._options(config)
        interactive = sys.stderr.isatty()
        bars = [c for c in self.callbacks.values() if isinstance(c, ProgressBar)]
        show = config.enable_progress_bar and interactive
        named = [c for c in self.callbacks.values() if not isinstance(c, ProgressBar) or show]
        named = [c for c in named if c is not resume]
        callbacks: list[pl.Callback] = [resume, *named]
        if config.max_steps > 0:
            callbacks.insert(0, _LastStep())
        if show and not bars:
            from dlk.callback.progress_bar import make_progress_bar

            callbacks.append(make_progress_bar(make("callback", "progress_bar")))
        lines = os.path.join(run_dir, "metrics.jsonl")
        with _quiet(), self._refusals():
            self.trainer = pl.Trainer(
                **options,
                callbacks=callbacks,
                logger=[self.tensorboard, JsonlLogger(lines, self.logs)],
                default_root_dir=run_dir,
                enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
                enable_progress_bar=show,
                enable_model_summary=config.enable_model_summary and interactive,
                use_distributed_sampler=False,
                plugins=[self.keeper.io],
            )
        if is_compared():
            from dlk.trainer._steps import StepLoop  # made of names inside Lightning

            StepLoop.install(self.trainer, to_device)
        self.keeper.install(self.trainer)
        if self.trainer.world_size > 1:
            message = (
                f"one device trains a run so far, these options ask for {self.trainer.world_size}: "
                "set devices to 1 and num_nodes to 1"
            )
            raise ConfigError([Problem(f"{node_of(config).path}.devices", message)])

    @staticmethod
    def _options(config: LightningTrainerConfig) -> dict[str, Any]:
        """Return Lightning's options by their names, those of `extra` included."""
        fields = fields_of(type(config))
        options = {name: thaw(getattr(config, name)) for name in fields if name not in _OURS}
        known = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
        problems = []
        for name, value in config.extra.items():
            reason = ""
            if name in fields:
                reason = "is an option of its own: write it beside extra"
            elif name in _OWN:
                reason = "is set by dlk"
            elif name not in known:
                hint = did_you_mean(name, known - set(fields) - _OWN)
                reason = f"is no option of lightning.Trainer. {hint}".rstrip()
            if reason:
                problems.append(Problem(f"{node_of(config).path}.extra.{name}", reason))
            options[name] = thaw(value)
        if problems:
            raise ConfigError(problems)
        return options

    @property
    def checkpoint(self) -> ModelCheckpoint | None:
        """The callback that decides which checkpoint is the best; None where none is kept."""
        kept = [c for c in self.callbacks.values() if isinstance(c, ModelCheckpoint)]
        return next((c for c in kept if c.monitor), kept[0] if kept else None)

    @property
    def validates(self) -> bool:
        """Whether validation data is evaluated, where there is any."""
        return bool(self.config.limit_val_batches != 0)

    def check_monitors(self, metrics: Iterable[str], *, has_validation_data: bool) -> None:
        """Refuse callbacks that watch a metric which nothing computes, before any work is done.

        Args:
            metrics: what evaluation measures, without prefix.
            has_validation_data: whether there is anything to validate on.

        Raises:
            ConfigError: the message names the metrics that there are.
        """
        validates = has_validation_data and self.validates
        known = monitored(metrics, validates=validates)
        problems = []
        for name, callback in self.callbacks.items():
            monitor = getattr(callback, "monitor", None)
            if not isinstance(callback, (ModelCheckpoint, EarlyStopping)) or not monitor:
                continue
            path = f"{node_of(children(self.config, 'callback')[name]).path}.monitor"
            problems += [
                Problem(path, message, code="unknown-metric", suggestions=close)
                for message, close in missing_metric(monitor, known, validates=validates)
            ]
        if problems:
            raise ConfigError(problems)

    def fit(self, imodel: IModel, datamodule: Any, *, state: dict[str, Any] | None = None) -> None:
        """Train, with validation where there is validation data.

        Args:
            imodel: what is trained.
            datamodule: its data.
            state: what a run that was stopped goes on from.

        Raises:
            RunError: there was nothing to train on.
            ConfigError: Lightning refuses an option for this data or model, or torch cannot
                compile the model.
            KeyboardInterrupt: training was stopped by Ctrl-C.
        """
        imodel.datamodule = datamodule
        with self._quiet(), self._settings(imodel):
            path = None
            if state is not None:
                path = self.keeper.resume(state)
                self.trainer.num_sanity_val_steps = 0  # done when the run began
            with self.keeper.watching():
                self.trainer.fit(imodel, datamodule=_Loaders(datamodule), ckpt_path=path)
        if not self.trainer.global_step and self.trainer.max_epochs and self.trainer.max_steps:
            raise RunError(
                "no training step was made: the training data makes no whole batch "
                "(train_batch_size, drop_last, limit_train_batches)"
            )

    def test(self, imodel: IModel, datamodule: Any) -> dict[str, float]:
        """Evaluate on the test split and return ``test_*``; {} where no batch was to be seen."""
        return self._evaluated(self.trainer.test, imodel, datamodule)

    def validate(self, imodel: IModel, datamodule: Any, *, logged: bool = True) -> dict[str, float]:
        """Evaluate on the validation split and return ``val_*``; {} as in `test`.

        Args:
            imodel: what is evaluated.
            datamodule: its data.
            logged: whether the run's logs get it, at the newest step.
        """
        loggers = self.trainer.loggers
        self.trainer.loggers = loggers if logged else []
        try:
            return self._evaluated(self.trainer.validate, imodel, datamodule)
        finally:
            self.trainer.loggers = loggers

    def _evaluated(
        self, evaluate: Callable[..., Any], imodel: IModel, datamodule: Any
    ) -> dict[str, float]:
        imodel.datamodule = datamodule
        before = len(imodel.history)
        with self._quiet(), self._settings(imodel):
            evaluate(imodel, datamodule=_Loaders(datamodule), verbose=False)
        return imodel.latest if len(imodel.history) > before else {}

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Run Lightning without its hints, and let Ctrl-C stay a KeyboardInterrupt.

        Lightning itself would end the process, and leave SIGINT ignored.
        """
        in_main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGINT) if in_main else None
        try:
            with _quiet(), self._refusals():
                yield
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            if in_main and handler is not None:
                signal.signal(signal.SIGINT, handler)

    def _settings(self, imodel: IModel) -> contextlib.AbstractContextManager[None]:
        return settings(self.config, imodel.model, self.trainer.strategy.root_device)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Give what Lightning itself refuses as a mistake of the trainer's config."""
        try:
            yield
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            raiser = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
            refused = isinstance(error, (ValueError, TypeError, MisconfigurationException))
            if refused and raiser.partition(".")[0] == "lightning":
                reason = " ".join(str(error).split())
                raise ConfigError([Problem(node_of(self.config).path, reason)]) from error
            raise

    def log_hyperparameters(self, values: dict[str, Any], metrics: dict[str, float]) -> None:
        """Write what TensorBoard's HParams page shows: the run's parameters beside its metrics."""
        plain = {
            k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in values.items()
        }
        self.tensorboard.log_hyperparams(plain, metrics)
        self.tensorboard.save()
        self.tensorboard.finalize("success")


def _part_folders(callbacks: Mapping[str, Any]) -> None:
    """Give each of several checkpoint callbacks a folder: files of one name would be lost."""
    kept = {name: c for name, c in callbacks.items() if isinstance(c, ModelCheckpoint)}
    if len(kept) > 1:
        for name, callback in kept.items():
            callback.dirpath = os.path.join(str(callback.dirpath), name)


class _LastStep(pl.Callback):
    """Validates the step that `max_steps` ends with; Lightning does so at ends of epochs only."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class _Loaders(pl.LightningDataModule):
    """dlk's datamodule as Lightning wants it: loaders are made once processes know their ranks."""

    def __init__(self, datamodule: Any) -> None:
        super().__init__()
        self.inner = datamodule

    def transfer_batch_to_device(
        self, batch: Mapping[str, Tensor], device: torch.device, dataloader_idx: int
    ) -> Any:
        return to_device(batch, device)

    def train_dataloader(self) -> Any:
        return self.inner.loader("train")

    def val_dataloader(self) -> Any:
        return self.inner.loader("valid") or []

    def test_dataloader(self) -> Any:
        return self.inner.loader("test") or []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and hints that do not apply here off the screen."""
    names = (
        "lightning.pytorch",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric",
        "lightning.pytorch.accelerators.cuda",
    )
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logging.WARNING, logger.level))
    try:
        with warnings.catch_warnings():
            for message in (
                ".*does not have many workers.*",
                ".*The number of training batches.*is smaller than the logging interval.*",
                ".*Checkpoint directory .* exists and is not empty.*",
                ".*You defined a `validation_step` but have no `val_dataloader`.*",
                ".*GPU available but not used.*",
                ".*Total length of .* across ranks is zero.*",
                ".*in eval mode at the start of training.*",  # frozen parts stay there
                ".*isinstance\\(treespec, LeafSpec\\).*",
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
