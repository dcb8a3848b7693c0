from typing import ClassVar

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from torch.testing import assert_close

from dlk.config import make
from dlk.context import Context
from dlk.errors import ConfigError, DlkError
from dlk.nn.loss.bce import BCELoss
from dlk.registry import register
from dlk.testing import LossConformance

PAIR = {"pred_truth_pair": {"logits": "labels"}}
TARGET = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.25, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])


def loss(**changes: object) -> BCELoss:
    return register.build(make("loss", "bce", {**PAIR, **changes}))


class BCEConformance(LossConformance):
    component = ("loss", "bce")

    def batch(self):
        return {**super().batch(), "labels": TARGET}


class TestConformance(BCEConformance):
    config: ClassVar = PAIR


class TestConformanceWithIgnoredTargets(BCEConformance):
    config: ClassVar = {**PAIR, "pos_weight": [1.0, 2.0, 3.0], "ignore_index": 0.25}


@pytest.mark.parametrize("weight", [None, [2.0], [1.0, 2.0, 3.0]])
def test_it_is_torch_on_scores(weight):
    logits = torch.randn(4, 3, requires_grad=True)
    expected = binary_cross_entropy_with_logits(
        logits, TARGET, pos_weight=None if weight is None else torch.tensor(weight)
    )
    assert_close(loss(pos_weight=weight)(logits, TARGET), expected)


def test_the_sigmoid_is_taken_once():
    logits = torch.randn(4, 3)
    assert_close(loss()(logits, TARGET), binary_cross_entropy(logits.sigmoid(), TARGET))


def test_a_certain_and_right_score_costs_nothing():
    assert loss()(torch.tensor([200.0]), torch.tensor([1.0])).item() == 0.0


def test_integer_targets_count_as_numbers():
    logits, target = torch.randn(4, 3), TARGET.round().long()
    assert_close(loss()(logits, target), loss()(logits, target.float()))


def test_ignored_targets_count_nowhere():
    logits = torch.randn(2, 2, requires_grad=True)
    target = torch.tensor([[1.0, -100.0], [-100.0, 0.0]])
    out = loss().compute({"logits": logits, "labels": target}, Context())
    kept = target != -100
    assert_close(out.total, binary_cross_entropy_with_logits(logits[kept], target[kept]))
    assert float(out.weight) == 2.0
    out.total.backward()
    assert not logits.grad[~kept].any()


def test_where_all_targets_are_ignored_loss_and_gradient_are_zero():
    logits = torch.randn(2, requires_grad=True)
    total = loss()(logits, torch.full((2,), -100.0))
    total.backward()
    assert total.item() == 0.0
    assert not logits.grad.any()


def test_a_trailing_one_may_be_missing():
    logits, target = torch.randn(4, 1), torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert_close(
        loss()(logits, target), binary_cross_entropy_with_logits(logits.squeeze(1), target)
    )


def test_shapes_that_disagree_are_both_named():
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(4,\)"):
        loss()(torch.zeros(4, 3), torch.zeros(4))


def test_a_weight_for_each_label_is_needed():
    with pytest.raises(DlkError, match="one for each of 3 labels, got 2"):
        loss(pos_weight=[1.0, 1.0])(torch.zeros(4, 3), TARGET)
    with pytest.raises(ConfigError, match=r"pos_weight: expected numbers >= 0"):
        loss(pos_weight=[-1.0])


@pytest.mark.parametrize("wrong", [-0.5, 4.0])
def test_a_target_that_is_no_probability_is_refused(wrong):
    target = torch.tensor([0.0, wrong, 1.0])
    with pytest.raises(ValueError, match=r"bce needs targets in 0\.\.1, got"):
        loss()(torch.zeros(3), target)
    loss(ignore_index=-1)(torch.zeros(3), torch.tensor([0.0, -1.0, 1.0]))


def test_a_target_that_is_not_known_counts_nowhere():
    logits, target = torch.randn(3, requires_grad=True), torch.tensor([1.0, float("nan"), 0.0])
    found = loss()(logits, target)
    assert_close(found, binary_cross_entropy_with_logits(logits[[0, 2]], target[[0, 2]]))
    (grad,) = torch.autograd.grad(found, logits)
    assert grad[1].item() == 0.0
    assert loss().items(logits, target) == 2


def test_lists_of_label_ids_are_pointed_to_the_collate():
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(4, 2\): .*key_multi_hot"):
        loss()(torch.zeros(4, 3), torch.zeros(4, 2))
