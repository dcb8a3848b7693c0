from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dlk.checkpoint import read_checkpoint, read_weights
from dlk.config import make
from dlk.errors import ConfigError, StateWarning
from dlk.registry import register
from dlk.train import Train

pytestmark = pytest.mark.once

AVERAGE = "@trainer@lightning/@callback@weight_average"
KEPT = "@trainer@lightning/@callback@checkpoint"


def build(**values):
    return register.build(make("callback", "weight_average", values))


def walk(callback, count, make_model=lambda: nn.Linear(2, 2)):
    """Update with `count` random weights; return them, as they were."""
    torch.manual_seed(3)
    model, seen = make_model(), []
    for _ in range(count):
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else tensor + 1)
        callback.update(model)
        seen.append({name: t.clone() for name, t in model.state_dict().items()})
    return model, seen


# The averages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_mean_is_that_of_all_that_were_taken(count):
    callback = build(method="mean")
    _, seen = walk(callback, count)
    for name, average in callback.average.items():
        expected = torch.stack([weights[name].double() for weights in seen]).mean(0)
        torch.testing.assert_close(average.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 1.0])
def test_the_exponential_average_is_the_recursion(decay, warmup):
    callback = build(decay=decay, warmup=warmup)
    _, seen = walk(callback, 12)
    for name, average in callback.average.items():
        expected = seen[0][name].double()
        for updates, weights in enumerate(seen[1:], start=1):
            d = min(decay, (1 + updates) / (10 + updates)) if warmup else decay
            expected = d * expected + (1 - d) * weights[name].double()
        torch.testing.assert_close(average.double(), expected, rtol=1e-6, atol=1e-6)


def test_small_moves_are_not_lost_in_bfloat16():
    callback = build(decay=0.999, warmup=False)
    model = nn.Linear(1, 1, bias=False).bfloat16()
    with torch.no_grad():
        for value in [0.0] + [1.0] * 100:
            model.weight.fill_(value)
            callback.update(model)
    assert callback.average["weight"].dtype == torch.float32
    assert callback.average["weight"].item() == pytest.approx(1 - 0.999**100, rel=1e-4)


def test_frozen_weights_are_left_out_and_shared_ones_taken_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
            self.b.weight = self.a.weight
            self.frozen.requires_grad_(False)

    callback = build()
    callback.update(Tied())
    assert set(callback.average) == {"a.weight", "a.bias", "b.bias"}


@pytest.mark.parametrize("buffers", ["copied", "averaged"])
def test_numbers_that_are_not_trained_are_copied_or_averaged(buffers):
    callback = build(method="mean", buffers=buffers)
    _, seen = walk(callback, 3, lambda: nn.BatchNorm1d(2))
    assert ("running_mean" in callback.average) == (buffers == "averaged")
    assert "num_batches_tracked" not in callback.average  # a count is no float
    if buffers == "averaged":
        mean = torch.stack([weights["running_mean"] for weights in seen]).mean(0)
        torch.testing.assert_close(callback.average["running_mean"], mean)


@pytest.mark.parametrize(
    ("values", "place"),
    [({"decay": 1.5}, "decay"), ({"method": "swa"}, "method"), ({"buffers": "no"}, "buffers")],
)
def test_wrong_options_are_refused(values, place):
    with pytest.raises(ConfigError, match=place):
        make("callback", "weight_average", values)


# In a run -----------------------------------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch):
    """The weights after each optimizer step, recorded by the side."""
    from dlk.imodel.default import DefaultIModel

    real, seen = DefaultIModel.on_train_batch_end, {}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        step = self.trainer.global_step
        seen.setdefault(step, {k: v.clone() for k, v in self.model.state_dict().items()})
        real(self, outputs, batch, batch_idx)

    monkeypatch.setattr(DefaultIModel, "on_train_batch_end", on_train_batch_end)
    return seen


def mean_of(steps, numbers):
    names = steps[numbers[0]]
    return {n: torch.stack([steps[s][n].double() for s in numbers]).mean(0) for n in names}


def is_close(weights, expected):
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({}, range(1, 25)),
        ({"start_step": 20}, range(20, 25)),
        ({"start_epoch": 1}, range(13, 25)),
        ({"every_n_train_steps": 5}, [5, 10, 15, 20]),
        ({"every_n_train_steps": None}, [12, 24]),
        ({"every_n_train_steps": None, "start_epoch": 1}, [24]),
    ],
)
def test_it_begins_and_goes_on_as_it_is_told(toy, steps, values, taken):
    toy.edit({AVERAGE: {"method": "mean", **values}, KEPT: None})
    done = toy.train()
    expected = mean_of(steps, list(taken))
    is_close(load_file(Path(done.bundle, "model.safetensors")), expected)
    is_close(load_file(Path(done.dir, "average.safetensors")), expected)
    assert done.weights == "last: step 24, averaged"


def test_with_accumulation_it_counts_steps_not_batches(toy, steps):
    toy.edit({AVERAGE: {"method": "mean"}, KEPT: None})
    done = toy.train("trainer.accumulate_grad_batches=2")
    is_close(load_file(Path(done.bundle, "model.safetensors")), mean_of(steps, range(1, 13)))


def test_the_best_checkpoint_gives_its_average_and_training_goes_on_with_the_weights(toy, steps):
    toy.edit({AVERAGE: {"method": "mean"}, KEPT: {"save_top_k": -1, "filename": "{step}"}})
    done = toy.train()
    plain = Path(done.dir, "checkpoint", "step=12.ckpt")
    state = read_checkpoint(str(plain))["state_dict"]
    assert all(torch.equal(state[f"model.{n}"], value) for n, value in steps[12].items())
    is_close(read_weights(str(plain)), mean_of(steps, range(1, 13)))
    assert ", averaged" in done.weights
    monitored = {entry["step"]: entry["val_acc"] for entry in toy.metrics() if "val_acc" in entry}
    again = Train(toy.fit_config, checkpoint=str(plain), overrides=["trainer.max_steps=0"])
    assert monitored[12] == pytest.approx(again.run().runs[0].metrics["val_acc"])


def test_weights_alone_are_saved_with_their_average_too(toy, steps):
    toy.edit({AVERAGE: {"method": "mean"}, KEPT: {"save_weights_only": True}})
    done = toy.train()
    weights = read_weights(str(Path(done.dir, "checkpoint", "last.ckpt")))
    is_close(weights, mean_of(steps, range(1, 25)))


def test_it_may_only_stand_beside(toy, steps):
    plain = toy.train()
    toy.edit({AVERAGE: {"method": "mean", "is_used": False}})
    steps.clear()
    done = toy.train()
    assert done.metrics == plain.metrics
    bundles = [load_file(Path(d.bundle, "model.safetensors")) for d in (done, plain)]
    assert all(torch.equal(bundles[0][name], bundles[1][name]) for name in bundles[1])
    is_close(load_file(Path(done.dir, "average.safetensors")), mean_of(steps, list(range(1, 25))))
    assert not math.isnan(done.metrics["val_loss"])


def test_with_early_stopping_the_bundle_holds_the_average_of_the_best_step_resumed_or_not(
    toy, monkeypatch
):
    """Rates so high that the loss rises again; two batches a step; stopped by hand in between."""
    from dlk.imodel.default import DefaultIModel

    trainer = "@trainer@lightning"
    toy.edit(
        {
            AVERAGE: {"decay": 0.5},
            KEPT: {"monitor": "val_loss", "mode": "min"},
            f"{trainer}/@callback@early_stop": {
                "monitor": "val_loss",
                "mode": "min",
                "patience": 1,
            },
            f"{trainer}/@callback@resume": {"every_n_train_steps": 1, "in_background": False},
            "@imodel@default/@optimizer@adamw/lr": 1.0,
        }
    )
    more = ("trainer.accumulate_grad_batches=2", "trainer.max_epochs=8")
    done = toy.train(*more)
    last = toy.metrics()[-1]["step"]
    (best,) = Path(done.dir, "checkpoint").glob("epoch*.ckpt")
    assert 6 < last < 48
    step = int(best.stem.partition("step=")[2])
    assert step < last
    assert done.weights == f"best val_loss: step {step}, checkpoint/{best.name}, averaged"
    bundled = load_file(Path(done.bundle, "model.safetensors"))
    of_best, of_last = read_weights(str(best)), load_file(Path(done.dir, "average.safetensors"))
    assert all(torch.equal(bundled[name], of_best[name]) for name in bundled)
    assert not all(torch.equal(bundled[name], of_last[name]) for name in bundled)

    real = DefaultIModel.training_step

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == last - 2:
            raise KeyboardInterrupt
        return real(self, batch, batch_idx)

    expected, lines = Path(done.bundle, "model.safetensors").read_bytes(), len(toy.metrics())
    shutil.rmtree(toy.logs)
    with monkeypatch.context() as patch:
        patch.setattr(DefaultIModel, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt):
            toy.train(*more)
    again = toy.train(*more, resume=True)
    assert again.resumed == [last - 2]
    assert (again.weights, again.metrics) == (done.weights, done.metrics)
    assert Path(again.bundle, "model.safetensors").read_bytes() == expected
    assert len(toy.metrics()) == lines


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"start_step": 25}, "start_step"),
        ({"every_n_train_steps": 25}, "every_n_train_steps"),
        ({"start_epoch": 2}, "start_epoch"),
    ],
)
def test_an_average_that_never_begins_is_refused_before_training(toy, steps, values, place):
    toy.edit({AVERAGE: values})
    with pytest.raises(ConfigError, match=rf"weight_average\.{place}: no average .* step 24"):
        toy.train()
    assert steps == {}


def test_training_that_stops_before_the_first_update_says_so(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.trainer.should_stop = self.trainer.global_step == 3

    toy.edit({AVERAGE: {"start_step": 20}})
    monkeypatch.setattr(DefaultIModel, "on_train_batch_end", on_train_batch_end)
    with pytest.warns(StateWarning, match=r"weight_average: training ended with step 3, before"):
        done = toy.train()
    assert "averaged" not in done.weights
