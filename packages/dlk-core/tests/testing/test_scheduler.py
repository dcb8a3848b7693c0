"""Schedulers that are wrong on purpose fail the check that is meant for them."""

import re

import pytest
from torch.optim.lr_scheduler import LambdaLR

from dlk.config import cregister
from dlk.registry import register
from dlk.scheduler.base import Scheduler
from dlk.scheduler.configs import SchedulerConfig
from dlk.testing import SchedulerConformance


class Right(Scheduler):
    """Falls evenly."""

    def factor(self, step, total):
        return 1.0 - min(step, total) / total


def checks(name: str, *faults: type) -> type:
    @cregister("scheduler", name)
    class _Config(SchedulerConfig):
        """A scheduler for the tests of the kit."""

    register("scheduler", name)(type(name, (*faults, Right), {}))
    return type("Checks", (SchedulerConformance,), {"component": ("scheduler", name)})


class StartsAtZero:
    def factor(self, step, total):
        return min(step, total) / total


class RisesAgain:
    def factor(self, step, total):
        return abs(1.0 - step / total)


class GoesBelowZero:
    def factor(self, step, total):
        return 1.0 - 2 * min(step, total) / total


class Counts:
    calls = 0

    def factor(self, step, total):
        self.calls += 1
        return super().factor(step, total) + self.calls


class BuildsSomethingElse:
    def build(self, optimizer, *, total_steps, steps_per_epoch):
        return LambdaLR(optimizer, lambda step: 0.5)


class ForgetsItsPlace:
    def build(self, optimizer, *, total_steps, steps_per_epoch):
        made = super().build(optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch)
        made.load_state_dict = lambda state: None
        return made


class HasAnOddInterval:
    def __init__(self, config):
        super().__init__(config)
        self.interval = "batch"


FAULTS = [
    (StartsAtZero, "factors_are_numbers_and_the_first_step_trains", "changes nothing"),
    (GoesBelowZero, "factors_are_numbers_and_the_first_step_trains", "not negative"),
    (RisesAgain, "past_the_planned_end_the_factor_stays", "clamp the progress"),
    (Counts, "the_factor_depends_on_step_and_total_alone", "keep no state in it"),
    (BuildsSomethingElse, "rates_follow_the_factor", "makes them"),
    (HasAnOddInterval, "rates_follow_the_factor", "interval must be step or epoch"),
    (ForgetsItsPlace, "saving_and_loading_goes_on_where_it_was", "must hold all state"),
]


def test_what_is_right_passes_every_check(failures):
    assert failures(checks("right")) == {}


@pytest.mark.parametrize(("fault", "expected", "message"), FAULTS)
def test_a_fault_is_found_by_its_check(fault, expected, message, failures):
    found = failures(checks(fault.__name__, fault))
    assert re.search(message, found[expected])
