"""Logging of learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

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
