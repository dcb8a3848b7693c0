"""The options of core's schedulers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlk.config import AnyField, Base, FloatField, Signature, StrField, cregister


@cregister()
class SchedulerConfig(Base):
    """What all schedulers share."""

    interval = StrField(
        value="step",
        options=["step", "epoch"],
        help="when the rate moves: after each optimizer step, or after each epoch",
    )

    def signature(self) -> Signature:
        return Signature()


@cregister()
class WarmupConfig(SchedulerConfig):
    """What schedulers share that start slowly."""

    num_warmup_steps: Any = AnyField(
        value=0.1,
        help="how long the rate rises: a number below 1 with a point (0.1) is a share of the run, "
        "a whole number (0, 100) counts steps, or epochs where interval is epoch",
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        given = self.num_warmup_steps
        whole = type(given) is int and given >= 0
        share = type(given) is float and 0 <= given < 1
        if not whole and not share:
            yield (
                "num_warmup_steps",
                "expected a share of the run in [0, 1), such as 0.1, or a whole number of steps "
                f">= 0, such as 100, got {given!r}.",
            )


@cregister("scheduler", "constant")
class ConstantSchedulerConfig(SchedulerConfig):
    """The same rate all along."""


@cregister("scheduler", "constant_warmup")
class ConstantWarmupSchedulerConfig(WarmupConfig):
    """Linear rise, then the same rate."""


@cregister("scheduler", "linear_warmup")
class LinearWarmupSchedulerConfig(WarmupConfig):
    """Linear rise, then linear fall to zero at the end of the run."""


@cregister("scheduler", "cosine_warmup")
class CosineWarmupSchedulerConfig(WarmupConfig):
    """Linear rise, then along a cosine."""

    num_cycles = FloatField(
        value=0.5,
        minimum=0.0,
        help="waves of the cosine until the end of the run; 0.5: one fall to zero",
    )
