from typing import ClassVar

import pytest
import torch
from torch.testing import assert_close

from dlk.config import make
from dlk.context import Context
from dlk.errors import ConfigError
from dlk.nn.loss.multi_loss import MultiLoss
from dlk.registry import register
from dlk.testing import LossConformance

CLASSES = {"pred_truth_pair": {"logits": "label_ids"}}
VALUES = {"pred_truth_pair": {"scores": "values"}}
OUT = {
    "logits": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
    "label_ids": torch.tensor([0, 2, 1, 1]),
    "scores": torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "values": torch.tensor([1.0, 1.0, 1.0, 1.0]),
}


def loss(**values: object) -> MultiLoss:
    return register.build(make("loss", "multi_loss", values))


class TestConformance(LossConformance):
    component = ("loss", "multi_loss")
    config: ClassVar = {"@loss@cross_entropy": CLASSES, "@loss@mse#squares": VALUES}

    def batch(self):
        return OUT


def test_the_total_is_the_sum_and_terms_carry_their_alias():
    made = loss(**{"@loss@cross_entropy#labels": CLASSES, "@loss@mse": VALUES})
    out = made.compute(OUT, Context())
    assert set(out.terms) == {"loss", "labels/loss", "mse/loss"}
    assert out.terms["mse/loss"].item() == 3.5
    assert_close(out.total, out.terms["labels/loss"] + out.terms["mse/loss"])
    assert_close(out.total, out.terms["loss"])
    assert float(out.weight) == 4.0


def test_the_same_loss_twice_is_told_apart_by_alias():
    made = loss(**{"@loss@mse#a": VALUES, "@loss@mse#b": {**VALUES, "log_map": {"loss": "a"}}})
    assert set(made.compute(OUT, Context()).terms) == {"loss", "a/loss", "b/a"}


def test_losses_nest():
    inner = {"@loss@mse": VALUES, "scale": [2.0]}
    made = loss(**{"@loss@multi_loss#inner": inner, "@loss@mse#outer": VALUES, "scale": [10.0]})
    out = made.compute(OUT, Context(training=True))
    assert set(out.terms) == {"loss", "outer/loss", "inner/loss", "inner/mse/loss"}
    assert out.total.item() == 10 * (2 * 3.5 + 3.5)
    assert out.terms["loss"].item() == 7.0


def test_each_child_keeps_its_own_schedule():
    staged = {**VALUES, "schedule": [0.5, 1.0], "scale": [0.0, 1.0]}
    made = loss(**{"@loss@mse#late": staged, "@loss@mse#always": VALUES})
    at = [made.compute(OUT, Context(training=True, step=s, total_steps=10)).total for s in (0, 5)]
    assert [total.item() for total in at] == [3.5, 7.0]


def test_the_signature_is_that_of_all_children():
    signature = make(
        "loss", "multi_loss", {"@loss@cross_entropy": CLASSES, "@loss@mse": VALUES}
    ).signature()
    assert set(signature.reads) == {"logits", "scores"}
    assert set(signature.targets) == {"label_ids", "values"}


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"needs.*@loss@…"):
        loss()
