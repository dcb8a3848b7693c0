"""Early stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning.pytorch.callbacks import EarlyStopping

from dlk.registry import register

if TYPE_CHECKING:
    from dlk.callback.configs import EarlyStopConfig

__all__ = ["EarlyStop"]


@register("callback", "early_stop")
class EarlyStop(EarlyStopping):
    """Lightning's EarlyStopping."""

    def __init__(self, config: EarlyStopConfig) -> None:
        after_training = config.check_on_train_epoch_end
        if after_training is None:
            after_training = config.monitor.startswith("train_")
        super().__init__(
            monitor=config.monitor,
            min_delta=config.min_delta,
            patience=config.patience,
            verbose=config.verbose,
            mode=config.mode,
            strict=config.strict,
            check_finite=config.check_finite,
            stopping_threshold=config.stopping_threshold,
            divergence_threshold=config.divergence_threshold,
            check_on_train_epoch_end=after_training,
            log_rank_zero_only=config.log_rank_zero_only,
        )
