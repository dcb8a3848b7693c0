from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.context import Context
from dlk.errors import DlkError
from dlk.nn.loss.identity import IdentityLoss
from dlk.registry import register
from dlk.testing import LossConformance


def loss(**values: object) -> IdentityLoss:
    return register.build(make("loss", "identity", values))


class TestConformance(LossConformance):
    component = ("loss", "identity")
    config: ClassVar = {"loss": "crf_loss"}

    def batch(self):
        return {"crf_loss": torch.tensor([1.0, 2.0, 4.0, 5.0]), "_index": torch.arange(4)}


class TestConformanceOfAScalar(LossConformance):
    component = ("loss", "identity")
    is_mean_of_items = False  # the model's mean cannot be taken apart again

    def batch(self):
        return {"loss": torch.tensor(3.0), "_index": torch.arange(4)}


def test_a_scalar_is_taken_as_it_is_and_weighs_as_its_batch_has_rows():
    out = loss().compute({"loss": torch.tensor(2.5), "_index": torch.arange(3)}, Context())
    assert out.total.item() == 2.5
    assert out.weight == 3.0


def test_rows_are_counted_without_an_index_too():
    batch = {"loss": torch.tensor(2.5), "input_ids": torch.zeros(5, 2)}
    assert loss().compute(batch, Context()).weight == 5.0


def test_a_missing_loss_is_reported_with_what_there_is():
    with pytest.raises(DlkError, match=r'no loss called "los".*Did you mean "loss"'):
        loss(loss="los").compute({"loss": torch.tensor(1.0)}, Context())


def test_a_mean_over_tokens_weighs_as_many_as_it_is_of():
    """Batches of one and of three tokens: their mean is that of all four."""
    batches = [([2.0], 1.0), ([4.0, 8.0, 9.0], 3.0)]
    outs = [
        loss(weight="tokens").compute(
            {"loss": torch.tensor(values).mean(), "tokens": torch.tensor([count, 0.0])}, Context()
        )
        for values, count in batches
    ]
    total = sum(out.total * out.weight for out in outs) / sum(out.weight for out in outs)
    assert float(total) == (2.0 + 4.0 + 8.0 + 9.0) / 4


def test_sums_of_rows_are_averaged_over_the_items_of_all():
    batch = {"loss": torch.tensor([2.0, 21.0, 0.0]), "tokens": torch.tensor([1, 3, 0])}
    out = loss(weight="tokens").compute(batch, Context())
    assert float(out.total) == 23.0 / 4
    assert float(out.weight) == 4.0
    nothing = {"loss": torch.zeros(2), "tokens": torch.zeros(2)}
    assert float(loss(weight="tokens").compute(nothing, Context()).total) == 0.0


def test_a_missing_weight_is_reported_with_what_there_is():
    with pytest.raises(DlkError, match=r'nothing called "token".*Did you mean "tokens"'):
        loss(weight="token").compute({"loss": torch.ones(1), "tokens": torch.ones(1)}, Context())


def test_a_matrix_is_no_loss():
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        loss().compute({"loss": torch.zeros(2, 2)}, Context())


def test_a_loss_in_half_precision_is_averaged_in_single():
    out = {"loss": torch.full((300,), 1.01, dtype=torch.bfloat16)}
    total = register.build(make("loss", "identity")).compute(out, Context()).total
    assert total.dtype == torch.float32
    assert float(total) == float(out["loss"][0])
