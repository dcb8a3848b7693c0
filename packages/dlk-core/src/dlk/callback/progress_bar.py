"""The progress bar: the loss beside it is the one logged last, so showing it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

from dlk.registry import register

if TYPE_CHECKING:
    from dlk.callback.configs import ProgressBarConfig

__all__ = ["make_progress_bar"]


def _shown(module: pl.LightningModule) -> dict[str, Any]:
    return {name: f"{value:.4g}" for name, value in getattr(module, "shown", {}).items()}


class _TQDM(TQDMProgressBar):
    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return _shown(pl_module)


class _Rich(RichProgressBar):
    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return _shown(pl_module)


@register("callback", "progress_bar")  # type: ignore[type-var]  # it makes one of two classes
def make_progress_bar(config: ProgressBarConfig) -> ProgressBar:
    """Return the bar that the config names."""
    if config.type_bar == "rich":
        return _Rich(refresh_rate=config.refresh_rate, leave=config.leave)
    return _TQDM(refresh_rate=config.refresh_rate, leave=config.leave)
