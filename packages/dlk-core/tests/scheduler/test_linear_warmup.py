from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD

from dlk.config import make
from dlk.registry import register
from dlk.scheduler.base import Scheduler
from dlk.testing import SchedulerConformance


class TestConformance(SchedulerConformance):
    component = ("scheduler", "linear_warmup")


class TestConformanceByEpoch(SchedulerConformance):
    component = ("scheduler", "linear_warmup")
    config: ClassVar = {"num_warmup_steps": 2, "interval": "epoch"}


def linear(warmup: float) -> Scheduler:
    return register.build(make("scheduler", "linear_warmup", {"num_warmup_steps": warmup}))


def theirs(step: int, warmup: int, total: int) -> float:
    """The formula of transformers' get_linear_schedule_with_warmup."""
    if step < warmup:
        return step / max(1, warmup)
    return max(0.0, (total - step) / max(1, total - warmup))


@settings(deadline=None)
@given(warmup=st.integers(0, 30), more=st.integers(1, 30))
def test_the_rise_is_one_step_ahead_of_transformers_and_the_fall_is_theirs(warmup, more):
    total = warmup + more
    made = linear(warmup)
    for step in range(warmup):
        assert made.factor(step, total) == pytest.approx(theirs(step + 1, warmup, total))
    for step in range(warmup, total + 5):
        assert made.factor(step, total) == pytest.approx(theirs(step, warmup, total))


def test_every_planned_step_trains_and_the_end_is_zero():
    factors = [linear(0.1).factor(step, 20) for step in range(21)]
    assert all(factors[:20])
    assert factors[20] == 0.0


def test_a_rise_longer_than_the_run_is_cut_by_its_end():
    made = linear(100)
    assert [made.factor(step, 3) for step in range(3)] == [0.01, 0.02, 0.03]


def test_groups_keep_their_proportions():
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1e-3, 1e-5)]
    optimizer = SGD(groups, lr=1.0)
    scheduler = linear(2).build(optimizer, total_steps=10, steps_per_epoch=5)
    for _ in range(9):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == pytest.approx(100 * second)
        optimizer.step()
        scheduler.step()
