from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dlk.checkpoint import read_checkpoint
from dlk.config import make
from dlk.errors import ConfigError
from dlk.registry import register

pytestmark = pytest.mark.once

KEPT = "@trainer@lightning/@callback@checkpoint"


def build(tmp_path, **values):
    return register.build(make("callback", "checkpoint", values), run_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("values", "attribute", "expected"),
    [
        ({"monitor": "val_acc"}, "monitor", "val_acc"),
        ({"monitor": "val_loss", "mode": "min"}, "mode", "min"),
        ({"save_top_k": -1}, "save_top_k", -1),
        ({"save_top_k": 3, "monitor": "val_acc"}, "save_top_k", 3),
        ({"save_last": False}, "save_last", False),
        ({"filename": "{step}"}, "filename", "{step}"),
        ({"save_weights_only": True}, "save_weights_only", True),
        ({"auto_insert_metric_name": False}, "auto_insert_metric_name", False),
        ({"every_n_train_steps": 5}, "_every_n_train_steps", 5),
        ({"every_n_epochs": 2}, "_every_n_epochs", 2),
        ({"train_time_interval": 90.0}, "_train_time_interval", timedelta(seconds=90)),
        ({"save_on_train_epoch_end": True}, "_save_on_train_epoch_end", True),
        ({}, "_save_on_train_epoch_end", None),
        ({"monitor": "train_loss_epoch", "mode": "min"}, "_save_on_train_epoch_end", True),
        ({"enable_version_counter": True}, "_enable_version_counter", True),
        ({"verbose": True}, "verbose", True),
    ],
)
def test_each_option_arrives(tmp_path, values, attribute, expected):
    callback = build(tmp_path, **values)
    assert getattr(callback, attribute) == expected
    assert callback.dirpath == str(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"every_n_train_steps": 1, "every_n_epochs": 1}, "exclude each other"),
        ({"train_time_interval": 60.0, "every_n_epochs": 1}, "exclude each other"),
        ({"save_top_k": 2}, "needs a monitor"),
        ({"monitor": "val_loss"}, 'less of val_loss is better: expected "min"'),
        ({"save_top_k": -2}, "save_top_k"),
        ({"mode": "best"}, "mode"),
    ],
)
def test_options_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        make("callback", "checkpoint", values)


def files(done):
    return {p.name for p in Path(done.dir, "checkpoint").iterdir()}


def test_all_checkpoints_can_be_kept(toy):
    toy.edit({KEPT: {"save_top_k": -1, "filename": "{epoch}"}})
    assert files(toy.train()) == {"epoch=0.ckpt", "epoch=1.ckpt", "last.ckpt"}


def test_the_last_can_be_left_out(toy):
    toy.edit({KEPT: {"save_last": False}})
    assert files(toy.train()) == {"epoch=1-step=24.ckpt"}


def test_only_the_last_can_be_kept(toy):
    toy.edit({KEPT: {"save_top_k": 0}})
    done = toy.train()
    assert files(done) == {"last.ckpt"}
    assert done.weights == "last: step 24"


@pytest.mark.parametrize("interval", [None, 6])
def test_last_is_the_newest_state_even_when_it_is_no_better(toy, monkeypatch, interval):
    """Of validations after epochs, and of several in an epoch."""
    from toy_labels import ToyAccuracy

    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": 0.5})
    more = [] if interval is None else [f"trainer.val_check_interval={interval}"]
    done = toy.train("trainer.max_epochs=3", *more)
    folder = Path(done.dir, "checkpoint")
    assert read_checkpoint(str(folder / "last.ckpt"))["global_step"] == 36
    assert done.weights.startswith(f"best val_acc: step {interval or 12}")


def test_checkpoints_can_be_kept_each_few_steps(toy):
    toy.edit({KEPT: {"every_n_train_steps": 7, "save_top_k": -1, "filename": "{step}"}})
    found = {"step=7.ckpt", "step=14.ckpt", "step=21.ckpt", "last.ckpt"}
    assert files(toy.train()) == found


def test_checkpoints_can_be_kept_each_few_epochs(toy):
    toy.edit({KEPT: {"every_n_epochs": 2, "save_top_k": -1, "filename": "{step}"}})
    done = toy.train("trainer.max_epochs=5")
    assert files(done) == {"step=24.ckpt", "step=48.ckpt", "last.ckpt"}
    last = read_checkpoint(str(Path(done.dir, "checkpoint", "last.ckpt")))
    assert last["global_step"] == 48
