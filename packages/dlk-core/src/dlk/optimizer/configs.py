"""The options of core's optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from dlk.config import (
    Base,
    BoolField,
    DictField,
    FloatField,
    ListField,
    Signature,
    StrField,
    cregister,
)


@cregister()
class OptimizerConfig(Base):
    """What all optimizers share: groups of parameters that go their own way.

    Attributes:
        settable: what a special group may set; empty: the optimizer tells when it is built.
    """

    settable: ClassVar[tuple[str, ...]] = ()

    name = StrField(
        value="default", help="name of the group of all parameters that no pattern takes"
    )
    optimizer_special_groups: dict[str, Any] = DictField(
        value={},
        help=(
            "groups with settings of their own: {order: [group, …], group: {config: {lr: …}, "
            "pattern: [regular expression searched in parameter names]}}; the first match wins"
        ),
    )
    decay_all = BoolField(
        value=False,
        help="weight decay also for biases and norms; false: for those only in a special group "
        "that says weight_decay itself",
    )

    def signature(self) -> Signature:
        return Signature()

    def rules(self) -> Iterable[tuple[str, str]]:
        from dlk.optimizer._groups import mistakes

        for message in mistakes(
            self.optimizer_special_groups, rest=self.name, check=self.setting_mistakes
        ):
            yield "optimizer_special_groups", message

    def setting_mistakes(self, name: str, value: object) -> Iterator[str]:
        """Yield what is wrong with a special group's own value of a setting."""
        from dlk.config._intc import fields_of
        from dlk.config.check import check_value
        from dlk.errors import did_you_mean

        fields = fields_of(type(self))
        if self.settable and name not in self.settable:
            yield f"there is no such setting. {did_you_mean(name, self.settable)}"
        elif name in fields:
            yield from (message for _, message in check_value(fields[name], value))


@cregister("optimizer", "adamw")
class AdamWOptimizerConfig(OptimizerConfig):
    """Adam with weight decay apart from the gradient."""

    settable = ("lr", "betas", "eps", "weight_decay")

    lr = FloatField(value=1e-3, minimum=0.0, help="learning rate, before the scheduler's factor")
    betas: list[Any] = ListField(
        value=[0.9, 0.999], help="decay of the running means of gradient and squared gradient"
    )
    eps = FloatField(value=1e-8, minimum=1e-20, help="added to the denominator")
    weight_decay = FloatField(value=0.01, minimum=0.0, help="share of weights taken off, times lr")
    fused = BoolField(
        value=True,
        help="one kernel for all parameters where devices and dtypes have one, and no gradients of "
        "mixed precision are clipped",
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from OptimizerConfig.rules(self)
        yield from (("betas", message) for message in _beta_mistakes(self.betas))

    def setting_mistakes(self, name: str, value: object) -> Iterator[str]:
        found = list(OptimizerConfig.setting_mistakes(self, name, value))
        yield from found
        if name == "betas" and not found:
            yield from _beta_mistakes(value)


@cregister("optimizer", "sgd")
class SGDOptimizerConfig(OptimizerConfig):
    """Stochastic gradient descent, with momentum."""

    settable = ("lr", "momentum", "dampening", "nesterov", "weight_decay")

    lr = FloatField(value=1e-3, minimum=0.0, help="learning rate, before the scheduler's factor")
    momentum = FloatField(value=0.9, minimum=0.0, help="share of the last step that is kept")
    dampening = FloatField(value=0.0, minimum=0.0, help="how much less a new gradient counts")
    nesterov = BoolField(value=False, help="look ahead before taking the gradient")
    weight_decay = FloatField(value=0.0, minimum=0.0, help="share of weights added to the gradient")
    fused = BoolField(
        value=True,
        help="one kernel for all parameters where devices and dtypes have one, and no gradients of "
        "mixed precision are clipped",
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from OptimizerConfig.rules(self)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov", "needs a momentum above 0 and a dampening of 0."


def _beta_mistakes(betas: Any) -> Iterator[str]:
    numbers = [type(beta) in (int, float) and 0 <= beta < 1 for beta in betas]
    if numbers != [True, True]:
        yield f"expected two numbers in [0, 1), got {betas}."
