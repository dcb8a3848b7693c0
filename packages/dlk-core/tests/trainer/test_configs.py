from __future__ import annotations

import inspect

import lightning.pytorch as pl
import pytest

from dlk.config import make
from dlk.config._intc import fields_of
from dlk.errors import ConfigError
from dlk.registry import register


def trainer(**values):
    return make("trainer", "lightning", values)


def test_every_option_is_one_of_lightning():
    own = {"extra", "matmul_precision"}  # and how to compile
    fields = set(fields_of(register.config("trainer", "lightning"))) - own
    fields = {name for name in fields if not name.startswith("compile")}
    assert fields <= set(inspect.signature(pl.Trainer.__init__).parameters)


@pytest.mark.parametrize(
    "name", ["limit_train_batches", "limit_val_batches", "limit_test_batches", "val_check_interval"]
)
def test_batches_and_shares_are_told_apart(name):
    for value in (1, 1.0, 0.5, 20):
        found = getattr(trainer(**{name: value}), name)
        assert (type(found), found) == (type(value), value)
    for value in (True, -1, -0.5, "3"):
        with pytest.raises(ConfigError, match=f"{name}.*expected an integer"):
            trainer(**{name: value})
    with pytest.raises(ConfigError, match=r"a float is a share.*write 20 for batches"):
        trainer(**{name: 20.0})


@pytest.mark.parametrize("value", [-1, True, "5"])
def test_a_limit_for_gradients_is_a_number(value):
    with pytest.raises(ConfigError, match="gradient_clip_val"):
        trainer(gradient_clip_val=value)
    assert trainer(gradient_clip_val=None).gradient_clip_val is None


@pytest.mark.parametrize("value", ["yes", 0.5])
def test_a_dry_run_is_a_switch_or_a_number(value):
    with pytest.raises(ConfigError, match="fast_dev_run"):
        trainer(fast_dev_run=value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", -2),
        ("accumulate_grad_batches", 0),
        ("log_every_n_steps", 0),
        ("gradient_clip_algorithm", "l2"),
        ("deterministic", "sometimes"),
        ("profiler", "mine"),
        ("max_epoch", 3),
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        trainer(**{name: value})


@pytest.mark.parametrize("wanted", [{"devices": 2}, {"devices": [0, 1]}, {"num_nodes": 3}])
def test_several_devices_are_refused_where_the_config_is_read(wanted):
    (name,) = wanted
    with pytest.raises(ConfigError, match=f"{name}: one .* trains a run so far, got"):
        trainer(**wanted)


@pytest.mark.parametrize("devices", [1, "auto", [1], -1])
def test_one_device_may_be_any(devices):
    found = trainer(devices=devices).devices
    assert (list(found) if isinstance(devices, list) else found) == devices
