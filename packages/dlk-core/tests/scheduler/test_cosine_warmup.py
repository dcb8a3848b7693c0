import math
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.registry import register
from dlk.scheduler.base import Scheduler
from dlk.testing import SchedulerConformance


class TestConformance(SchedulerConformance):
    component = ("scheduler", "cosine_warmup")


class TestConformanceByEpoch(SchedulerConformance):
    component = ("scheduler", "cosine_warmup")
    config: ClassVar = {"num_warmup_steps": 2, "interval": "epoch", "num_cycles": 1.5}


def cosine(**values: object) -> Scheduler:
    return register.build(make("scheduler", "cosine_warmup", values))


def theirs(step: int, warmup: int, total: int, cycles: float) -> float:
    """The formula of transformers' get_cosine_schedule_with_warmup."""
    if step < warmup:
        return step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress)))


@settings(deadline=None)
@given(
    warmup=st.integers(0, 30),
    more=st.integers(1, 30),
    cycles=st.sampled_from([0.0, 0.5, 1.0, 1.75]),
)
def test_the_rise_is_one_step_ahead_of_transformers_and_the_fall_is_theirs(warmup, more, cycles):
    total = warmup + more
    made = cosine(num_warmup_steps=warmup, num_cycles=cycles)
    for step in range(warmup):
        assert made.factor(step, total) == pytest.approx(theirs(step + 1, warmup, total, cycles))
    for step in range(warmup, total + 1):
        assert made.factor(step, total) == pytest.approx(
            theirs(step, warmup, total, cycles), abs=1e-12
        )


def test_the_rate_does_not_rise_again_past_the_end():
    made = cosine(num_warmup_steps=0)
    assert made.factor(10, 10) == pytest.approx(0.0)
    assert made.factor(17, 10) == made.factor(10, 10)


def test_it_is_half_way_down_in_the_middle():
    assert cosine(num_warmup_steps=10).factor(30, 50) == pytest.approx(0.5)
