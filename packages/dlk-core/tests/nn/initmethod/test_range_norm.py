import math
from typing import ClassVar

from torch import nn

from dlk.config import make
from dlk.registry import register
from dlk.testing import InitMethodConformance


class TestConformance(InitMethodConformance):
    component = ("initmethod", "range_norm")
    config: ClassVar = {"std": 0.3}


def test_weights_have_the_deviation_asked_for():
    model = nn.ModuleList([nn.Linear(200, 50), nn.Embedding(200, 50), nn.LSTM(50, 50)])
    register.build(make("initmethod", "range_norm", {"std": 0.3}))(model)
    for weight in (model[0].weight, model[1].weight, model[2].weight_hh_l0):
        assert math.isclose(weight.std().item(), 0.3, rel_tol=0.05)
        assert abs(weight.mean().item()) < 0.02
