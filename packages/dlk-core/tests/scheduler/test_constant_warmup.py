from typing import ClassVar

from dlk.config import make
from dlk.registry import register
from dlk.testing import SchedulerConformance


class TestConformance(SchedulerConformance):
    component = ("scheduler", "constant_warmup")


class TestConformanceByEpoch(SchedulerConformance):
    component = ("scheduler", "constant_warmup")
    config: ClassVar = {"num_warmup_steps": 2, "interval": "epoch"}


def test_it_rises_and_stays():
    made = register.build(make("scheduler", "constant_warmup", {"num_warmup_steps": 4}))
    assert [made.factor(step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
