"""When the state of a run is kept, by which `dlk train --resume` goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dlk.registry import register

if TYPE_CHECKING:
    from dlk.callback.configs import ResumeConfig
    from dlk.trainer._resume import Keeper

__all__ = ["Resume"]


@register("callback", "resume")
class Resume(pl.Callback):
    """The options; every run has them, whether or not its config names this callback.

    Attributes:
        keeper: who keeps the states; set by the trainer.
    """

    def __init__(self, config: ResumeConfig) -> None:
        self.enabled: bool = config.enabled
        self.at_evaluation: bool = config.at_evaluation
        self.pause: float = config.pause
        self.every_n_train_steps: int | None = config.every_n_train_steps
        self.train_time_interval: float | None = config.train_time_interval
        self.in_background: bool = config.in_background
        self.keeper: Keeper | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the epoch of the state that is taken up."""
        if self.keeper is not None:
            self.keeper.before_first_epoch(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """End the process where it was asked to, rather than after all of validation."""
        if trainer.received_sigterm:
            raise SIGTERMException
