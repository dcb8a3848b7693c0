from __future__ import annotations

import pytest
import torch

from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register

pytestmark = pytest.mark.once

STOP = "@trainer@lightning/@callback@early_stop"


@pytest.mark.parametrize(
    ("values", "attribute", "expected"),
    [
        ({"monitor": "val_f1"}, "monitor", "val_f1"),
        ({"monitor": "val_loss", "mode": "min"}, "mode", "min"),
        ({"patience": 0}, "patience", 0),
        ({"min_delta": 0.5}, "min_delta", 0.5),
        ({"strict": False}, "strict", False),
        ({"check_finite": False}, "check_finite", False),
        ({"stopping_threshold": 0.9}, "stopping_threshold", 0.9),
        ({"divergence_threshold": 0.1}, "divergence_threshold", 0.1),
        ({"verbose": True}, "verbose", True),
        ({"log_rank_zero_only": False}, "log_rank_zero_only", False),
        ({}, "_check_on_train_epoch_end", False),
        ({"check_on_train_epoch_end": True}, "_check_on_train_epoch_end", True),
        ({"monitor": "train_loss_epoch", "mode": "min"}, "_check_on_train_epoch_end", True),
    ],
)
def test_each_option_arrives(values, attribute, expected):
    callback = register.build(make("callback", "early_stop", {"monitor": "val_acc", **values}))
    assert getattr(callback, attribute) == expected


def test_a_loss_is_not_watched_for_its_largest_value():
    with pytest.raises(ConfigError, match="less of val_loss is better"):
        make("callback", "early_stop", {"monitor": "val_loss"})
    with pytest.raises(ConfigError, match="monitor"):
        make("callback", "early_stop", {})


def test_training_stops_when_the_metric_no_longer_improves(toy, monkeypatch):
    from toy_labels import ToyAccuracy

    scores = iter([0.3, 0.5, 0.4, 0.5, *[0.9] * 20])
    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": next(scores)})
    toy.edit({STOP: {"monitor": "val_acc", "patience": 2}})
    done = toy.train("trainer.max_epochs=10", "trainer.num_sanity_val_steps=0")
    assert [n["step"] for n in toy.metrics() if "val_acc" in n] == [12, 24, 36, 48]
    assert done.weights.startswith("best val_acc: step 24")


def test_the_training_loss_can_be_watched_with_and_without_validation(toy):
    toy.edit({STOP: {"monitor": "train_loss_epoch", "mode": "min", "stopping_threshold": 100.0}})
    done = toy.train("trainer.max_epochs=10")
    assert done.weights.startswith("best val_acc: step 12")
    toy.drop("valid", "test")
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    assert toy.train("trainer.max_epochs=10").weights == "last: step 12"


def test_a_metric_that_is_no_number_stops(toy, monkeypatch):
    from toy_labels import ToyAccuracy

    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": float(torch.nan)})
    toy.edit({STOP: {"monitor": "val_acc"}, "@trainer@lightning/@callback@checkpoint": None})
    assert toy.train("trainer.max_epochs=10").weights == "last: step 12"
