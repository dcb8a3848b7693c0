"""Logging of learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import lightning.pytorch as pl
from lightning.pytorch.callbacks import LearningRateMonitor

from dlk.registry import register

if TYPE_CHECKING:
    from dlk.callback.configs import LRMonitorConfig

__all__ = ["LRMonitor"]


@register("callback", "lr_monitor")
class LRMonitor(LearningRateMonitor):
    """Lightning's LearningRateMonitor."""

    def __init__(self, config: LRMonitorConfig) -> None:
        super().__init__(
            logging_interval=cast("Literal['step', 'epoch'] | None", config.logging_interval),
            log_momentum=config.log_momentum,
            log_weight_decay=config.log_weight_decay,
        )

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Log where a line of the logs is due; before each other batch that is all there is to ask.

        Lightning finds the same out by way of the loop that is running.
        """
        dynamic: Any = trainer  # Lightning sets the interval where mypy does not see it
        every, done = dynamic.log_every_n_steps, trainer.fit_loop.epoch_loop._batches_that_stepped
        if trainer.should_stop or (every and (done + 1) % every == 0):
            super().on_train_batch_start(trainer, *args, **kwargs)
