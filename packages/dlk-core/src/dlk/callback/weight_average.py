"""Averages of weights over training: exponential, or equal from some step or epoch on.

Sources: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging" (equal);
Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization",
arXiv:1803.05407 (equal, late; here without its cyclic rate and without passing over the data again
for batch norm: average or copy the buffers).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from dlk.config import node_of
from dlk.errors import ConfigError, Problem, StateWarning
from dlk.registry import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlk.callback.configs import WeightAverageConfig

__all__ = ["WeightAverage"]


@register("callback", "weight_average")
class WeightAverage(pl.Callback):
    """Keeps an average of the model's trained weights beside them.

    The first update takes the weights as they are; the n-th after it moves the average by
    1 - decay, or by 1 / (n + 1) where all count the same. Averages are kept in float32 at least:
    in bfloat16 small moves would be lost. Frozen weights are not averaged, numbers that are no
    floats (such as counts) neither.

    Attributes:
        average: averaged tensors by their name in the model; {} before the first update.
        count: updates so far.
        is_used: whether evaluation and the bundle take the average.
    """

    def __init__(self, config: WeightAverageConfig) -> None:
        self.path = node_of(config).path
        self.is_ema: bool = config.method == "ema"
        self.decay: float = config.decay
        self.warmup: bool = config.warmup
        self.start_step: int = config.start_step
        self.start_epoch: int = config.start_epoch
        self.every: int | None = config.every_n_train_steps
        self.averages_buffers: bool = config.buffers == "averaged"
        self.is_used: bool = config.is_used
        self.average: dict[str, Tensor] = {}
        self.count = 0
        self._step = 0
        self._own: dict[str, Tensor] = {}
        self._is_loaded = False

    @property
    def used(self) -> Mapping[str, Tensor]:
        """The average where evaluation takes it; {} otherwise."""
        return self.average if self.is_used else {}

    # Whether there will be one --------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run that is over before the first update.

        Raises:
            ConfigError: what the config says of the first update, and how long the run is.
        """
        dynamic: Any = trainer  # Lightning sets this where mypy does not see it
        if dynamic.fast_dev_run:
            return
        steps, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
        first = max(self.start_step, self.every or 0)
        late = {
            "start_step" if self.start_step == first else "every_n_train_steps": first > steps,
            "start_epoch": epochs is not None and 0 <= epochs <= self.start_epoch,
        }
        wrong = [
            Problem(f"{self.path}.{name}", f"no average is made: the run ends with step {steps}")
            for name, is_late in late.items()
            if is_late
        ]
        if wrong:
            raise ConfigError(wrong)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say where training ended, such as by early stopping, before the first update."""
        if not self.count:
            message = (
                f"{self.path}: training ended with step {trainer.global_step}, before the first "
                "update of the average: the weights are those of training"
            )
            warnings.warn(message, StateWarning, stacklevel=2)

    # Averaging ------------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Update the average where a step was made, and it is time to."""
        step = trainer.global_step
        if step == self._step:
            return
        self._step = step
        if step < self.start_step or trainer.current_epoch < self.start_epoch:
            return
        if trainer.is_last_batch if self.every is None else step % self.every == 0:
            self.update(_model(pl_module))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of this moment into the average."""
        tensors = self._tensors(model)
        if not self.count:
            self.average = {name: _wide(tensor).clone() for name, tensor in tensors.items()}
        else:
            self._to_devices_of(tensors)
            names = list(tensors)
            here = [self.average[name] for name in names]
            there = [_wide(tensors[name]) for name in names]
            torch._foreach_lerp_(here, there, 1.0 - self._decay())
        self.count += 1

    def _to_devices_of(self, tensors: Mapping[str, Tensor]) -> None:
        """Bring an average that was loaded to where the weights are."""
        if self._is_loaded:
            self.average = {name: t.to(tensors[name].device) for name, t in self.average.items()}
            self._is_loaded = False

    def _decay(self) -> float:
        if not self.is_ema:
            return self.count / (self.count + 1)
        if self.warmup:
            return min(self.decay, (1 + self.count) / (10 + self.count))
        return self.decay

    def _tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what is averaged, by name; a tensor that several parts share once."""
        found = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        if self.averages_buffers:
            stored = model.state_dict().keys()
            buffers = {name: b for name, b in model.named_buffers() if name in stored}
            found |= {name: b for name, b in buffers.items() if b.is_floating_point()}
        return found

    # Evaluation -----------------------------------------------------------------------------------

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the average in the place of the weights, while training validates."""
        if self.used and trainer.state.fn == TrainerFn.FITTING:
            model = _model(pl_module)
            self._own = {name: t.clone() for name, t in self._tensors(model).items()}
            self._put(model, self.average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back; checkpoints are saved after this."""
        if self._own:
            self._put(_model(pl_module), self._own)
            self._own = {}

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Put the weights back where validation was cut short."""
        self.on_validation_end(trainer, pl_module)

    @torch.no_grad()
    def _put(self, model: nn.Module, values: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors(model).items():
            tensor.copy_(values[name])

    # Keeping --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that going on needs."""
        return {"average": self.average, "count": self.count, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.average = {name: tensor.clone() for name, tensor in state_dict["average"].items()}
        self.count, self._step = state_dict["count"], state_dict["step"]
        self._is_loaded = True


def _model(module: pl.LightningModule) -> nn.Module:
    """Return the part of an imodel that a bundle saves."""
    model: Any = getattr(module, "model", module)
    return model if isinstance(model, nn.Module) else module


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
