from typing import ClassVar

import pytest
import torch
from torch.testing import assert_close

from dlk.config import make
from dlk.errors import ConfigError
from dlk.nn.layer.decoder.regression import RegressionDecoder
from dlk.registry import register
from dlk.testing import DecoderConformance

VECTORS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, False], [True, False, False]])
BATCH = {"embedding": VECTORS, "embedding_mask": MASK}
BOUNDED = {"low": -4.0, "high": 4.0}


def decoder(**changes: object) -> RegressionDecoder:
    return register.build(make("decoder", "regression", {"input_size": 4, **changes}))


class RegressionConformance(DecoderConformance):
    component = ("decoder", "regression")


class TestConformance(RegressionConformance):
    config: ClassVar = {"input_size": 4, "mean": 2.0, "std": 3.0, "dropout": 0.2}


class TestConformanceSigmoid(RegressionConformance):
    config: ClassVar = {"input_size": 4, "link": "sigmoid", "pool": "first", **BOUNDED}


class TestConformanceTanh(RegressionConformance):
    config: ClassVar = {"input_size": 4, "link": "tanh", "pool": "max", **BOUNDED}


def raw(layer: RegressionDecoder) -> torch.Tensor:
    pooled = torch.stack([VECTORS[0, :2].mean(0), VECTORS[1, 0]])
    return layer.linear(pooled).squeeze(-1)


def test_the_number_is_in_the_label_s_unit():
    layer = decoder(mean=10.0, std=2.0)
    assert_close(layer(BATCH)["logits"], 10.0 + 2.0 * raw(layer))
    layer = decoder(link="sigmoid", low=1.0, high=5.0)
    assert_close(layer(BATCH)["logits"], 1.0 + 4.0 * raw(layer).sigmoid())
    layer = decoder(link="tanh", **BOUNDED)
    assert_close(layer(BATCH)["logits"], 4.0 * raw(layer).tanh())


@pytest.mark.parametrize("link", ["sigmoid", "tanh"])
def test_bounded_links_stay_in_their_range(link):
    layer = decoder(link=link, **BOUNDED)
    out = layer({**BATCH, "embedding": VECTORS * 1e4})["logits"]
    assert bool(((out >= -4.0) & (out <= 4.0)).all())


@pytest.mark.parametrize("link", ["identity", "sigmoid", "tanh"])
def test_mse_s_optimum_is_the_label_itself(link):
    """Training and prediction share the link: fitted to the end, no error is left."""
    torch.manual_seed(0)
    layer = decoder(link=link, **({} if link == "identity" else BOUNDED))
    target = torch.tensor([3.2, -1.7])
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(BATCH)["logits"], target).backward()
        optimizer.step()
    assert_close(layer(BATCH)["logits"], target, atol=1e-2, rtol=0.0)


def test_dropout_acts_in_training_alone():
    layer = decoder(dropout=0.5)
    assert torch.equal(layer.eval()(BATCH)["logits"], layer.eval()(BATCH)["logits"])
    torch.manual_seed(1)
    assert not torch.equal(layer.train()(BATCH)["logits"], layer.train()(BATCH)["logits"])


def test_half_precision_gives_float32():
    layer = decoder(link="sigmoid", **BOUNDED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(BATCH)["logits"].dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"link": "sigmoid", "low": 2.0, "high": 2.0}, r"expected low < high, got 2\.0 and 2\.0"),
        ({"low": -4.0}, 'has no effect: the link "identity" reads mean and std'),
        ({"link": "tanh", **BOUNDED, "std": 2.0}, 'the link "tanh" reads low and high'),
        ({"std": 0.0}, "std"),
    ],
)
def test_options_that_do_not_fit_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        decoder(**values)
