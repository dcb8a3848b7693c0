from __future__ import annotations

import pytest

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register

MONITOR = "@trainer@lightning/@callback@lr_monitor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logging_interval", "step"),
        ("logging_interval", "epoch"),
        ("logging_interval", None),
        ("log_momentum", True),
        ("log_weight_decay", True),
    ],
)
def test_each_option_arrives(name, value):
    callback = register.build(make("callback", "lr_monitor", {name: value}))
    assert getattr(callback, name) == value


def test_another_interval_is_refused():
    with pytest.raises(ConfigError, match="logging_interval"):
        make("callback", "lr_monitor", {"logging_interval": "day"})


def test_the_rate_of_each_group_is_logged(toy):
    toy.edit({MONITOR: {}})
    toy.train()
    found = [line for line in toy.metrics() if "lr-AdamW/default" in line]
    assert found
    assert {"lr-AdamW/default/no_decay"} <= found[0].keys()
