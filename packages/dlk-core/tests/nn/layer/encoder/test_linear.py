from typing import ClassVar

import torch

from dlk.config import make
from dlk.registry import register
from dlk.testing import EncoderConformance


class TestConformance(EncoderConformance):
    component = ("encoder", "linear")
    config: ClassVar = {"input_size": 5, "output_size": 3, "dropout": 0.2}


class TestConformanceRenamed(EncoderConformance):
    component = ("encoder", "linear")
    config: ClassVar = {
        "input_size": 5,
        "output_size": 3,
        "bias": False,
        "input_map": {"embedding": "words"},
        "output_map": {"embedding": "states"},
    }


def test_it_maps_each_vector():
    layer = register.build(make("encoder", "linear", {"input_size": 2, "output_size": 3}))
    vectors = torch.randn(2, 4, 2)
    expected = vectors @ layer.linear.weight.T + layer.linear.bias
    torch.testing.assert_close(layer({"embedding": vectors})["embedding"], expected)


def test_without_bias_zero_stays_zero():
    values = {"input_size": 2, "output_size": 3, "bias": False}
    layer = register.build(make("encoder", "linear", values))
    assert not layer({"embedding": torch.zeros(1, 1, 2)})["embedding"].any()
