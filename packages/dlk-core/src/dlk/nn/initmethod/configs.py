"""The options of core's init methods."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import Base, FloatField, Signature, cregister


@cregister()
class InitConfig(Base):
    """What init methods share: they read and write no batch."""

    def signature(self) -> Signature:
        return Signature()


@cregister("initmethod", "default")
class DefaultInitConfig(InitConfig):
    """Start values by the kind of layer: Xavier, Kaiming, orthogonal; vectors of length 1."""


@cregister("initmethod", "range_norm")
class RangeNormInitConfig(InitConfig):
    """Weights from a normal distribution around zero."""

    std = FloatField(value=0.1, minimum=0.0, help="standard deviation of the weights")


@cregister("initmethod", "range_uniform")
class RangeUniformInitConfig(InitConfig):
    """Weights from a uniform distribution."""

    range_from = FloatField(value=-0.1, help="smallest weight")
    range_to = FloatField(value=0.1, help="largest weight")

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.range_from > self.range_to:
            yield (
                "range_to",
                f"expected a number >= range_from ({self.range_from}), got {self.range_to}.",
            )
