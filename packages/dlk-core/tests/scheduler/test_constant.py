from dlk.config import make
from dlk.registry import register
from dlk.testing import SchedulerConformance


class TestConformance(SchedulerConformance):
    component = ("scheduler", "constant")


def test_it_is_one_all_along():
    made = register.build(make("scheduler", "constant"))
    assert {made.factor(step, total) for step in (0, 5, 500) for total in (0, 10)} == {1.0}
