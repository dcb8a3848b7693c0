"""Options of the callbacks."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import MISSING, Base, BoolField, FloatField, IntField, StrField, cregister

__all__ = [
    "CheckpointConfig",
    "EarlyStopConfig",
    "LRMonitorConfig",
    "ProgressBarConfig",
    "ResumeConfig",
    "WeightAverageConfig",
]


@cregister("callback", "checkpoint")
class CheckpointConfig(Base):
    """Keeps the best checkpoints by a monitored metric, and the last."""

    monitor: str | None = StrField(
        None,
        additions=[None],
        help="metric to keep the best of, such as val_acc; null: keep the newest",
    )
    mode = StrField(
        "max", options=["max", "min"], help="whether more or less of the metric is better"
    )
    save_top_k = IntField(value=1, minimum=-1, help="how many of the best to keep; -1: all")
    save_last = BoolField(True, help="keep the newest checkpoint as last.ckpt too")
    filename: str | None = StrField(
        None, additions=[None], help="name pattern; null: {epoch}-{step}"
    )
    auto_insert_metric_name = BoolField(True, help="write metric names into file names")
    every_n_train_steps: int | None = IntField(
        None,
        minimum=1,
        additions=[None],
        help="save each so many steps, not after epochs; null: not by steps",
    )
    train_time_interval: float | None = FloatField(
        None,
        minimum=1,
        additions=[None],
        help="save each so many seconds, not after epochs; null: not by time",
    )
    every_n_epochs: int | None = IntField(
        None,
        minimum=0,
        additions=[None],
        help="save each so many epochs; null: each, if not by steps or time",
    )
    save_on_train_epoch_end: bool | None = BoolField(
        None,
        additions=[None],
        help="save after training epochs rather than after validation; null: as fits",
    )
    save_weights_only = BoolField(False, help="leave out what resuming needs")
    verbose = BoolField(False, help="say when a checkpoint is kept")
    enable_version_counter = BoolField(False, help="keep files of equal name side by side")

    def rules(self) -> Iterable[tuple[str, str]]:
        """Saving by steps, time and epochs exclude each other; several bests need a metric."""
        given = [
            n
            for n in ("every_n_train_steps", "train_time_interval", "every_n_epochs")
            if getattr(self, n) is not None
        ]
        if len(given) > 1:
            yield given[1], f"{' and '.join(given)} exclude each other"
        if self.monitor is None and self.save_top_k > 1:
            yield "save_top_k", f"keeping the best {self.save_top_k} needs a monitor"
        yield from _direction(self.monitor, self.mode)


@cregister("callback", "early_stop")
class EarlyStopConfig(Base):
    """Stops training when a metric no longer improves."""

    monitor = StrField(MISSING, help="metric to watch, such as val_acc")
    mode = StrField(
        "max", options=["max", "min"], help="whether more or less of the metric is better"
    )
    patience = IntField(value=3, minimum=0, help="evaluations without improvement before stopping")
    min_delta = FloatField(
        value=0.0, minimum=0.0, help="smallest change that counts as improvement"
    )
    check_on_train_epoch_end: bool | None = BoolField(
        None,
        additions=[None],
        help="check after training epochs rather than after validation; null: where it is measured",
    )
    strict = BoolField(True, help="fail where the metric is missing")
    check_finite = BoolField(True, help="stop when the metric is nan or infinite")
    stopping_threshold: float | None = FloatField(
        None, additions=[None], help="stop once this is reached; null: never"
    )
    divergence_threshold: float | None = FloatField(
        None, additions=[None], help="stop once the metric is worse than this; null: never"
    )
    verbose = BoolField(False, help="say when the metric improves")
    log_rank_zero_only = BoolField(True, help="speak on the first process only")

    def rules(self) -> Iterable[tuple[str, str]]:
        """A loss is not watched for its largest value."""
        yield from _direction(self.monitor, self.mode)


def _direction(monitor: str | None, mode: str) -> Iterable[tuple[str, str]]:
    if monitor is not None and "loss" in monitor and mode == "max":
        yield "mode", f'less of {monitor} is better: expected "min", got "max"'


@cregister("callback", "lr_monitor")
class LRMonitorConfig(Base):
    """Logs the learning rate of each parameter group."""

    logging_interval: str | None = StrField(
        None, options=["step", "epoch", None], help="when to log; null: as the scheduler counts"
    )
    log_momentum = BoolField(False, help="log momentum or betas too")
    log_weight_decay = BoolField(False, help="log weight decay too")


@cregister("callback", "progress_bar")
class ProgressBarConfig(Base):
    """Shows the progress of training and evaluation on a terminal."""

    type_bar = StrField("tqdm", options=["tqdm", "rich"], help="which bar")
    refresh_rate = IntField(value=20, minimum=1, help="batches between two refreshes")
    leave = BoolField(False, help="keep the bar of each epoch")


@cregister("callback", "resume")
class ResumeConfig(Base):
    """When the state of a run is kept, for `dlk train --resume` to go on from."""

    enabled = BoolField(True, help="keep states; false: a run that is stopped cannot go on")
    at_evaluation = BoolField(True, help="keep one before each validation, and at ends of epochs")
    pause = FloatField(
        value=10.0, minimum=0.0, help="seconds at least from a state to one of at_evaluation"
    )
    every_n_train_steps: int | None = IntField(
        None, minimum=1, additions=[None], help="keep one each so many optimizer steps too"
    )
    train_time_interval: float | None = FloatField(
        600.0, minimum=0.1, additions=[None], help="keep one each so many seconds too"
    )
    in_background = BoolField(
        True, help="write states and checkpoints while training goes on; false: training waits"
    )


@cregister("callback", "weight_average")
class WeightAverageConfig(Base):
    """Averages the weights over training, and evaluates and bundles the average."""

    method = StrField(
        "ema",
        options=["ema", "mean"],
        help="ema: newer weights count more; mean: all that were taken count the same, as in SWA",
    )
    decay = FloatField(
        value=0.999, minimum=0.0, maximum=1.0, help="ema: what is left of the average at an update"
    )
    warmup = BoolField(
        True, help="ema: a smaller decay at first, (1 + n) / (10 + n) after n updates"
    )
    start_step = IntField(value=0, minimum=0, help="optimizer steps before the first update")
    start_epoch = IntField(value=0, minimum=0, help="epochs before the first update")
    every_n_train_steps: int | None = IntField(
        1,
        minimum=1,
        additions=[None],
        help="optimizer steps between updates; null: one at the end of each epoch",
    )
    buffers = StrField(
        "copied",
        options=["copied", "averaged"],
        help="numbers that are not trained, such as those of batch norm: the newest, or averaged",
    )
    is_used = BoolField(
        True, help="evaluate and bundle the average; false: the weights, the average beside them"
    )
