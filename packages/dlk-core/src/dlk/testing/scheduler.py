"""Conformance of schedulers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import SGD

from dlk.testing._common import Conformance

TOTAL = 40
"""Steps of the run that the checks plan."""


class SchedulerConformance(Conformance):
    """What every registered scheduler keeps."""

    def exercise(self, component: Any) -> None:
        """Move through a run."""
        self._rates(component, steps=TOTAL)

    def test_factors_are_numbers_and_the_first_step_trains(self) -> None:
        """No factor is negative or infinite, and no step is lost to a rate of 0 at the start."""
        factors = self._factors()
        assert all(math.isfinite(f) and f >= 0 for f in factors), (
            f"{self._name}: factors must be finite and not negative, got {factors}"
        )
        assert factors[0] > 0, f"{self._name}: the first step has a rate of 0, so changes nothing"

    def test_past_the_planned_end_the_factor_stays(self) -> None:
        """A run that goes on for longer meets no surprise."""
        factors = self._factors()
        assert len(set(factors[TOTAL:])) == 1, (
            f"{self._name}: past the planned end the factor moves, {factors[TOTAL:]}: "
            "clamp the progress"
        )

    def test_the_factor_depends_on_step_and_total_alone(self) -> None:
        """Asked in another order it says the same."""
        component = self.build()
        forwards = [component.factor(step, TOTAL) for step in range(TOTAL)]
        backwards = [component.factor(step, TOTAL) for step in reversed(range(TOTAL))]
        assert forwards == backwards[::-1], (
            f"{self._name}: factor() must be a function of its arguments: keep no state in it"
        )

    def test_rates_follow_the_factor(self) -> None:
        """torch's scheduler gives each group its own rate times the factor, stepped as declared."""
        component = self.build()
        interval = component.interval
        assert interval in ("step", "epoch"), f"{self._name}: interval must be step or epoch"
        per_epoch = 4
        planned = TOTAL if interval == "step" else TOTAL // per_epoch
        rates = self._rates(component, steps=planned + 3, steps_per_epoch=per_epoch)
        for step, (first, second) in enumerate(rates):
            factor = component.factor(step, planned)
            expected = (0.1 * factor, 2.0 * factor)
            close = all(
                math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
                for a, b in zip((first, second), expected, strict=True)
            )
            assert close, (
                f"{self._name}: after {step} times scheduler.step() the rates are "
                f"{(first, second)}, factor({step}, {planned}) makes them {expected}"
            )

    def test_saving_and_loading_goes_on_where_it_was(self) -> None:
        """A resumed run has the rates of one that was never stopped."""
        through = self._rates(self.build(), steps=9)
        optimizer = self._optimizer()
        scheduler = self.build().build(optimizer, total_steps=TOTAL, steps_per_epoch=4)
        for _ in range(5):
            optimizer.step()
            scheduler.step()
        saved, weights = scheduler.state_dict(), optimizer.state_dict()
        optimizer = self._optimizer()
        scheduler = self.build().build(optimizer, total_steps=TOTAL, steps_per_epoch=4)
        optimizer.load_state_dict(weights)
        scheduler.load_state_dict(saved)
        resumed = []
        for _ in range(5, 9):
            resumed.append(tuple(group["lr"] for group in optimizer.param_groups))
            optimizer.step()
            scheduler.step()
        assert resumed == through[5:], (
            f"{self._name}: rates after a resume are {resumed}, without one {through[5:]}: "
            "state_dict must hold all state"
        )

    def _factors(self) -> list[float]:
        component = self.build()
        return [component.factor(step, TOTAL) for step in range(TOTAL + 8)]

    def _optimizer(self) -> SGD:
        groups = [
            {"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in (0.1, 2.0)
        ]
        return SGD(groups, lr=1.0)

    def _rates(
        self, component: Any, *, steps: int, steps_per_epoch: int = 4
    ) -> list[tuple[float, ...]]:
        optimizer = self._optimizer()
        scheduler = component.build(optimizer, total_steps=TOTAL, steps_per_epoch=steps_per_epoch)
        rates = []
        for _ in range(steps):
            rates.append(tuple(group["lr"] for group in optimizer.param_groups))
            optimizer.step()
            scheduler.step()
        return rates
