"""Conformance of optimizers."""

from __future__ import annotations

import copy
import io
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from dlk.config import node_of, to_dict
from dlk.testing._common import Conformance, seed_all


class _Small(nn.Module):
    """A model with all that optimizers tell apart: norms, biases, a frozen part, a tied one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.head(self.frozen(self.norm(self.embedding(ids))))
        return scores


class OptimizerConformance(Conformance):
    """What every registered optimizer keeps.

    Attributes:
        steps: steps in which it must halve the loss of a small model.
    """

    steps: int = 200

    def exercise(self, component: Any) -> None:
        """Take one step."""
        self._train(component.build(self._model()), 1)

    def test_each_trainable_parameter_is_in_one_group_and_frozen_ones_in_none(self) -> None:
        """Frozen parameters cost memory and would still be decayed."""
        model = self._model()
        optimizer = self.build().build(model)
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        wanted = {id(p) for p in model.parameters() if p.requires_grad}
        assert len(held) == len(set(held)), f"{self._name}: a parameter is in two groups"
        assert set(held) == wanted, (
            f"{self._name}: all trainable parameters and no frozen one must be in its groups"
        )

    def test_groups_are_reported(self) -> None:
        """`groups` says name and size of each, after build."""
        component, model = self.build(), self._model()
        optimizer = component.build(model)
        names = [group["name"] for group in component.groups]
        assert len(set(names)) == len(names) == len(optimizer.param_groups), (
            f"{self._name}: `groups` must name each parameter group once, got {names}"
        )
        total = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert sum(group["numel"] for group in component.groups) == total, (
            f"{self._name}: the sizes in `groups` must add up to {total} trainable numbers"
        )

    def test_it_learns_and_leaves_frozen_parameters_alone(self) -> None:
        """The loss of a small model falls to less than half."""
        model = self._model()
        frozen = copy.deepcopy(model.frozen.state_dict())
        losses = self._train(self.build().build(model), self.steps, model)
        assert losses[-1] < losses[0] / 2, (
            f"{self._name}: the loss went from {losses[0]:.3g} to {losses[-1]:.3g} in "
            f"{self.steps} steps: set a larger learning rate in `config`, or more `steps`"
        )
        for name, tensor in frozen.items():
            assert torch.equal(tensor, model.frozen.state_dict()[name]), (
                f"{self._name} changes the frozen parameter {name}: leave out what has "
                "requires_grad False"
            )

    def test_a_special_group_goes_its_own_way(self) -> None:
        """With a learning rate of 0 for one group, exactly that group stays where it is."""
        if "optimizer_special_groups" not in self.fields:
            return
        groups = {
            "order": ["still"],
            "still": {"config": {"lr": 0.0, "weight_decay": 0.0}, "pattern": [r"norm\."]},
        }
        model = self._model()
        before = copy.deepcopy(model.state_dict())
        component = self.build(config=self.make(optimizer_special_groups=groups))
        self._train(component.build(model), 2, model)
        for name, parameter in model.named_parameters():
            still = name.startswith("norm.") or not parameter.requires_grad
            assert torch.equal(parameter, before[name]) == still, (
                f"{self._name}: with lr 0 for norm.*, {name} should {'stay' if still else 'move'}"
            )

    def test_its_state_is_plain(self) -> None:
        """Checkpoints are read with `weights_only=True`, the settings of special groups too."""
        component = self.build()
        values = to_dict(self.make())[node_of(self.make()).key]
        own = {name: values[name] for name in component.settings() if name in values}
        groups = {"order": ["own"], "own": {"config": own, "pattern": [r"norm\."]}}
        if "optimizer_special_groups" in self.fields:
            component = self.build(config=self.make(optimizer_special_groups=groups))
        optimizer, buffer = component.build(self._model()), io.BytesIO()
        self._train(optimizer, 1)
        torch.save(optimizer.state_dict(), buffer)
        buffer.seek(0)
        try:
            torch.load(buffer, weights_only=True)
        except UnpicklingError as error:
            reason = str(error).strip().splitlines()[-1]
            raise AssertionError(
                f"{self._name}: its state cannot be read with weights_only=True: keep numbers, "
                f"lists, dicts and tensors in the groups, nothing of a config ({reason})"
            ) from error

    def test_same_seed_gives_the_same_result(self) -> None:
        """Two runs end at the same bits."""
        states = []
        for _ in range(2):
            model = self._model()
            self._train(self.build().build(model), 3, model)
            states.append(model.state_dict())
        for name, tensor in states[0].items():
            assert torch.equal(tensor, states[1][name]), f"{self._name}: {name} differs"

    def test_saving_and_loading_goes_on_where_it_was(self) -> None:
        """Two steps, saved, loaded, and two more are the same as four."""
        through, apart = self._model(), self._model()
        self._train(self.build().build(through), 4, through)
        first = self.build().build(apart)
        self._train(first, 2, apart)
        second = self.build().build(apart)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        self._train(second, 2, apart)
        for name, tensor in through.state_dict().items():
            assert torch.equal(tensor, apart.state_dict()[name]), (
                f"{self._name}: {name} differs after a resume: state_dict must hold all state"
            )

    def _model(self) -> _Small:
        seed_all(6)
        return _Small()

    def _train(self, optimizer: Any, steps: int, model: _Small | None = None) -> list[float]:
        """Return the losses of a few steps; without a model, of gradients made up."""
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            if model is None:
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.grad = torch.ones_like(parameter)
            else:
                loss = nn.functional.cross_entropy(model(torch.arange(5)), torch.arange(5))
                loss.backward()  # type: ignore[no-untyped-call]  # torch types it not
                losses.append(float(loss.detach()))
            optimizer.step()
        return losses
