import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from dlk.config import make
from dlk.nn.loss.focal import FocalLoss
from dlk.registry import register
from dlk.testing import LossConformance

PAIR = {"pred_truth_pair": {"logits": "label_ids"}}
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3)


def focal(name: str = "focal", **changes: object) -> FocalLoss:
    return register.build(make("loss", name, {**PAIR, **changes}))


def by_hand(rows, target, gamma):
    total, kept = 0.0, 0
    for row, label in zip(rows, target, strict=True):
        p = math.exp(row[label]) / sum(math.exp(value) for value in row)
        total += -((1 - p) ** gamma) * math.log(p)
        kept += 1
    return torch.tensor(total / kept)


class TestConformance(LossConformance):
    component = ("loss", "focal")
    config: ClassVar = PAIR


class TestConformanceWeighted(LossConformance):
    component = ("loss", "focal")
    config: ClassVar = {**PAIR, "weight": [1.0, 2.0, 0.5], "gamma": 0.5, "ignore_index": 1}


@settings(deadline=None)
@given(rows=st.lists(LOGITS, min_size=1, max_size=4), gamma=st.floats(0, 5), data=st.data())
def test_equals_the_paper(rows, gamma, data):
    target = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    loss = focal(gamma=gamma)(torch.tensor(rows), torch.tensor(target))
    assert_close(loss, by_hand(rows, target, gamma), rtol=1e-3, atol=1e-5)  # p in float32


@pytest.mark.parametrize("weight", [None, [1.0, 3.0, 0.5]])
def test_without_fading_it_is_torch_cross_entropy(weight):
    logits, target = torch.randn(2, 5, 3), torch.tensor([[0, 2, 1, 1, 2], [0, 0, 1, 2, 1]])
    expected = cross_entropy(
        logits.flatten(0, 1),
        target.flatten(),
        ignore_index=1,
        weight=None if weight is None else torch.tensor(weight),
    )
    assert_close(focal(gamma=0.0, ignore_index=1, weight=weight)(logits, target), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradient_matches_finite_differences(gamma):
    loss, target = focal(gamma=gamma), torch.tensor([0, 1, 2, -100])
    logits = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


def test_the_gradient_is_finite_where_the_model_is_certain():
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    focal(gamma=0.5)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad.isfinite().all()


def test_where_all_targets_are_ignored_loss_and_gradient_are_zero():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = focal()(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_the_name_that_users_know_gives_the_same_loss():
    logits, target = torch.randn(3, 4), torch.tensor([0, 1, 2])
    assert torch.equal(focal("focal_loss")(logits, target), focal()(logits, target))
