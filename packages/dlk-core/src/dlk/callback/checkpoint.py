"""Checkpoints: the best by a metric, and the last, in the run's folder."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from dlk.registry import register

if TYPE_CHECKING:
    from dlk.callback.configs import CheckpointConfig

__all__ = ["Checkpoint"]

_MORE = (
    "_last_global_step_saved",
    "_last_checkpoint_saved",
    "_defer_save_until_validation",
)


@register("callback", "checkpoint")
class Checkpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, writing to ``checkpoint`` in the run's folder.

    With `save_last`, ``last.ckpt`` is the newest state each time it may save, whether or not that
    state is among the best: Lightning leaves it out where it is not.
    """

    def __init__(self, config: CheckpointConfig, run_dir: str) -> None:
        interval = config.train_time_interval
        after_training = config.save_on_train_epoch_end
        if after_training is None and (config.monitor or "").startswith("train_"):
            after_training = True  # validation ends before the metric is there
        super().__init__(
            dirpath=os.path.join(run_dir, "checkpoint"),
            filename=config.filename,
            monitor=config.monitor,
            verbose=config.verbose,
            save_last=config.save_last,
            save_top_k=config.save_top_k,
            save_weights_only=config.save_weights_only,
            mode=config.mode,
            auto_insert_metric_name=config.auto_insert_metric_name,
            every_n_train_steps=config.every_n_train_steps,
            train_time_interval=None if interval is None else timedelta(seconds=interval),
            every_n_epochs=config.every_n_epochs,
            save_on_train_epoch_end=after_training,
            enable_version_counter=config.enable_version_counter,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Save where saving follows steps or time; a step that it does not pays nothing."""
        if self._every_n_train_steps or self._train_time_interval is not None:
            super().on_train_batch_end(trainer, pl_module, *args, **kwargs)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where saving follows training epochs."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where saving follows validation."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Save; a step that was saved already gets a second name, as last.ckpt mostly does."""
        link = getattr(trainer.strategy.checkpoint_io, "link", None)
        source = self._last_checkpoint_saved
        same = bool(source) and self._last_global_step_saved == trainer.global_step
        if link is not None and same and source != filepath:
            link(source, filepath)
            self._last_checkpoint_saved = filepath
        else:
            super()._save_checkpoint(trainer, filepath)

    def file_exists(self, filepath: str | Path, trainer: pl.Trainer) -> bool:
        """Return whether the file is there, or about to be."""
        asked = getattr(trainer.strategy.checkpoint_io, "asked", ())
        return os.fspath(filepath) in asked or super().file_exists(filepath, trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state, and what else decides when and what is saved next."""
        own = {name: getattr(self, name) for name in _MORE if hasattr(self, name)}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        super().load_state_dict({k: v for k, v in state_dict.items() if k not in _MORE})
        for name in _MORE:
            if name in state_dict:
                setattr(self, name, state_dict[name])

    def _keep_last(self, trainer: pl.Trainer) -> None:
        every = self._every_n_epochs
        is_due = every >= 1 and (trainer.current_epoch + 1) % every == 0
        if self.save_last and is_due and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
