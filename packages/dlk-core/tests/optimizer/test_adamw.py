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
    component = ("optimizer", "adamw")
    config: ClassVar = {"lr": 0.02}


class TestConformanceUnfused(OptimizerConformance):
    component = ("optimizer", "adamw")
    config: ClassVar = {"lr": 0.02, "fused": False, "decay_all": True}


def by_hand(weight, grads, *, lr, betas, eps, decay):
    """Algorithm 2 of the paper, in a plain loop."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for t, grad in enumerate(grads, start=1):
        first = betas[0] * first + (1 - betas[0]) * grad
        second = betas[1] * second + (1 - betas[1]) * grad**2
        unbiased = first / (1 - betas[0] ** t), second / (1 - betas[1] ** t)
        weight = weight - lr * (unbiased[0] / (unbiased[1].sqrt() + eps) + decay * weight)
    return weight


@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_the_paper(fused):
    settings = {"lr": 0.1, "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.2, "fused": fused}
    layer = nn.Linear(3, 2, bias=False).double()
    grads = torch.randn(4, 2, 3).double()
    expected = by_hand(layer.weight.detach(), grads, lr=0.1, betas=(0.8, 0.95), eps=1e-3, decay=0.2)
    optimizer = register.build(make("optimizer", "adamw", settings)).build(layer)
    for grad in grads:
        layer.weight.grad = grad.clone()
        optimizer.step()
    assert_close(layer.weight.detach(), expected)


def test_it_is_fused_where_it_can_be_and_not_where_it_is_told_not_to():
    fused = register.build(make("optimizer", "adamw"))
    assert fused.build(nn.Linear(2, 2)).defaults["fused"] is True
    fused.may_fuse = False
    assert fused.build(nn.Linear(2, 2)).defaults["fused"] is None
    fused.may_fuse = True
    on_meta = fused.build(nn.Linear(2, 2, device="meta"))
    assert on_meta.defaults["fused"] is None
    plain = register.build(make("optimizer", "adamw", {"fused": False}))
    assert plain.build(nn.Linear(2, 2)).defaults["fused"] is None


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [0.9, 0.9, 0.9], ["a", 0.9]])
def test_betas_that_are_none_are_refused(betas):
    with pytest.raises(ConfigError, match=r"betas: expected two numbers in \[0, 1\)"):
        make("optimizer", "adamw", {"betas": betas})
