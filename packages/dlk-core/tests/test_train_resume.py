"""A run that was stopped ends as one that was not: weights, logs, checkpoints, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dlk._run_folder import OWNER
from dlk.checkpoint import read_checkpoint
from dlk.errors import ConfigError, RunError, StateWarning
from dlk.train import Train
from dlk.trainer._state import States, read_state, write_state

TRAINER = "@trainer@lightning"
CHECKPOINT = f"{TRAINER}/@callback@checkpoint"
RESUME = f"{TRAINER}/@callback@resume"
EACH_STEP = {"pause": 0.0, "every_n_train_steps": 1, "in_background": False}
USUAL = {
    "@datamodule@default/train_batch_size": 16,  # six batches an epoch
    f"{TRAINER}/log_every_n_steps": 2,
    f"{TRAINER}/@callback@weight_average": {"decay": 0.8},
    f"{TRAINER}/@callback@early_stop": {"monitor": "val_loss", "mode": "min", "patience": 50},
    CHECKPOINT: {"monitor": "val_loss", "mode": "min", "save_top_k": 2},
    RESUME: EACH_STEP,
}


# What a run leaves --------------------------------------------------------------------------------


def scalars(folder: Path) -> list[Any]:
    """All scalars of TensorBoard's files, as often as they stand there."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    for file in sorted(folder.rglob("events*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and value.tensor.dtype == 1:
                    found.append((event.step, value.tag, make_ndarray(value.tensor).tolist()))
    return sorted(found, key=str)


def left(run_dir: str | Path) -> dict[str, Any]:
    """Everything that a run is to leave the same, however often it was stopped."""
    folder = Path(run_dir)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    return {
        "lines": [{k: v for k, v in line.items() if k != "time"} for line in lines],
        "scalars": scalars(folder),
        "result": {k: result[k] for k in ("state", "metrics", "weights", "found")},
        "checkpoints": {
            str(p.relative_to(folder)): read_checkpoint(str(p))
            for p in (folder / "checkpoint").rglob("*.ckpt")
        },
        "bundle": {
            str(p.relative_to(folder)): p.read_bytes()
            for p in (folder / "bundle").rglob("*")
            if p.is_file()
        },
        "others": {p.name: load_file(p) for p in folder.glob("*.safetensors")},
        "files": sorted(p.name for p in folder.iterdir()),
    }


def differs(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two values are not the same, bit for bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [f"{path}: tensor"]
    if isinstance(one, dict) and isinstance(other, dict):
        wrong = [f"{path}.{key}: only one has it" for key in one.keys() ^ other.keys()]
        for key in one.keys() & other.keys():
            wrong += differs(one[key], other[key], f"{path}.{key}")
        return wrong
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        wrong = [f"{path}: {len(one)} and {len(other)}"] if len(one) != len(other) else []
        for number, (a, b) in enumerate(zip(one, other, strict=False)):
            wrong += differs(a, b, f"{path}[{number}]")
        return wrong
    return [] if one == other else [f"{path}: {str(one)[:80]} and {str(other)[:80]}"]


# Stopping at any moment ---------------------------------------------------------------------------


@dataclass
class Stops:
    """What lay on the disk at moments of a run: what `kill -9` would have left there."""

    folder: Path
    moments: list[str] = field(default_factory=list)
    run: Path = Path()
    is_on: bool = False

    def take(self, name: str) -> None:
        if self.is_on and self.run.is_dir():
            name = f"{len(self.moments)}-{name}"
            self.moments.append(name)
            ignore = shutil.ignore_patterns(OWNER)
            shutil.copytree(self.run, self.folder / name, ignore=ignore)

    def put_back(self, name: str) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.folder / name, self.run)


@pytest.fixture
def stops(toy, tmp_path, monkeypatch):
    """Takes what lies there before each training batch, each validation batch and at other times."""
    from dlk.imodel.default import DefaultIModel

    found = Stops(tmp_path / "stops", run=toy.logs / "0")
    for name in ("training_step", "validation_step"):
        real = getattr(DefaultIModel, name)

        def step(self, batch, batch_idx, name=name, real=real):
            found.take(name)
            return real(self, batch, batch_idx)

        monkeypatch.setattr(DefaultIModel, name, step)
    return found


def check_all(toy, stops, *overrides, only=None):
    """Run to the end, then from each moment; all come to the same."""
    stops.is_on = True
    done = toy.train(*overrides)
    stops.is_on = False
    expected = left(done.dir)
    went_on = set()
    for name in stops.moments if only is None else [m for m in stops.moments if only in m]:
        stops.put_back(name)
        again = toy.train(*overrides, resume=True)
        assert again.dir == done.dir
        assert differs(left(again.dir), expected) == [], name
        went_on.update(again.resumed)
    return went_on


def test_stopped_at_any_step_it_ends_the_same(toy, stops):
    """Two epochs, three steps each of two batches, validated in their middle too; with dropout,
    an average of weights, a schedule, early stopping and the two best checkpoints."""
    toy.edit(USUAL)
    went_on = check_all(
        toy,
        stops,
        "trainer.accumulate_grad_batches=2",
        "trainer.val_check_interval=3",
        only="training_step",
    )
    assert went_on == {1, 2, 3, 4, 5}  # 3 is the last of an epoch


def test_stopped_in_validation_it_validates_again(toy, stops):
    toy.edit(USUAL)
    went_on = check_all(toy, stops, "trainer.limit_val_batches=1", only="validation_step")
    assert went_on == {6, 12}  # the check before training comes before any state


@pytest.mark.parametrize("validates", [True, False])
def test_the_last_batch_of_an_epoch_costs_no_epoch(toy, stops, validates):
    """Lightning does not go to the end of the iterator: the trap of the epoch's end."""
    toy.edit({**USUAL, CHECKPOINT: {}})
    if not validates:
        toy.edit({f"{TRAINER}/@callback@early_stop": None})
        toy.drop("valid")
    stops.is_on = True
    done = toy.train()
    stops.is_on = False
    expected = left(done.dir)
    steps = [m for m in stops.moments if "training_step" in m]
    stops.put_back(steps[6])  # the first batch of the second epoch is about to come
    again = toy.train(resume=True)
    assert again.resumed == [6]
    assert differs(left(again.dir), expected) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("interval", [None, 2])
@pytest.mark.parametrize("scheduler", ["linear_warmup", "cosine_warmup", "constant"])
@pytest.mark.parametrize("counts", ["step", "epoch"])
def test_stopped_anywhere_under_any_options(
    toy, stops, workers, accumulate, interval, scheduler, counts
):
    warmup = {} if scheduler == "constant" else {"num_warmup_steps": 1}
    toy.edit(
        {
            **USUAL,
            "@imodel@default/@scheduler@linear_warmup": None,
            f"@imodel@default/@scheduler@{scheduler}": {"interval": counts, **warmup},
            "@datamodule@default/num_workers": workers,
            RESUME: {**EACH_STEP, "in_background": True},
        }
    )
    check_all(
        toy,
        stops,
        f"trainer.accumulate_grad_batches={accumulate}",
        f"trainer.val_check_interval={json.dumps(interval)}",
    )


@pytest.mark.slow
def test_stopped_between_any_two_writes_it_ends_the_same(toy, stops, monkeypatch):
    """Before and after each renaming and removal of a file, of states and checkpoints too."""
    toy.edit(USUAL)
    for name in ("replace", "remove", "truncate", "unlink"):
        real = getattr(os, name)

        def change(*args, name=name, real=real, **kwargs):
            stops.take(f"before-{name}")
            real(*args, **kwargs)
            stops.take(f"after-{name}")

        monkeypatch.setattr(os, name, change)
    check_all(toy, stops, "trainer.val_check_interval=3")


@pytest.mark.parametrize(
    ("more", "overrides"),
    [
        ({"@imodel@default/@scheduler@linear_warmup/interval": "epoch"}, []),
        ({"@datamodule@default/num_workers": 2}, []),
        ({CHECKPOINT: {"every_n_train_steps": 2, "save_top_k": -1}}, []),
        ({CHECKPOINT: {"monitor": "train_loss_epoch", "mode": "min"}}, []),
        ({f"{TRAINER}/@callback@lr_monitor": {}}, []),
        ({}, ["trainer.max_steps=8", "trainer.max_epochs=null"]),
        ({}, ["trainer.limit_train_batches=4"]),
        ({}, ["trainer.check_val_every_n_epoch=2"]),
        ({}, ["trainer.precision=bf16-mixed"]),
    ],
)
def test_other_options_go_on_too(toy, stops, more, overrides):
    """From the middle of an epoch, and from an end."""
    toy.edit({**USUAL, **more})
    stops.is_on = True
    done = toy.train(*overrides)
    stops.is_on = False
    expected = left(done.dir)
    steps = [m for m in stops.moments if "training_step" in m]
    for name in (steps[3], steps[len(steps) // 2]):
        stops.put_back(name)
        again = toy.train(*overrides, resume=True)
        assert again.resumed
        assert differs(left(again.dir), expected) == [], name


def test_a_run_may_be_stopped_again_and_again(toy, stops):
    toy.edit(USUAL)
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)

    class StopError(Exception):
        pass

    real, count = Stops.take, []

    def take(self, name):
        count.append(name)
        if name == "training_step" and len(count) % 4 == 0:
            raise StopError
        real(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stops, "take", take)
        for attempt in range(20):
            try:
                done = toy.train(resume=bool(attempt))
            except StopError:
                continue
            break
    found = left(done.dir)
    assert differs({**found, "files": []}, {**expected, "files": []}) == []
    assert len(done.resumed) > 2
    assert json.loads(Path(done.dir, "environment.json").read_text())["resumed"] == done.resumed
