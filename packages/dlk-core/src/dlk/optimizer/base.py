"""Optimizers, with groups of parameters that go their own way."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from dlk.config import thaw
from dlk.errors import ConfigError, DlkError, did_you_mean, nearest
from dlk.optimizer._groups import as_patterns

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer as TorchOptimizer

    from dlk.optimizer.configs import OptimizerConfig

_FUSED_DEVICES = frozenset({"cpu", "cuda"})  # where torch 2.4, the oldest supported, fuses
_NORM = re.compile(r"Norm(\d?d)?$")


class Optimizer(ABC):
    """Base of optimizers: a subclass names torch's class and its settings, groups are made here.

    A parameter belongs to the first special group of which a pattern is found in its name, else to
    the rest. Within a group, biases and the parameters of norms stand apart (``<group>/no_decay``)
    with weight decay 0, unless `decay_all`, or the group's own config says weight_decay. Frozen
    parameters are left out.

    Attributes:
        groups: after `build`, one dict per group: name, params (tensors) and numel (numbers).
        may_fuse: false where a fused step would clash with how gradients are handled: one that
            unscales gradients of mixed precision by itself leaves nothing to clip.
    """

    def __init__(self, config: OptimizerConfig) -> None:
        self.rest = config.name
        # Plain lists and dicts: torch's optimizer puts a group's settings into its state.
        self.special: Mapping[str, Any] = thaw(config.optimizer_special_groups)
        self.decay_all = config.decay_all
        self.groups: list[dict[str, Any]] = []
        self.may_fuse = True

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings of all groups that say nothing else, by torch's names."""

    @abstractmethod
    def make(self, groups: list[dict[str, Any]]) -> TorchOptimizer:
        """Build torch's optimizer from its parameter groups."""

    def build(self, model: nn.Module) -> TorchOptimizer:
        """Build the optimizer of a model's trainable parameters.

        Raises:
            DlkError: nothing can be trained, or a special group takes no parameter.
            ConfigError: a special group sets what the optimizer does not know.
        """
        trainable = _trainable(model)
        if not trainable:
            raise DlkError("the model has no trainable parameter: all are frozen, or there is none")
        chosen = self._assign(trainable, model)
        plain = set() if self.decay_all else _undecayed(model)
        groups: list[dict[str, Any]] = []
        for name in [*self.special.get("order", []), self.rest]:
            own = self._own_settings(name)
            split: dict[bool, list[Tensor]] = {False: [], True: []}
            for key, parameter in trainable.items():
                if chosen[key] == name:
                    apart = id(parameter) in plain and "weight_decay" not in own
                    split[apart].append(parameter)
            for apart, params in split.items():
                if params:
                    more = {"weight_decay": 0.0} if apart else {}
                    label = f"{name}/no_decay" if apart else name
                    groups.append(
                        {**self.settings(), **own, **more, "params": params, "name": label}
                    )
        self.groups = [
            {
                "name": group["name"],
                "params": len(group["params"]),
                "numel": sum(parameter.numel() for parameter in group["params"]),
            }
            for group in groups
        ]
        return self.make(groups)

    def _assign(self, trainable: Mapping[str, Tensor], model: nn.Module) -> dict[str, str]:
        """Return the group of each trainable parameter, by name."""
        aliases: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            aliases.setdefault(id(parameter), []).append(name)
        chosen = dict.fromkeys(trainable, self.rest)
        for group in reversed(self.special.get("order", [])):
            patterns = [re.compile(p) for p in as_patterns(self.special[group]["pattern"])]
            for name, tensor in trainable.items():
                if any(p.search(alias) for p in patterns for alias in aliases[id(tensor)]):
                    chosen[name] = group
        for group in self.special.get("order", []):
            if group not in chosen.values():
                raise DlkError(self._why_empty(group, trainable, model))
        return chosen

    def _own_settings(self, group: str) -> dict[str, Any]:
        if group == self.rest:
            return {}
        own = dict(self.special[group]["config"])
        known = self.settings()
        for name in own:
            if name not in known:
                raise ConfigError(
                    f'optimizer_special_groups: group "{group}" sets "{name}". '
                    f"{did_you_mean(name, known)}"
                )
        return own

    def _why_empty(self, group: str, trainable: Mapping[str, Tensor], model: nn.Module) -> str:
        patterns = as_patterns(self.special[group]["pattern"])
        shown = ", ".join(f'"{p}"' for p in patterns)
        found = [n for n, _ in model.named_parameters() if any(re.search(p, n) for p in patterns)]
        start = f'optimizer_special_groups: group "{group}" ({shown}) takes no parameter'
        if any(name in trainable for name in found):
            return f"{start}: an earlier group takes all of them, such as {found[0]}."
        if found:
            return f"{start}: all that it matches are frozen, such as {found[0]}."
        words = [re.sub(r"[^\w.]+", "", p) for p in patterns]
        near = [name for word in words for name in _near(word, list(trainable))]
        return f"{start}. Parameters near: {', '.join(dict.fromkeys(near))}."


def _near(word: str, names: list[str]) -> list[str]:
    """Return parameter names of which a part is like `word`, else the first few names."""
    parts = {part: name for name in reversed(names) for part in name.split(".")}
    found = [parts[close] for w in word.split(".") for close in nearest(w, parts)]
    return found[:5] or names[:5]


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _undecayed(model: nn.Module) -> set[int]:
    """Return the ids of biases and of all parameters of norms."""
    found = set()
    for module in model.modules():
        norm = bool(_NORM.search(type(module).__name__))
        for name, parameter in module.named_parameters(recurse=False):
            if norm or "bias" in name:
                found.add(id(parameter))
    return found


def fusable(groups: list[dict[str, Any]]) -> bool:
    """Return whether torch has a fused kernel for all parameters of these groups."""
    tensors = [parameter for group in groups for parameter in group["params"]]
    return all(t.device.type in _FUSED_DEVICES and t.is_floating_point() for t in tensors)
