"""Lightning's loop over training batches, with a direct way through the plain case.

Lightning asks every callback at each of eight places of a step, enters a profiler's context for
each that it asks, keeps results that nobody logged, and hands the step through closures of
optimizer wrapper, strategy and precision. In the plain case all of this is known before an epoch
begins: one device, one optimizer, hooks that are overridden or are not. `StepLoop` then does the
same things in the same order, and counts the same progress, so checkpoints, callbacks and loggers
see no difference. In any other case, and with a version of Lightning that this was not compared
with (`_compared`), Lightning's own loop runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.fetchers import _DataFetcher, _PrefetchDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

__all__ = ["StepLoop"]

_OPTIMISING = (  # how Lightning lets a module take over a part of the step
    "backward",
    "clip_gradients",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
    "on_train_batch_start",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
_Hook = Callable[..., Any]  # a callback's or module's own, with arguments by the hook


@dataclass(frozen=True)
class _Hooks:
    """What callbacks and module override, each in the order in which Lightning calls it."""

    before_zero_grad: tuple[_Hook, ...]
    before_backward: tuple[_Hook, ...]
    after_backward: tuple[_Hook, ...]
    before_step: tuple[_Hook, ...]
    start: tuple[_Hook, ...]
    end: tuple[_Hook, ...]


@dataclass(frozen=True)
class _Plan:
    """What is settled before an epoch begins."""

    module: pl.LightningModule
    optimizer: Optimizer
    precision: Precision
    is_float32: bool
    device: torch.device
    validates_each: float | None
    hooks: _Hooks


class StepLoop(_TrainingEpochLoop):
    """One epoch of training steps.

    Args:
        trainer: whose loop it becomes (see `install`).
        to_device: moves a batch.
    """

    _plan: _Plan | None = None

    def __init__(
        self,
        trainer: pl.Trainer,
        to_device: Callable[[Any, torch.device], Any],
        *,
        min_steps: int | None = None,
        max_steps: int = -1,
    ) -> None:
        super().__init__(trainer, min_steps=min_steps, max_steps=max_steps)
        self._to_device = to_device

    @classmethod
    def install(cls, trainer: pl.Trainer, to_device: Callable[[Any, torch.device], Any]) -> None:
        """Give a new trainer this loop; its Lightning is one of those compared with."""
        there = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = cls(
            trainer, to_device, min_steps=there.min_steps, max_steps=there.max_steps
        )

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        self._plan = self._planned(data_fetcher)
        if self._plan is not None:  # no profiler is told
            data_fetcher._start_profiler = data_fetcher._stop_profiler = _nothing

    def _planned(self, data_fetcher: _DataFetcher) -> _Plan | None:
        """Return what is settled for this epoch; None where it is not the plain case."""
        trainer, module = self.trainer, self.trainer.lightning_module
        strategy, precision = trainer.strategy, trainer.precision_plugin
        overridden = [name for name in _OPTIMISING if _own(module, name, pl.LightningModule)]
        plain = (
            not overridden
            and module.automatic_optimization
            and not self.automatic_optimization._skip_backward
            and type(strategy) is SingleDeviceStrategy
            and strategy.model is module
            and type(precision) in (Precision, MixedPrecision, HalfPrecision)
            and getattr(precision, "scaler", None) is None
            and type(trainer.profiler) is PassThroughProfiler
            and isinstance(data_fetcher, _PrefetchDataFetcher)
            and len(trainer.optimizers) == 1
            and not any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs)
        )
        if not plain:
            return None
        return _Plan(
            module=module,
            optimizer=trainer.optimizers[0],
            precision=precision,
            is_float32=type(precision) is Precision,
            device=strategy.root_device,
            validates_each=self._batches_between_validations(),
            hooks=_Hooks(
                before_zero_grad=self._hooks("on_before_zero_grad"),
                before_backward=self._hooks("on_before_backward"),
                after_backward=self._hooks("on_after_backward"),
                before_step=self._hooks("on_before_optimizer_step"),
                start=self._hooks("on_train_batch_start"),
                end=self._hooks("on_train_batch_end"),
            ),
        )

    def _batches_between_validations(self) -> float | None:
        """Return after how many batches of this epoch validation comes; None: Lightning is asked.

        Infinite where none comes in this epoch.
        """
        trainer: Any = self.trainer  # Any: some of it is newer than the oldest Lightning compared
        if not self._should_check_val_epoch():
            return math.inf
        counted = type(trainer.val_check_batch) is int
        timed = getattr(trainer, "_val_check_time_interval", None) is not None
        return trainer.val_check_batch if counted and not timed else None

    def _hooks(self, name: str) -> tuple[_Hook, ...]:
        """Return the overridden hooks of that name: those of the callbacks, then the module's."""
        trainer, module = self.trainer, self.trainer.lightning_module
        found: list[_Hook] = [
            _bound(getattr(callback, name), trainer, module)
            for callback in trainer.callbacks
            if _own(callback, name, Callback)
        ]
        if _own(module, name, pl.LightningModule):
            found.append(getattr(module, name))
        return tuple(found)

    # One batch ------------------------------------------------------------------------------------

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Take one batch through, as Lightning's own loop does."""
        plan = self._plan
        if plan is None or self.restarting:
            super().advance(data_fetcher)
            return
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        if batch is None:
            raise RuntimeError("the training loader gave None instead of a batch")
        progress, results = self.batch_progress, self._results
        connector = self.trainer._logger_connector
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        if not plan.is_float32:
            batch = plan.precision.convert_input(batch)
        batch = self._to_device(batch, plan.device)
        progress.increment_ready()
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None
        self._tell("on_train_batch_start", plan.hooks.start, batch, batch_idx)
        progress.increment_started()
        outputs = self._optimise(plan, batch, batch_idx)
        progress.increment_processed()
        is_last = self._num_ready_batches_reached()
        if is_last or not self._should_accumulate():
            self._move_rates("step", batch_idx)
        if is_last:
            self._move_rates("epoch", self.trainer.current_epoch)
        self._tell("on_train_batch_end", plan.hooks.end, outputs, batch, batch_idx)
        if results:  # somebody has logged
            connector.on_batch_end()
            progress.increment_completed()
            connector.update_train_step_metrics()
        else:
            results.batch = results.batch_size = None
            progress.increment_completed()

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate where it is time to."""
        plan = self._plan
        busy = self.trainer.should_stop or self.trainer.received_sigterm or self._skip_next_val
        if plan is None or busy or self._should_check_val_fx(data_fetcher):
            super().on_advance_end(data_fetcher)
        elif not self._should_accumulate():
            self._batches_that_stepped += 1

    # Asked several times in each step -------------------------------------------------------------

    @property
    def global_step(self) -> int:
        """Optimizer steps done."""
        if self._plan is None:
            return super().global_step
        return self.automatic_optimization.optim_progress.optimizer_steps

    def _should_accumulate(self) -> bool:
        """Whether gradients of this batch wait for those of the next."""
        return self.trainer.accumulate_grad_batches != 1 and super()._should_accumulate()

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        """Whether validation comes after this batch."""
        each = None if self._plan is None else self._plan.validates_each
        if each is None or self.trainer.should_stop:
            return super()._should_check_val_fx(data_fetcher)
        in_all = self.trainer.check_val_every_n_epoch is None
        return ((self.total_batch_idx if in_all else self.batch_idx) + 1) % each == 0

    # The step -------------------------------------------------------------------------------------

    def _optimise(self, plan: _Plan, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Forward and backward, and the optimizer's step where gradients are complete.

        Returns:
            What Lightning gives to `on_train_batch_end`.
        """
        trainer, module, hooks, progress = (
            self.trainer,
            plan.module,
            plan.hooks,
            self.automatic_optimization.optim_progress.optimizer,
        )
        parts = trainer.accumulate_grad_batches
        steps = not self._should_accumulate()
        outputs: dict[str, Any] = {}

        def closure() -> Tensor | None:
            _now(module, "training_step")
            with contextlib.nullcontext() if plan.is_float32 else plan.precision.forward_context():
                given: Any = module.training_step(batch, batch_idx)
            loss = given["loss"] if isinstance(given, dict) else given
            if loss is not None and parts > 1:
                loss = loss / parts
            if isinstance(given, dict):
                outputs.update(given)
            if batch_idx % parts == 0:
                progress.zero_grad.increment_ready()
                self._tell("on_before_zero_grad", hooks.before_zero_grad, plan.optimizer)
                progress.zero_grad.increment_started()
                plan.optimizer.zero_grad()
                progress.zero_grad.increment_completed()
            if loss is not None:
                outputs["loss"] = loss.detach()
                self._tell("on_before_backward", hooks.before_backward, loss)
                torch.autograd.backward(loss)
                self._tell("on_after_backward", hooks.after_backward)
            if steps:
                self._tell("on_before_optimizer_step", hooks.before_step, plan.optimizer)
                _clip(plan.optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
            return outputs.get("loss")

        if steps:
            progress.step.increment_ready()
            plan.optimizer.step(closure)  # type: ignore[arg-type]  # a tensor is as good as a float
            progress.step.increment_completed()
        else:
            closure()
        return outputs

    def _move_rates(self, interval: Literal["step", "epoch"], index: int) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == interval and (index + 1) % config.frequency == 0:
                self.scheduler_progress.increment_ready()
                config.scheduler.step()
                self.scheduler_progress.increment_completed()

    def _tell(self, name: str, hooks: Iterable[_Hook], *args: Any) -> None:
        if hooks:
            assert self._plan is not None
            _now(self._plan.module, name)
            for hook in hooks:
                hook(*args)


def _now(module: pl.LightningModule, name: str) -> None:
    """Say which hook runs, for `log`; not by assignment, which a module of torch makes dear."""
    module.__dict__["_current_fx_name"] = name


def _nothing() -> None:
    """Stand in for a profiler that nobody reads."""


def _own(thing: object, name: str, base: type) -> bool:
    """Return whether an object has a method of its own, by its class or put on it later."""
    found = getattr(thing, name)
    return getattr(found, "__func__", found) is not getattr(base, name)


def _bound(hook: _Hook, trainer: pl.Trainer, module: pl.LightningModule) -> _Hook:
    def call(*args: Any) -> None:
        hook(trainer, module, *args)

    return call


def _clip(optimizer: Optimizer, limit: float | None, algorithm: Any) -> None:
    if not limit:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if algorithm == "value":
        clip_grad_value_(parameters, limit)
    else:
        clip_grad_norm_(parameters, limit)
