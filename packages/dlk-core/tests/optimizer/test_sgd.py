from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing import OptimizerConformance


class TestConformance(OptimizerConformance):
    component = ("optimizer", "sgd")
    config: ClassVar = {"lr": 0.1}


class TestConformanceNesterov(OptimizerConformance):
    component = ("optimizer", "sgd")
    config: ClassVar = {"lr": 0.1, "nesterov": True, "weight_decay": 1e-4, "fused": False}


def by_hand(weight, grads, *, lr, momentum, dampening, nesterov, decay):
    velocity = None
    for grad in grads:
        grad = grad + decay * weight
        if velocity is None:
            velocity = grad
        else:
            velocity = momentum * velocity + (1 - dampening) * grad
        weight = weight - lr * (grad + momentum * velocity if nesterov else velocity)
    return weight


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("dampening", "nesterov"), [(0.0, False), (0.3, False), (0.0, True)])
def test_steps_are_those_of_the_formula(fused, dampening, nesterov):
    layer = nn.Linear(3, 2, bias=False).double()
    grads = torch.randn(4, 2, 3).double()
    rule = {"momentum": 0.8, "dampening": dampening, "nesterov": nesterov}
    expected = by_hand(layer.weight.detach(), grads, lr=0.1, decay=0.2, **rule)
    values = {"lr": 0.1, "weight_decay": 0.2, "fused": fused, **rule}
    optimizer = register.build(make("optimizer", "sgd", values)).build(layer)
    for grad in grads:
        layer.weight.grad = grad.clone()
        optimizer.step()
    assert_close(layer.weight.detach(), expected)


@pytest.mark.parametrize("values", [{"momentum": 0.0}, {"dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(values):
    with pytest.raises(ConfigError, match="nesterov: needs a momentum above 0"):
        make("optimizer", "sgd", {"nesterov": True, **values})
