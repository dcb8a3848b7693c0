"""Optimizers that are wrong on purpose fail the check that is meant for them."""

import re

import pytest
from torch.optim import SGD

from dlk.config import FloatField, cregister
from dlk.optimizer.base import Optimizer
from dlk.optimizer.configs import OptimizerConfig
from dlk.registry import register
from dlk.testing import OptimizerConformance


class Right(Optimizer):
    """Plain gradient descent with momentum."""

    def __init__(self, config):
        super().__init__(config)
        self.config = config

    def settings(self):
        return {"lr": self.config.lr, "momentum": 0.9, "weight_decay": 0.0}

    def make(self, groups):
        return SGD(groups)


def checks(name: str, *faults: type) -> type:
    @cregister("optimizer", name)
    class _Config(OptimizerConfig):
        """An optimizer for the tests of the kit."""

        lr = FloatField(value=0.1, minimum=0.0, help="learning rate")

    register("optimizer", name)(type(name, (*faults, Right), {}))
    return type("Checks", (OptimizerConformance,), {"component": ("optimizer", name)})


class TakesFrozenParameters:
    def build(self, model):
        made = super().build(model)
        frozen = [p for p in model.parameters() if not p.requires_grad]
        if frozen:
            made.add_param_group({"params": frozen, "name": "frozen"})
        return made


class LeavesSomeOut:
    def make(self, groups):
        return SGD(groups[:1])


class ReportsNothing:
    def build(self, model):
        made = super().build(model)
        self.groups = []
        return made


class ReportsTooLittle:
    def build(self, model):
        made = super().build(model)
        self.groups = [{**group, "numel": 1} for group in self.groups]
        return made


class LearnsNothing:
    def settings(self):
        return {**super().settings(), "lr": 0.0 * self.config.lr}


class IgnoresSpecialGroups:
    def __init__(self, config):
        super().__init__(config)
        self.special = {}


class Forgetful(SGD):
    def state_dict(self):
        return {**super().state_dict(), "state": {}}


class ForgetsItsState:
    def make(self, groups):
        return Forgetful(groups)


class Wavering(SGD):
    calls = 0

    def step(self, closure=None):
        Wavering.calls += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.mul_(1 + Wavering.calls % 7)
        return super().step(closure)


class StepsAsItLikes:
    def make(self, groups):
        return Wavering(groups)


FAULTS = [
    (
        TakesFrozenParameters,
        {"each_trainable_parameter_is_in_one_group_and_frozen_ones_in_none"},
        "all trainable parameters and no frozen one",
    ),
    (
        LeavesSomeOut,
        {"each_trainable_parameter_is_in_one_group_and_frozen_ones_in_none"},
        "all trainable parameters",
    ),
    (ReportsNothing, {"groups_are_reported"}, "must name each parameter group once"),
    (ReportsTooLittle, {"groups_are_reported"}, "must add up to"),
    (LearnsNothing, {"it_learns_and_leaves_frozen_parameters_alone"}, "a larger learning rate"),
    (IgnoresSpecialGroups, {"a_special_group_goes_its_own_way"}, r"norm\.weight should stay"),
    (ForgetsItsState, {"saving_and_loading_goes_on_where_it_was"}, "must hold all state"),
    (StepsAsItLikes, {"same_seed_gives_the_same_result"}, "differs"),
]


def test_what_is_right_passes_every_check(failures):
    assert failures(checks("right")) == {}


@pytest.mark.parametrize(("fault", "expected", "message"), FAULTS)
def test_a_fault_is_found_by_its_check(fault, expected, message, failures):
    found = failures(checks(fault.__name__, fault))
    assert expected <= set(found)
    assert any(re.search(message, found[name]) for name in expected)


class KeepsItsConfigInTheGroups:
    def make(self, groups):
        return SGD([{**group, "own": self.config.optimizer_special_groups} for group in groups])


def test_a_state_that_only_pickle_reads_is_refused():
    made = checks("keeps_its_config", KeepsItsConfigInTheGroups)()
    with pytest.raises(AssertionError, match="cannot be read with weights_only=True"):
        made.test_its_state_is_plain()
