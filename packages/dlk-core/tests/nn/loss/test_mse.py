from typing import ClassVar

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.testing import assert_close

from dlk.config import make
from dlk.nn.loss.mse import MSELoss
from dlk.registry import register
from dlk.testing import LossConformance

PAIR = {"pred_truth_pair": {"logits": "values"}}


def loss() -> MSELoss:
    return register.build(make("loss", "mse", PAIR))


class TestConformance(LossConformance):
    component = ("loss", "mse")
    config: ClassVar = PAIR

    def batch(self):
        return {**super().batch(), "values": torch.linspace(0, 1, 12).view(4, 3)}


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (4, 3), (2, 3, 2)])
def test_it_is_the_plain_mean(shape):
    pred, target = torch.randn(shape), torch.randn(shape)
    assert_close(loss()(pred, target), mse_loss(pred, target))


def test_a_trailing_one_is_no_second_axis():
    pred, target = torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0])
    assert loss()(pred, target).item() == 2.0
    assert loss()(target, pred).item() == 2.0


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"got \(4, 1\) and \(1, 4\)"):
        loss()(torch.zeros(4, 1), torch.zeros(1, 4))


def test_integer_targets_and_half_precision_predictions_fit():
    pred, target = torch.tensor([1.0, 2.0]).bfloat16(), torch.tensor([3, 3])
    assert loss()(pred, target).item() == 2.5
    assert loss()(pred, target).dtype == torch.float


def test_nothing_costs_nothing():
    assert loss()(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0.0


def test_a_target_that_is_not_known_adds_neither_loss_nor_gradient_nor_weight():
    pred = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    target = torch.tensor([3.0, float("nan"), 3.0])
    found = loss()(pred, target)
    assert found.item() == 2.0
    (grad,) = torch.autograd.grad(found, pred)
    assert grad.tolist() == [-2.0, 0.0, 0.0]
    assert loss().items(pred, target) == 2
    assert loss()(pred, torch.full((3,), float("nan"))).item() == 0.0
