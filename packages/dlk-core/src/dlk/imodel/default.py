"""The imodel of all built-in tasks.

Forward and loss in training; forward, loss and prediction in evaluation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dlk.context import Context, Setup
from dlk.errors import RunError
from dlk.imodel.base import IModel
from dlk.inference import add_prediction, outputs_for
from dlk.nn.base import Batch, merge
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.imodel.configs import DefaultIModelConfig
    from dlk.nn.loss.base import Loss, LossOut
    from dlk.optimizer.base import Optimizer
    from dlk.scheduler.base import Scheduler

__all__ = ["DefaultIModel"]


class _Mean:
    """A weighted mean of scalars that stays on their device until it is asked for."""

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self.weight: dict[str, Tensor | float] = {}

    def add(self, values: dict[str, Tensor], weight: Tensor | float = 1.0) -> None:
        for name, value in values.items():
            scaled = value.detach().float() * weight
            self.total[name] = self.total[name] + scaled if name in self.total else scaled
            self.weight[name] = self.weight.get(name, 0.0) + weight

    def take(self) -> dict[str, float]:
        """Return the means and start anew; the one place where the device is waited for."""
        means = {}
        for name, total in self.total.items():
            weight = float(self.weight[name])
            means[name] = float(total) / weight if weight else 0.0
        self.total, self.weight = {}, {}
        return means


_KEPT = 256
"""Steps whose losses are kept before they are added up on their device."""


class _Losses:
    """The losses of training steps, kept as they come and read together.

    A step adds to a list and computes nothing. When the means are asked for, all that came since
    the last time is added up and read at once, so the device is waited for once.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[dict[str, Tensor], Tensor | float]] = []
        self._sums: list[tuple[tuple[str, ...], int, Tensor]] = []
        self._total = self._weight = 0.0
        self._steps = 0

    def add(self, loss: LossOut) -> None:
        """Keep what is logged of one step."""
        values = {**loss.terms, "loss": loss.total.detach()}
        if self._kept and (len(self._kept) >= _KEPT or self._kept[-1][0].keys() != values.keys()):
            self._fold()
        self._kept.append((values, loss.weight))

    def take(self) -> dict[str, float]:
        """Return the mean of each value over the steps since the last time; {} where none was."""
        self._fold()
        if not self._sums:
            return {}
        numbers = iter(torch.cat([sums for _, _, sums in self._sums]).tolist())
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for names, steps, _ in self._sums:
            for name in names:
                totals[name] = totals.get(name, 0.0) + next(numbers)
                counts[name] = counts.get(name, 0) + steps
            self._steps += steps
            self._total += next(numbers)
            self._weight += next(numbers)
        self._sums = []
        return {name: total / counts[name] for name, total in totals.items()}

    def take_epoch(self) -> float | None:
        """Return the mean of `loss` over all items since the last time, None where no step was.

        What `take` has not returned yet counts for the next time. Where nothing counts it is 0.
        """
        if not self._steps:
            return None
        mean = self._total / self._weight if self._weight else 0.0
        self._total, self._weight, self._steps = 0.0, 0.0, 0
        return mean

    def _fold(self) -> None:
        """Add up what is kept: of each value, of `loss` times its weight, and of the weights."""
        if not self._kept:
            return
        names = tuple(self._kept[0][0])
        device = self._kept[0][0]["loss"].device
        columns = {name: _stacked([kept[name] for kept, _ in self._kept], device) for name in names}
        weights = _stacked([weight for _, weight in self._kept], device)
        sums = [column.sum() for column in columns.values()]
        found = torch.stack([*sums, (columns["loss"] * weights).sum(), weights.sum()])
        self._sums.append((names, len(self._kept), found))
        self._kept = []

    def state_dict(self) -> dict[str, Any]:
        """Return all that was kept, as plain numbers; going on from it gives the same means."""
        return {
            "kept": [
                [{name: float(value) for name, value in values.items()}, float(weight)]
                for values, weight in self._kept
            ],
            "sums": [[list(names), steps, sums.tolist()] for names, steps, sums in self._sums],
            "epoch": [self._total, self._weight, self._steps],
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Go on from what `state_dict` gave."""
        self._kept = [
            ({name: torch.tensor(value, device=device) for name, value in values.items()}, weight)
            for values, weight in state["kept"]
        ]
        self._sums = [
            (tuple(names), steps, torch.tensor(sums, device=device))
            for names, steps, sums in state["sums"]
        ]
        self._total, self._weight, self._steps = state["epoch"]


def _stacked(values: Sequence[Tensor | float], device: torch.device) -> Tensor:
    """Return scalars as one float32 tensor."""
    if not any(isinstance(value, Tensor) for value in values):
        return torch.tensor(values, dtype=torch.float32, device=device)
    as_tensor = torch.as_tensor
    return torch.stack([as_tensor(value, dtype=torch.float32, device=device) for value in values])


@register("imodel", "default")
class DefaultIModel(IModel):
    """Trains `model` on `loss`; evaluates with `postprocessor`.

    Logs ``train_*`` and ``lr`` each `log_every_n_steps` optimizer steps, ``val_*`` and ``test_*``
    after each evaluation; between these, nothing waits for the device.
    """

    def __init__(self, config: DefaultIModelConfig, setup: Setup) -> None:
        super().__init__()
        self.model = register.build_child(config, "model", setup)
        self.loss: Loss = register.build_child(config, "loss", setup)
        self.postprocessor = register.build_child(config, "postprocessor", setup)
        self._optimizer: Optimizer = register.build_child(config, "optimizer", setup)
        self._scheduler: Scheduler = register.build_child(config, "scheduler", setup)
        self._total_steps = 0
        self._losses = _Losses()
        self._logged_step = 0
        self._rates: dict[str, Any] = {}
        self._evaluation = _Mean()
        self._run_dir: str | None = None

    # One batch ------------------------------------------------------------------------------------

    def context(self) -> Context:
        """Return what the loss may know about this moment of the run."""
        trainer = self.trainer
        if self._run_dir is None:  # Lightning makes a path of it anew each time
            self._run_dir = trainer.default_root_dir
        return Context(
            training=self.training,
            step=trainer.global_step,
            total_steps=self._total_steps,
            epoch=trainer.current_epoch,
            run_dir=self._run_dir,
        )

    def compute(self, batch: Batch) -> tuple[Batch, LossOut]:
        """Return the batch merged with the model's outputs, and the loss.

        Raises:
            RunError: sizes of the config do not fit the batch, such as an `output_size` below the
                ids of the labels.
        """
        x: Batch = MappingProxyType(dict(batch))
        try:
            written = self.model(x)
        except (IndexError, ValueError, RuntimeError) as error:
            if _is_of_the_batch(error):
                raise _misfit("model", error, x) from error
            raise
        out = merge(x, written, writer=self.model)
        try:
            return out, self.loss.compute(out, self.context())
        except (IndexError, ValueError, RuntimeError) as error:
            if _is_of_the_batch(error):
                raise _misfit("loss", error, out) from error
            raise

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch; how the loss went is kept as tensors until it is logged."""
        _, loss = self.compute(batch)
        self._losses.add(loss)
        total: Tensor = loss.total
        return total

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Keep the rates that this step is made with; the scheduler moves them right after it."""
        for number, group in enumerate(optimizer.param_groups):
            self._rates[str(group.get("name", number))] = group["lr"]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the mean loss since the last time, each `log_every_n_steps` optimizer steps."""
        trainer: Any = self.trainer  # Lightning sets the interval where mypy does not see it
        step, every = trainer.global_step, trainer.log_every_n_steps
        if step != self._logged_step and every and step % every == 0:
            self._logged_step = step
            self._log_training(step)

    def _log_training(self, step: int) -> None:
        means = self._losses.take()
        if not means:
            return
        self.shown = {"loss": means["loss"]}
        self._write({f"train_{name}": value for name, value in means.items()} | self._lr(), step)
        if not math.isfinite(means["loss"]):
            raise RunError(
                f"the training loss is {means['loss']} at step {step}, so nothing more is learnt: "
                "lower the learning rate or gradient_clip_val, and look for targets that are nan"
            )

    def _lr(self) -> dict[str, float]:
        """Return the rate of the newest step; where groups have several, that of each group."""
        rates = {name: float(rate) for name, rate in self._rates.items()}
        if len(set(rates.values())) == 1:
            return {"lr": next(iter(rates.values()))}
        return {f"lr/{name}": rate for name, rate in rates.items()}

    def _write(self, values: dict[str, float], step: int) -> None:
        """Give values to the loggers; Lightning itself would count validation's step one less."""
        for logger in self.trainer.loggers:
            logger.log_metrics({**values, "epoch": float(self.trainer.current_epoch)}, step=step)

    def course(self) -> dict[str, Any]:
        """Return what going on needs: losses that are not logged yet, and the newest rates."""
        return {
            **super().course(),
            "losses": self._losses.state_dict(),
            "logged_step": self._logged_step,
            "rates": {name: float(rate) for name, rate in self._rates.items()},
        }

    def load_course(self, course: Mapping[str, Any]) -> None:
        """Take up what `course` returned."""
        super().load_course(course)
        self._losses.load_state_dict(course["losses"], self.device)
        self._logged_step = course["logged_step"]
        self._rates = dict(course["rates"])

    def on_fit_start(self) -> None:
        """Put every part into training mode: pretrained encoders arrive in evaluation mode."""
        self.train()

    def on_train_epoch_start(self) -> None:
        """Tell the loader which epoch's order to give."""
        if self.datamodule is not None:
            self.datamodule.set_epoch(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Log what is left of the epoch, and its mean loss for callbacks to monitor."""
        self._log_training(self.trainer.global_step)
        mean_loss = self._losses.take_epoch()
        if mean_loss is not None:
            self.log("train_loss_epoch", mean_loss, logger=False, sync_dist=True)
            mean = float(self.trainer.callback_metrics["train_loss_epoch"])
            self._write({"train_loss_epoch": mean}, self.trainer.global_step)

    # Evaluation -----------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin fresh metrics."""
        self._begin()

    def on_test_epoch_start(self) -> None:
        """Begin fresh metrics."""
        self._begin()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, "valid")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log ``val_*``."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log ``test_*``."""
        self._finish("test")

    def _begin(self) -> None:
        self.metrics = self.postprocessor.new_metrics()
        self._evaluation = _Mean()

    def _evaluate(self, batch: Batch, split: str) -> None:
        out, loss = self.compute(batch)
        out = add_prediction(self.model, out)
        self._evaluation.add(_values(loss), loss.weight)
        wanted = outputs_for(self.postprocessor, out)
        rows = self.rows_of(split, batch)
        assert self.metrics is not None
        self.metrics.update(wanted, rows, self.postprocessor.measured(wanted, rows))

    def _finish(self, prefix: str) -> None:
        assert self.metrics is not None
        scores = self.metrics.compute()
        values = {**self._evaluation.take(), **scores}
        named = {f"{prefix}_{name}": float(value) for name, value in values.items()}
        if self.trainer.sanity_checking:
            return
        step = self.trainer.global_step
        self.log_dict(named, logger=False)  # for callbacks to monitor
        self._write(named, step)
        self.history.append({"step": step, "epoch": self.trainer.current_epoch, **named})
        self.table = self.metrics.table()
        if prefix == "val":
            self.find(scores)

    # Optimisation ---------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Return optimizer and scheduler; the schedule counts what its `interval` says.

        Raises:
            RunError: nothing says when training ends.
        """
        # A fused step unscales gradients by itself, so Lightning refuses to clip before it, in
        # bf16-mixed too, where nothing is scaled.
        mixed = str(self.trainer.precision).endswith("-mixed")
        self._optimizer.may_fuse = not (mixed and self.trainer.gradient_clip_val)
        optimizer = self._optimizer.build(self._trained())
        planned = self.trainer.estimated_stepping_batches
        if not math.isfinite(planned):
            raise RunError(
                "nothing says when training ends: set the trainer's max_epochs or max_steps"
            )
        self._total_steps = max(1, int(planned))
        scheduler = self._scheduler.build(
            optimizer,
            total_steps=self._total_steps,
            steps_per_epoch=self._steps_per_epoch(),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self._scheduler.interval},
        }

    def _trained(self) -> nn.Module:
        """Return what is optimised: the model, and a loss that has weights of its own."""
        if any(p.requires_grad for p in self.loss.parameters()):
            return nn.ModuleDict({"model": self.model, "loss": self.loss})
        return self.model

    def _steps_per_epoch(self) -> int:
        """Return the optimizer steps of an epoch: what is left of an accumulation is a step too."""
        batches = self.trainer.num_training_batches
        if math.isfinite(batches):
            return max(1, math.ceil(batches / self.trainer.accumulate_grad_batches))
        return max(1, self._total_steps)


# what torch says, as a RuntimeError, of sizes, positions and types that do not go together
_OF_THE_BATCH = re.compile(
    r"out of bounds|[Ss]izes? .*match|cannot be multiplied|does not broadcast|shape|dtype"
)


def _is_of_the_batch(error: Exception) -> bool:
    """Return whether an error may come of a batch that the config does not fit.

    Not where memory ran out, a device failed, or the model cannot be compiled.
    """
    if type(error).__module__.startswith("torch._dynamo"):
        return False
    return not isinstance(error, RuntimeError) or bool(_OF_THE_BATCH.search(str(error)))


def _misfit(part: str, error: Exception, batch: Batch) -> RunError:
    """Return the error of a batch that a part of the config does not fit, with what was there."""
    there = []
    for name, tensor in sorted(batch.items()):
        ids = tensor.numel() and tensor.dtype in (torch.int64, torch.int32) and name[0] != "_"
        span = f" from {int(tensor.min())} to {int(tensor.max())}" if ids else ""
        there.append(f"{name} {tuple(tensor.shape)}{span}")
    hint = ""
    if "out of bounds for dim" in str(error):
        hint = (
            "a position has no place: columns of positions, such as gather_index, count what is in "
            "the batch, so the steps that make them must follow the one that cuts (input_ids); "
        )
    elif isinstance(error, IndexError):
        hint = (
            "an id has no place: compare vocab_size and output_size with the vocabularies of "
            "@_G.meta; "
        )
    return RunError(f"the {part} cannot take a batch: {error}; {hint}there is {', '.join(there)}")


def _values(loss: LossOut) -> dict[str, Tensor]:
    """Return what is logged of a loss; `loss` is what is trained on."""
    return {**loss.terms, "loss": loss.total}
