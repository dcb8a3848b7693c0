from typing import ClassVar

import pytest
from torch import nn

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing import InitMethodConformance


class TestConformance(InitMethodConformance):
    component = ("initmethod", "range_uniform")
    config: ClassVar = {"range_from": -0.2, "range_to": 0.4}


def test_weights_fill_the_range_and_do_not_leave_it():
    model = nn.ModuleList([nn.Linear(200, 50), nn.Embedding(200, 50), nn.Conv1d(20, 50, 3)])
    register.build(make("initmethod", "range_uniform", {"range_from": -0.2, "range_to": 0.4}))(
        model
    )
    for layer in model:
        assert -0.2 <= layer.weight.min().item() < -0.19
        assert 0.39 < layer.weight.max().item() <= 0.4


def test_a_range_that_runs_backwards_is_refused():
    with pytest.raises(ConfigError, match=r"range_to: expected a number >= range_from \(0.1\)"):
        make("initmethod", "range_uniform", {"range_from": 0.1, "range_to": -0.1})
