"""One run: what it leaves, which weights it keeps, and how it fails."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dlk.bundle import Bundle
from dlk.checkpoint import read_checkpoint, read_weights
from dlk.errors import ConfigError, DataError, DlkError, RunError, StateWarning
from dlk.server import Server
from dlk.train import Train

pytestmark = pytest.mark.once

CHECKPOINT = "@trainer@lightning/@callback@checkpoint"


def weights_of(result):
    return load_file(os.path.join(result.bundle, "model.safetensors"))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# The run's folder ---------------------------------------------------------------------------------


def test_the_folder_tells_what_was_run(trained):
    config = json.loads((trained.dir / "config.json").read_text())
    decoder = config["@fit"]["@imodel@default"]["@model@basic"]["@decoder@linear"]
    assert decoder["output_size"] == 3  # computed from the data
    assert config["@fit"]["@trainer@lightning"]["gradient_clip_val"] == 5.0  # a default
    source = trained.dir / "source"
    assert (source / "fit.jsonc").read_bytes() == trained.toy.fit_config.read_bytes()
    assert json.loads((source / "process.json").read_text())["@processor@default"]
    environment = json.loads((trained.dir / "environment.json").read_text())
    assert environment["seed"] == 1
    assert {"dlk-core", "torch", "lightning"} <= environment["versions"].keys()
    result = json.loads((trained.dir / "result.json").read_text())
    assert result["state"] == "done"
    assert result["metrics"] == trained.result.metrics
    assert result["bundle"] == str(trained.bundle)


def test_overrides_stand_beside_the_source(toy):
    toy.train("trainer.max_steps=1")
    written = json.loads((toy.logs / "0" / "source" / "overrides.json").read_text())
    assert written == ["trainer.max_steps=1"]


def test_a_config_given_as_a_dict_is_kept_too(toy, monkeypatch):
    monkeypatch.chdir(toy.folder)
    config = json.loads(toy.fit_config.read_text())
    (done,) = Train(config, overrides={"trainer.max_steps": 1}).run().runs
    assert json.loads(Path(done.dir, "source", "fit.json").read_text()) == config


def test_metrics_are_lines_of_json_with_one_count_of_steps(trained):
    lines = trained.toy.metrics()
    steps = [line["step"] for line in lines if "train_loss" in line]
    assert steps == [4, 8, 12, 16, 20, 24]
    assert all({"lr", "epoch", "time"} <= line.keys() for line in lines if "train_loss" in line)
    validated = [(line["step"], line["epoch"]) for line in lines if "val_acc" in line]
    assert validated == [(12, 0.0), (24, 1.0)]
    assert [line["step"] for line in lines if "train_loss_epoch" in line] == [12, 24]
    last = [line for line in lines if "val_acc" in line][-1]
    assert last["val_acc"] == trained.result.metrics["val_acc"]  # not rounded on the way


def test_tensorboard_shows_scalars_and_hyper_parameters(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars, plugins = {}, set()
    for file in sorted((trained.dir / "metrics").glob("events*")):
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            scalars.setdefault(tag, []).extend(events.Scalars(tag))
        plugins |= set(events.PluginTagToContent("hparams")) if _has_hparams(events) else set()
    assert {"train_loss", "val_acc", "val_loss", "test_acc", "lr", "final/test_acc"} <= set(scalars)
    assert [event.step for event in scalars["val_acc"]] == [12, 24]
    assert scalars["final/test_acc"][-1].value == pytest.approx(trained.result.metrics["test_acc"])
    assert any("session_start_info" in tag for tag in plugins)


def _has_hparams(events):
    try:
        events.PluginTagToContent("hparams")
    except KeyError:
        return False
    return True


# Which weights are kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("max", 12), ("min", 12)])
def test_the_bundle_holds_the_best_weights_not_the_last(toy, monkeypatch, mode, expected):
    """Accuracy gets worse after the first epoch for `max`, and for `min` larger."""
    from toy_labels import ToyAccuracy

    scores = iter([0.9, 0.1, 0.5] if mode == "max" else [0.1, 0.9, 0.5])
    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": next(scores)})
    toy.edit({f"{CHECKPOINT}/mode": mode, "@trainer@lightning/num_sanity_val_steps": 0})
    toy.drop("test")
    done = toy.train()
    assert done.weights.startswith(f"best val_acc: step {expected}, checkpoint/")
    (best,) = (p for p in Path(done.dir, "checkpoint").iterdir() if p.name != "last.ckpt")
    assert same(weights_of(done), read_weights(str(best)))
    assert not same(weights_of(done), read_weights(str(best.with_name("last.ckpt"))))
    assert done.metrics["val_acc"] == (0.9 if mode == "max" else 0.1)


def test_the_metrics_are_those_of_the_kept_weights(toy):
    toy.edit({CHECKPOINT: {"monitor": "val_loss", "mode": "min"}})
    done = toy.train("trainer.max_epochs=4", "imodel.optimizer.lr=1.0")
    step = int(done.weights.split("step ")[1].split(",")[0])
    (line,) = (n for n in toy.metrics() if n["step"] == step and "val_loss" in n)
    assert done.metrics["val_loss"] == line["val_loss"]
    assert done.metrics["val_loss"] == min(n["val_loss"] for n in toy.metrics() if "val_loss" in n)


def test_the_step_that_max_steps_ends_with_is_validated_and_kept(toy):
    done = toy.train("trainer.max_steps=17", "trainer.callback.save_top_k=-1")
    assert [n["step"] for n in toy.metrics() if "val_acc" in n] == [12, 17]
    kept = {p.name for p in Path(done.dir, "checkpoint").iterdir()}
    assert kept == {"epoch=0-step=12.ckpt", "epoch=1-step=17.ckpt", "last.ckpt"}


def test_without_checkpoints_the_last_weights_are_kept(toy):
    toy.edit({CHECKPOINT: None})
    done = toy.train()
    assert done.weights == "last: step 24"
    assert not Path(done.dir, "checkpoint").exists()
    assert done.bundle


def test_weights_that_validation_never_saw_are_validated_in_the_end(toy):
    toy.edit({CHECKPOINT: {"every_n_train_steps": 5}})
    done = toy.train("trainer.max_steps=13")
    assert done.weights.startswith("newest checkpoint: step 10")
    assert {"val_acc", "val_loss", "test_acc"} <= done.metrics.keys()


def test_several_checkpoint_callbacks_keep_their_own_files(toy):
    toy.edit(
        {
            CHECKPOINT: None,
            f"{CHECKPOINT}#by_acc": {"monitor": "val_acc"},
            f"{CHECKPOINT}#by_loss": {"monitor": "val_loss", "mode": "min"},
        }
    )
    done = toy.train()
    kept = {p.parent.name for p in Path(done.dir, "checkpoint").rglob("*.ckpt")}
    assert kept == {"by_acc", "by_loss"}
    assert done.weights.startswith("best val_acc")


def test_checkpoints_can_leave_out_what_resuming_needs(toy):
    toy.edit({f"{CHECKPOINT}/save_weights_only": True})
    done = toy.train()
    saved = read_checkpoint(str(Path(done.dir, "checkpoint", "last.ckpt")))
    assert "optimizer_states" not in saved
    assert done.bundle


def test_checkpoints_hold_what_resuming_needs_and_no_code(trained):
    saved = torch.load(trained.checkpoint, weights_only=True)
    assert {"optimizer_states", "lr_schedulers", "state_dict"} <= saved.keys()


# What data there may be ---------------------------------------------------------------------------


def test_training_needs_no_validation_and_no_test_data(toy):
    toy.drop("valid", "test")
    toy.edit({CHECKPOINT: {"monitor": "train_loss_epoch", "mode": "min"}})
    done = toy.train()
    assert done.metrics == {}
    assert done.weights.startswith("best train_loss_epoch")
    assert done.bundle


def test_test_data_alone_needs_a_checkpoint(toy, trained):
    toy.drop("train", "valid")
    toy.edit({CHECKPOINT: None})
    with pytest.raises(RunError, match="there is no training data: give the checkpoint"):
        toy.train()
    done = toy.train(checkpoint=trained.checkpoint, overwrite=True)
    last = Server(trained.toy.process_config, trained.toy.fit_config, trained.checkpoint)
    answers = last.fit([{"sentence": row["sentence"]} for row in toy.rows("test")])
    right = [a["label"] == row["label"] for a, row in zip(answers, toy.rows("test"), strict=True)]
    assert done.metrics["test_acc"] == sum(right) / len(right)
    assert done.weights == f"those of {trained.checkpoint}"


def test_validation_data_alone_is_evaluated(toy, trained):
    toy.drop("train", "test")
    toy.edit({CHECKPOINT: None})
    done = toy.train(checkpoint=str(trained.bundle / "model.safetensors"))
    assert done.metrics == pytest.approx(
        {k: v for k, v in trained.result.metrics.items() if k.startswith("val_")}
    )


def test_data_that_was_not_processed_is_named(raw_toy):
    with pytest.raises(DataError, match="process the training data first"):
        Train(raw_toy.fit_config)


def test_no_split_at_all_is_an_error(toy):
    toy.drop("train", "valid", "test")
    with pytest.raises(DlkError, match="dlk process"):
        toy.train()


def test_an_empty_training_split_is_an_error(toy):
    from dlk.preprocess import Process

    toy.drop("train")
    Process(toy.process_config).run({"test": toy.rows("test")})
    from dlk.data.store import SplitWriter

    SplitWriter(toy.processed / "train").close()
    with pytest.raises(RunError, match="has no rows"):
        toy.train()


def test_data_that_makes_no_batch_is_an_error(toy):
    with pytest.raises(RunError, match="no training step was made"):
        toy.train("datamodule.train_batch_size=500", "datamodule.drop_last=true")


# Starting from weights ----------------------------------------------------------------------------


def test_training_goes_on_from_given_weights(toy, trained):
    toy.edit({CHECKPOINT: None})
    done = toy.train("imodel.optimizer.lr=0.0", checkpoint=trained.checkpoint)
    assert same(weights_of(done), read_weights(trained.checkpoint))


def test_weights_of_another_shape_are_named(toy, trained):
    wider = ["imodel.model.embedding.embedding_dim=16", "imodel.model.decoder.input_size=16"]
    with pytest.raises(DlkError, match=r"embedding\.embedding\.weight: the model has \(\d+, 16\)"):
        toy.train(*wider, checkpoint=trained.checkpoint)


def test_a_checkpoint_fits_one_run_only(toy, trained):
    toy.edit({"_search": {"seed": [1, 2]}})
    with pytest.raises(ConfigError, match="one run"):
        Train(toy.fit_config, checkpoint=trained.checkpoint)


# Seeds --------------------------------------------------------------------------------------------


def test_the_seed_decides_the_weights_bit_for_bit(toy, trained):
    torch.manual_seed(99)  # what happened before does not count
    again, other = toy.train(), toy.train("seed=2")
    assert same(weights_of(again), weights_of(trained.result))
    assert not same(weights_of(other), weights_of(trained.result))
    first = Path(again.bundle, "model.safetensors").read_bytes()
    assert first == (trained.bundle / "model.safetensors").read_bytes()


# Failing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callback", ["checkpoint", "early_stop"])
def test_a_monitor_that_nothing_computes_is_refused_before_training(toy, callback):
    toy.edit({CHECKPOINT: None, f"@trainer@lightning/@callback@{callback}": {"monitor": "val_ac"}})
    with pytest.raises(ConfigError, match=r'monitor: nothing computes "val_ac".*"val_acc"'):
        toy.train()
    assert not (toy.logs / "0" / "metrics.jsonl").exists()


def test_without_validation_data_nothing_of_it_can_be_monitored(toy):
    toy.drop("valid")
    with pytest.raises(ConfigError, match=r"nothing is validated here.*train_loss_epoch"):
        toy.train()


def test_validation_that_is_switched_off_cannot_be_monitored(toy):
    with pytest.raises(ConfigError, match="nothing is validated here"):
        toy.train("trainer.limit_val_batches=0")


def test_a_metric_for_the_hyper_parameters_must_be_one(toy):
    with pytest.raises(ConfigError, match=r'hp_metrics: nothing computes "test_ac".*"test_acc"'):
        toy.train("hp_metrics=test_ac")


def test_a_folder_in_use_is_refused_and_replaced_only_on_demand(toy):
    toy.edit({"specific": {"seed": "seed"}})
    first = toy.train("trainer.max_steps=1")
    with pytest.raises(RunError, match="holds a run already"):
        toy.train("trainer.max_steps=2")
    assert first.name == "seed=1"
    assert toy.train("trainer.max_steps=2", overwrite=True).weights.startswith(
        "best val_acc: step 2"
    )
    assert Bundle(toy.logs / "seed=1.old" / "bundle").metrics == first.metrics, "nothing is lost"


def test_a_run_that_failed_before_it_had_weights_does_not_hold_its_name(toy):
    toy.edit({"specific": {"seed": "seed"}})
    with pytest.raises(ConfigError, match="val_accuracy"):
        toy.train("trainer.callback.monitor=val_accuracy")
    assert toy.train("trainer.max_steps=1").state == "done"
    assert not (toy.logs / "seed=1.old").exists()


def test_a_folder_that_holds_no_run_is_never_removed(toy):
    toy.edit({"specific": {"seed": "seed"}})
    thesis = toy.logs / "seed=1" / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    with pytest.raises(RunError, match="holds no run"):
        toy.train(overwrite=True)
    assert thesis.read_text() == "years of work"


def test_a_failed_run_is_recorded_and_raised(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    def fail(self):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(DefaultIModel, "on_train_epoch_end", fail)
    with pytest.raises(ZeroDivisionError):
        toy.train()
    result = json.loads((toy.logs / "0" / "result.json").read_text())
    assert (result["state"], result["error"]) == ("failed", "ZeroDivisionError: a bug")
    assert "on_train_epoch_end" in (toy.logs / "0" / "error.txt").read_text()


def test_where_nothing_can_be_written_any_more_what_stopped_the_run_is_told(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    def fail(self):
        shutil.rmtree(toy.logs / "0")
        (toy.logs / "0").write_text("a file, in which no other can be made")
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(DefaultIModel, "on_train_epoch_end", fail)
    with (
        pytest.warns(StateWarning, match="Not a directory; what is logged is kept in memory"),
        pytest.raises(ZeroDivisionError),
    ):
        toy.train()


@pytest.fixture
def _ctrl_c_is_heard():
    """What a script starts in its background ignores Ctrl-C, and so would the tests in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_ctrl_c_reaches_the_caller_and_is_recorded(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    real = DefaultIModel.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 20:
            signal.raise_signal(signal.SIGINT)
        return real(self, batch, batch_idx)

    monkeypatch.setattr(DefaultIModel, "training_step", step)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        toy.train()
    assert signal.getsignal(signal.SIGINT) is handler
    result = json.loads((toy.logs / "0" / "result.json").read_text())
    assert result["state"] == "interrupted"
    assert read_checkpoint(str(toy.logs / "0" / "checkpoint" / "last.ckpt"))["global_step"] == 12
    assert not (toy.logs / "0" / "bundle").exists()


def test_a_killed_run_leaves_readable_files(toy):
    toy.edit({"@trainer@lightning/max_epochs": 100_000, "@trainer@lightning/log_every_n_steps": 1})
    code = f"from dlk.train import Train; Train({str(toy.fit_config)!r}).run()"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    last = toy.logs / "0" / "checkpoint" / "last.ckpt"
    deadline = time.monotonic() + 60
    while not last.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.2)
    process.kill()
    process.wait()
    assert read_checkpoint(str(last))["global_step"] > 0
    for file in (toy.logs / "0" / "checkpoint").glob("*.ckpt"):
        read_checkpoint(str(file))
    assert len(toy.metrics()) > 1
    assert not (toy.logs / "0" / "result.json").exists()
    json.loads((toy.logs / "0" / "config.json").read_text())


def test_metrics_that_are_no_numbers_stay_valid_json(toy, monkeypatch):
    from toy_labels import ToyAccuracy

    monkeypatch.setattr(ToyAccuracy, "compute", lambda self: {"acc": math.nan})
    toy.edit({CHECKPOINT: None})
    done = toy.train()
    text = (toy.logs / "0" / "result.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert math.isnan(done.metrics["val_acc"])
    assert json.loads(text)["metrics"]["val_acc"] is None
    assert [n["val_acc"] for n in toy.metrics() if "val_acc" in n] == [None, None]


def test_a_run_is_quiet_where_there_is_no_terminal(toy, capfd):
    toy.train()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
