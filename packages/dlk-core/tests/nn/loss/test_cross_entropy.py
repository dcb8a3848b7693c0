from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from dlk.config import make
from dlk.context import Context
from dlk.errors import ConfigError, DlkError
from dlk.nn.loss.cross_entropy import CrossEntropyLoss
from dlk.registry import register
from dlk.testing import LossConformance

PAIR = {"pred_truth_pair": {"logits": "label_ids"}}


def loss(**changes: object) -> CrossEntropyLoss:
    return register.build(make("loss", "cross_entropy", {**PAIR, **changes}))


class TestConformance(LossConformance):
    component = ("loss", "cross_entropy")
    config: ClassVar = PAIR


class TestConformanceWeighted(LossConformance):
    component = ("loss", "cross_entropy")
    config: ClassVar = {
        **PAIR,
        "weight": [1.0, 2.0, 0.5],
        "label_smoothing": 0.1,
        "ignore_index": 1,
    }


@settings(deadline=None)
@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 6),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    weighted=st.booleans(),
    shape=st.sampled_from([(), (3,), (2, 2)]),
)
def test_it_is_torch_cross_entropy_for_any_leading_shape(seed, rows, smoothing, weighted, shape):
    drawn = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, *shape, 4, generator=drawn, requires_grad=True)
    target = torch.randint(0, 4, (rows, *shape), generator=drawn)
    target[0] = 2  # so that something is kept
    target[target == 3] = -100
    weight = [1.0, 0.5, 2.0, 3.0] if weighted else None
    made = loss(label_smoothing=smoothing, weight=weight)
    expected = functional.cross_entropy(
        logits.reshape(-1, 4),
        target.reshape(-1),
        weight=None if weight is None else torch.tensor(weight),
        label_smoothing=smoothing,
    )
    assert_close(made(logits, target), expected)
    (grad,) = torch.autograd.grad(expected, logits)
    (own,) = torch.autograd.grad(made(logits, target), logits)
    assert_close(own, grad)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_where_all_targets_are_ignored_loss_and_gradient_are_zero(weight):
    logits = torch.randn(2, 3, requires_grad=True)
    out = loss(weight=weight).compute(
        {"logits": logits, "label_ids": torch.tensor([-100, -100])}, Context()
    )
    out.total.backward()
    assert out.total.item() == 0.0
    assert not logits.grad.any()
    assert float(out.weight) == 0.0


def test_classes_of_weight_zero_alone_give_zero():
    logits = torch.randn(2, 3)
    assert loss(weight=[0.0, 1.0, 1.0])(logits, torch.tensor([0, 0])).item() == 0.0


def test_the_weight_counts_kept_targets():
    out = {"logits": torch.randn(2, 3, 4), "label_ids": torch.tensor([[1, -100, 2], [0, 0, -100]])}
    assert float(loss().compute(out, Context()).weight) == 4.0


def test_half_precision_scores_are_summed_in_single():
    logits = torch.randn(1000, 5).bfloat16()
    target = torch.zeros(1000, dtype=torch.long)
    assert_close(loss()(logits, target), functional.cross_entropy(logits.float(), target))


def test_class_weights_follow_double_precision():
    logits, target = torch.randn(2, 3).double(), torch.tensor([0, 1])
    weight = torch.tensor([1.0, 2.0, 3.0]).double()
    expected = functional.cross_entropy(logits, target, weight)
    assert_close(loss(weight=[1.0, 2.0, 3.0])(logits, target), expected)


def test_class_weights_are_no_part_of_a_checkpoint():
    assert loss(weight=[1.0, 2.0]).state_dict() == {}


def test_shapes_that_disagree_are_both_named():
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(5,\)"):
        loss()(torch.zeros(4, 3), torch.zeros(5, dtype=torch.long))


def test_a_weight_for_each_class_is_needed():
    with pytest.raises(DlkError, match="each of 3 classes, got 2"):
        loss(weight=[1.0, 1.0])(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("weight", [[], [-1.0, 1.0], ["a"]])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(ConfigError, match=r"weight: expected numbers >= 0"):
        loss(weight=weight)


@pytest.mark.parametrize("labels", [1, 2])
def test_rows_with_lists_of_labels_are_pointed_to_multi_label(labels):
    with pytest.raises(ValueError, match=r'list of targets.*"bce".*key_multi_hot.*multi_label'):
        loss()(torch.zeros(3, 4), torch.zeros(3, labels, dtype=torch.long))
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(2,\)$"):
        loss()(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long))
