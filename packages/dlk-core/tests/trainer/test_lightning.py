"""The Lightning trainer: what it is given, what it says, and what it is asked for."""

from __future__ import annotations

import functools
import sys

import lightning.pytorch as pl
import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError
from dlk.registry import register


@pytest.fixture
def build(tmp_path):
    """Build a trainer from option values."""

    def make_trainer(**values):
        config = make("trainer", "lightning", {"accelerator": "cpu", **values})
        return register.build(config, Setup.empty(), run_dir=str(tmp_path))

    return make_trainer


@pytest.fixture
def given(build, monkeypatch):
    """What lightning.Trainer is called with."""

    def call(**values):
        seen = {}
        real = pl.Trainer

        class Spy(real):
            @functools.wraps(real.__init__)
            def __init__(self, **options):
                seen.update(options)
                super().__init__(**options)

        monkeypatch.setattr(pl, "Trainer", Spy)
        build(**values)
        return seen

    return call


OPTIONS = {
    "devices": 1,
    "max_epochs": 7,
    "min_epochs": 2,
    "max_steps": 70,
    "min_steps": 3,
    "max_time": "00:01:00:00",
    "limit_train_batches": 5,
    "limit_val_batches": 0.5,
    "limit_test_batches": 1,
    "overfit_batches": 2,
    "val_check_interval": 3,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 11,
    "accumulate_grad_batches": 4,
    "gradient_clip_val": 0.5,
    "gradient_clip_algorithm": "value",
    "deterministic": False,
    "benchmark": False,
    "detect_anomaly": True,
    "inference_mode": False,
    "precision": "bf16-mixed",
    "profiler": "simple",
    "reload_dataloaders_every_n_epochs": 2,
    "strategy": "auto",
    "num_nodes": 1,
    "sync_batchnorm": True,
    "fast_dev_run": False,
}


def test_options_are_passed_on_as_they_are(given):
    seen = given(**OPTIONS)
    for name, value in OPTIONS.items():
        assert (name, type(seen[name]), seen[name]) == (name, type(value), value)


def test_options_that_are_not_listed_pass_through_extra(given):
    assert given(extra={"barebones": False})["barebones"] is False


def test_a_wrong_extra_option_names_the_nearest(build):
    with pytest.raises(ConfigError, match=r"extra\.bare_bones: is no option.*\"barebones\""):
        build(extra={"bare_bones": True})


@pytest.mark.parametrize("name", ["max_epochs", "enable_progress_bar", "enable_model_summary"])
def test_an_option_that_is_listed_does_not_belong_into_extra(build, name):
    with pytest.raises(ConfigError, match=f"extra.{name}: is an option of its own"):
        build(extra={name: 1})


@pytest.mark.parametrize("name", ["logger", "callbacks", "default_root_dir", "plugins"])
def test_what_dlk_sets_is_not_overridden(build, name):
    with pytest.raises(ConfigError, match=f"extra.{name}: is set by dlk"):
        build(extra={name: 1})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("precision", "nonsense", "Precision 'nonsense' is invalid"),
        ("accelerator", "nonsense", "accelerator='nonsense'"),
        ("strategy", "nonsense", "strategy='nonsense'"),
        ("max_time", "nonsense", "expected a string in the format DD:HH:MM:SS"),
        ("extra", {"barebones": True}, "barebones=True, enable_checkpointing=True"),
    ],
)
def test_a_value_that_lightning_refuses_is_a_mistake_of_the_config(build, name, value, reason):
    with pytest.raises(ConfigError) as caught:
        build(**{name: value}, **{"@callback@checkpoint": {}})
    (problem,) = caught.value.problems
    assert problem.path == "trainer"
    assert reason.lower() in problem.message.lower()


def test_several_devices_are_refused_before_any_process_is_started(build):
    with pytest.raises(ConfigError, match=r"trainer\.devices: one device trains a run so far"):
        build(accelerator="cpu", devices="2")  # a number only to lightning


def test_an_option_that_does_not_fit_the_data_is_a_mistake_of_the_config(toy):
    with pytest.raises(ConfigError, match=r"trainer: `val_check_interval` .*less than or equal"):
        toy.train("trainer.val_check_interval=1000")


def test_an_error_of_a_component_stays_what_it_is(toy, monkeypatch):
    from toy_labels import ToyLabels

    def fail(self, out, rows):
        raise ValueError("from the component")

    monkeypatch.setattr(ToyLabels, "decode", fail)
    with pytest.raises(ValueError, match="from the component"):
        toy.train()


def bars(seen):
    return [c for c in seen["callbacks"] if isinstance(c, pl.callbacks.ProgressBar)]


def test_a_bar_is_shown_on_a_terminal_only(given, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    seen = given()
    assert seen["enable_progress_bar"] is True
    assert seen["enable_model_summary"] is True
    assert len(bars(seen)) == 1
    assert bars(given(enable_progress_bar=False)) == []
    assert given(enable_model_summary=False)["enable_model_summary"] is False
    chosen = given(**{"@callback@progress_bar": {"type_bar": "rich"}})
    assert [type(bar).__mro__[1] for bar in bars(chosen)] == [pl.callbacks.RichProgressBar]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    seen = given(**{"@callback@progress_bar": {}})
    assert seen["enable_progress_bar"] is False
    assert seen["enable_model_summary"] is False
    assert bars(seen) == []


def test_checkpoints_are_off_unless_a_callback_keeps_them(given):
    assert given()["enable_checkpointing"] is False
    assert given(**{"@callback@checkpoint": {}})["enable_checkpointing"] is True


def test_the_monitored_checkpoint_decides_which_is_best(build):
    trainer = build(
        **{"@callback@checkpoint#newest": {}, "@callback@checkpoint#best": {"monitor": "val_acc"}}
    )
    assert trainer.checkpoint is trainer.callbacks["best"]
    assert build(**{"@callback@checkpoint": {}}).checkpoint.monitor is None
    assert build().checkpoint is None


def test_all_wrong_monitors_are_named_at_once(build):
    trainer = build(
        **{
            "@callback@checkpoint": {"monitor": "val_f1"},
            "@callback@early_stop": {"monitor": "train_acc"},
        }
    )
    with pytest.raises(ConfigError) as caught:
        trainer.check_monitors(["loss", "f1_macro"], has_validation_data=True)
    first, second = caught.value.problems
    assert first.path == "callback@checkpoint.monitor"
    assert 'nothing computes "val_f1". Did you mean "val_f1_macro"' in first.message
    assert second.path == "callback@early_stop.monitor"


def test_monitors_that_are_computed_pass(build):
    trainer = build(
        **{
            "@callback@checkpoint": {"monitor": "val_f1"},
            "@callback@early_stop": {"monitor": "train_loss_epoch", "mode": "min"},
        }
    )
    trainer.check_monitors(["f1"], has_validation_data=True)


def test_callbacks_get_the_setup_they_name(tmp_path):
    from dlk.config import Base, cregister

    @cregister("callback", "wants_setup")
    class WantsSetupConfig(Base):
        """Names the setup."""

    @register("callback", "wants_setup")
    class WantsSetup(pl.Callback):
        def __init__(self, config, setup, run_dir):
            self.seen = (setup.seed, run_dir)

    config = make("trainer", "lightning", {"@callback@wants_setup": {}})
    setup = Setup(meta=Setup.empty().meta, seed=7)
    trainer = register.build(config, setup, run_dir=str(tmp_path))
    assert trainer.callbacks["wants_setup"].seen == (7, str(tmp_path))


def test_a_dry_run_saves_no_checkpoint_and_works(toy):
    done = toy.train("trainer.fast_dev_run=true")
    assert done.state == "done"
    assert done.weights == "last: step 1"


def test_validation_can_be_limited_and_switched_off(toy):
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    done = toy.train("trainer.limit_val_batches=0", "trainer.limit_test_batches=0")
    assert done.metrics == {}
    assert not [line for line in toy.metrics() if "val_acc" in line]


def test_a_test_that_is_switched_off_does_not_stand_in_for_another(toy, monkeypatch):
    from toy_labels import ToyAccuracy

    scores = iter([0.9, 0.1])
    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": next(scores)})
    done = toy.train("trainer.limit_test_batches=0", "trainer.num_sanity_val_steps=0")
    assert done.weights.startswith("best val_acc: step 12")
    assert done.metrics["val_acc"] == 0.9


def test_batches_of_training_can_be_limited(toy):
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    assert toy.train("trainer.limit_train_batches=5").weights == "last: step 10"
    assert toy.train("trainer.limit_train_batches=0.5").weights == "last: step 12"
    assert toy.train("trainer.limit_train_batches=1").weights == "last: step 2"


def test_validation_can_come_several_times_an_epoch(toy):
    toy.train("trainer.val_check_interval=0.5")
    steps = [line["step"] for line in toy.metrics() if "val_acc" in line]
    assert steps == [6, 12, 18, 24]


def test_validation_can_come_each_few_epochs(toy):
    toy.train("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4")
    steps = [line["step"] for line in toy.metrics() if "val_acc" in line]
    assert steps == [24, 48]
