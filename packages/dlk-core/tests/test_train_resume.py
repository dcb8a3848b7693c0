"""A run that was stopped ends as one that was not: weights, logs, checkpoints, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file

from dlk import _mirror, _remote, _remote_run
from dlk._mirror import Mirror
from dlk._remote_run import RemoteRuns, fetch, read_index
from dlk._run_folder import OWNER
from dlk.bundle import Bundle
from dlk.checkpoint import read_checkpoint
from dlk.cli import main
from dlk.errors import ConfigError, RunError, StateWarning, StorageError
from dlk.server import Server
from dlk.train import Train
from dlk.trainer._state import States, read_state, write_state

pytestmark = pytest.mark.once

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

    events = (
        (event.step, value)
        for file in sorted(folder.rglob("events*"))
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    )
    found = [
        (step, value.tag, make_ndarray(value.tensor).tolist())
        for step, value in events
        if value.HasField("tensor") and value.tensor.dtype == 1
    ]
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
        # without what a killed writer left aside: that is swept once its process is gone
        "files": sorted(p.name for p in folder.iterdir() if p.name[0] != "."),
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
        if self.is_on and (self.run / "config.json").is_file():
            name = f"{len(self.moments)}-{name}"
            self.moments.append(name)
            ignore = shutil.ignore_patterns(OWNER)
            shutil.copytree(self.run, self.folder / name, ignore=ignore)

    def put_back(self, name: str) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.folder / name, self.run)


@pytest.fixture
def stops(toy, tmp_path, monkeypatch):
    """Takes what lies there before each training batch and each validation batch."""
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


TOGETHER = [  # workers, batches of a step, batches between validations, schedule, what it counts
    (0, 1, None, "cosine_warmup", "step"),
    (0, 1, 2, "linear_warmup", "epoch"),
    (0, 2, None, "linear_warmup", "step"),
    (0, 2, 2, "constant", "step"),
    (2, 1, None, "linear_warmup", "step"),
    (2, 1, 2, "constant", "epoch"),
    (2, 2, None, "constant", "epoch"),
    (2, 2, 2, "cosine_warmup", "epoch"),
]
"""All there is of the first three, which decide together what comes after a batch; of the others
every value with every value of each. All 48 would be stopped more than a thousand times."""


def test_any_two_options_stand_together_somewhere():
    values = [set(column) for column in zip(*TOGETHER, strict=True)]
    assert {row[:3] for row in TOGETHER} == set(itertools.product(*values[:3]))
    for one, other in itertools.combinations(range(5), 2):
        there = {(row[one], row[other]) for row in TOGETHER}
        assert there == set(itertools.product(values[one], values[other]))
    assert [len(each) for each in values] == [2, 2, 2, 3, 2]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "accumulate", "interval", "scheduler", "counts"), TOGETHER)
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
        pytest.param(
            {CHECKPOINT: {"every_n_train_steps": 2, "save_top_k": -1}}, [], marks=pytest.mark.slow
        ),
        pytest.param(
            {CHECKPOINT: {"monitor": "train_loss_epoch", "mode": "min"}}, [], marks=pytest.mark.slow
        ),
        pytest.param({f"{TRAINER}/@callback@lr_monitor": {}}, [], marks=pytest.mark.slow),
        ({}, ["trainer.max_steps=8", "trainer.max_epochs=null"]),
        pytest.param({}, ["trainer.limit_train_batches=4"], marks=pytest.mark.slow),
        pytest.param({}, ["trainer.check_val_every_n_epoch=2"], marks=pytest.mark.slow),
        pytest.param({}, ["trainer.precision=bf16-mixed"], marks=pytest.mark.slow),
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


# Stopping by a signal -----------------------------------------------------------------------------


@pytest.fixture
def _ctrl_c_is_heard():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_a_run_keeps_the_step_that_goes_on(toy, monkeypatch, number):
    from dlk.imodel.default import DefaultIModel

    toy.edit({**USUAL, RESUME: {"in_background": True}})  # states only when asked to stop
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    real = DefaultIModel.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 4:
            signal.raise_signal(number)
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DefaultIModel, "training_step", step)
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            toy.train()
    result = json.loads((toy.logs / "0" / "result.json").read_text())
    assert result["state"] == "interrupted"
    assert States(str(toy.logs / "0")).steps() == [5]
    done = toy.train(resume=True)
    assert done.resumed == [5]
    assert differs(left(done.dir), expected) == []


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_ctrl_c_twice_stops_at_once(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    seen = []

    def step(self, batch, batch_idx):
        signal.raise_signal(signal.SIGINT)
        seen.append("once")
        signal.raise_signal(signal.SIGINT)
        seen.append("twice")

    monkeypatch.setattr(DefaultIModel, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        toy.train()
    assert seen == ["once"]


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(toy):
    """`kill -9`, while states are being written too: nearly always, one each step."""
    toy.edit({**USUAL, RESUME: {**EACH_STEP, "in_background": True}})
    options = ["--set", "trainer.max_epochs=10"]
    expected = left(toy.train("trainer.max_epochs=10").dir)
    shutil.rmtree(toy.logs)
    command = [sys.executable, "-m", "dlk.cli", "train", str(toy.fit_config), *options]
    for attempt in range(4):
        process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True)
        before = States(str(toy.logs / "0")).steps()
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if States(str(toy.logs / "0")).steps() != before:
                time.sleep(0.05 + 0.11 * attempt)
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
    done = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "goes on from step" in done.stderr
    assert differs(left(toy.logs / "0"), expected) == []
    again = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, timeout=600, check=False
    )
    assert "run 0: it was done already" in again.stderr


# What is meant, and what is refused ---------------------------------------------------------------


@pytest.fixture
def stopped(toy, monkeypatch):
    """The tiny task, stopped after its third step; the states of steps 2 and 3 are there."""
    toy.edit({**USUAL, "@imodel@default/@scheduler@linear_warmup/num_warmup_steps": 1})
    stop(toy, monkeypatch, 3)
    return toy


def stop(toy, monkeypatch, after, *overrides, **options):
    from dlk.imodel.default import DefaultIModel

    real = DefaultIModel.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == after:
            raise KeyboardInterrupt
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DefaultIModel, "training_step", step)
        with pytest.raises(KeyboardInterrupt):
            toy.train(*overrides, **options)


def states(toy):
    return States(str(toy.logs / "0"))


@pytest.mark.parametrize("overrides", [["imodel.optimizer.lr=0.1", "seed=2"]])
def test_another_config_is_refused_by_the_paths_that_differ(stopped, overrides):
    with pytest.raises(RunError) as caught:
        stopped.train(*overrides, resume=True)
    message = str(caught.value)
    assert "imodel.optimizer.lr: 0.05 -> 0.1" in message
    assert "seed: 1 -> 2" in message
    assert "What may: log_dir" in message
    assert states(stopped).steps() == [2, 3]


def test_a_longer_training_is_refused_where_the_schedule_depends_on_it(stopped):
    with pytest.raises(RunError, match=r"trainer\.max_epochs: 2 -> 3 \(the schedule depends"):
        stopped.train("trainer.max_epochs=3", resume=True)


def test_a_longer_training_is_the_same_where_nothing_depends_on_it(toy, monkeypatch):
    scheduler = {
        "@imodel@default/@scheduler@linear_warmup": None,
        "@imodel@default/@scheduler@constant": {},
    }
    toy.edit({**USUAL, **scheduler})
    expected = left(toy.train("trainer.max_epochs=3").dir)
    shutil.rmtree(toy.logs)
    stop(toy, monkeypatch, 7)
    done = toy.train("trainer.max_epochs=3", resume=True)
    assert done.resumed == [7]
    assert differs(left(done.dir), expected) == []


def test_what_changes_no_number_may_differ(stopped):
    done = stopped.train(
        "datamodule.num_workers=1", "trainer.callback@resume.pause=5.0", resume=True
    )
    assert done.resumed == [3]


def test_other_data_are_refused(stopped):
    from dlk.preprocess import Process

    data = {split: stopped.rows(split) for split in ("train", "valid", "test")}
    Process(stopped.process_config).run({**data, "train": data["train"][:60]})
    with pytest.raises(RunError, match="trained on other data, which was processed anew"):
        stopped.train(resume=True)


def test_other_versions_are_told_and_another_major_lightning_is_refused(stopped):
    path = states(stopped).path(3)
    state = read_state(path)
    state["dlk"]["versions"]["torch"] = "1.0"
    write_state(path, state)
    with pytest.warns(StateWarning, match=r"torch 1\.0 -> .*it need not come to the same bits"):
        assert stopped.train(resume=True).resumed == [3]


def test_another_major_lightning_is_refused(stopped):
    path = states(stopped).path(3)
    state = read_state(path)
    state["dlk"]["versions"]["lightning"] = "1.9.0"
    write_state(path, state)
    with pytest.raises(RunError, match=r"begun with lightning 1\.9\.0"):
        stopped.train(resume=True)


def test_a_damaged_state_is_told_and_the_one_before_it_taken(stopped):
    path = Path(states(stopped).path(3))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(StateWarning, match=r"step 2, as a newer state .*step=3\.state is damaged"):
        done = stopped.train(resume=True)
    assert done.resumed == [2]
    assert done.state == "done"


def test_where_no_state_is_whole_nothing_is_lost(stopped):
    for step in (2, 3):
        Path(states(stopped).path(step)).write_bytes(b"half")
    with pytest.raises(RunError, match=r"no state of this run can be used:\n.*is cut"):
        stopped.train(resume=True)
    assert states(stopped).steps() == [2, 3]


def test_the_command_says_where_it_goes_on(stopped, capsys):
    from dlk.cli import main

    assert main(["train", str(stopped.fit_config), "--resume"]) == 0
    assert "run 0: goes on from step 3\n" in capsys.readouterr().err
    assert main(["train", str(stopped.fit_config), "--resume", "0"]) == 0
    assert "run 0: it was done already\n" in capsys.readouterr().err


def test_a_run_that_is_done_says_so(toy):
    first = toy.train()
    again = toy.train(resume=True)
    assert again.skipped
    assert again.note == "it was done already"
    assert again.metrics == first.metrics
    assert not (toy.logs / "0" / "state").exists()
    assert not (toy.logs / "1").exists()


def test_a_run_that_is_done_leaves_the_data_of_today_to_another(toy):
    from dlk.preprocess import Process

    first = toy.train("trainer.max_steps=1")
    data = {split: toy.rows(split) for split in ("train", "valid", "test")}
    Process(toy.process_config).run({**data, "train": data["train"][:60]})
    second = toy.train("trainer.max_steps=1", resume=True)
    assert (first.name, second.name, second.resumed, second.note) == ("0", "1", [], "")
    assert toy.train("trainer.max_steps=1", resume=True).skipped
    Process(toy.process_config).run(data)
    assert toy.train("trainer.max_steps=1", resume=True).name == "0"
    Process(toy.process_config).run({**data, "train": data["train"][:40]})
    with pytest.raises(RunError, match="0 cannot go on: it was trained on other data"):
        toy.train("trainer.max_steps=1", resume="0")


def test_without_any_run_one_is_begun(toy):
    done = toy.train("trainer.max_steps=1", resume=True)
    assert (done.name, done.resumed, done.note) == ("0", [], "")


def test_a_run_is_named_by_its_folder_or_by_its_name(stopped):
    again = toy_copy = stopped.logs / "7"
    shutil.copytree(stopped.logs / "0", toy_copy)
    done = stopped.train(resume="0")
    assert (done.name, done.resumed) == ("0", [3])
    done = stopped.train(resume=str(again))  # moved: paths in the state follow
    assert (done.name, done.resumed) == ("7", [3])
    assert Path(done.dir) == again
    ours, theirs = left(again), left(stopped.logs / "0")
    for found in (ours, theirs):
        found.pop("checkpoints")  # they name their folder
    assert differs(ours, theirs) == []
    with pytest.raises(RunError, match="holds no run to go on with"):
        stopped.train(resume="8")


@pytest.mark.parametrize("named", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_of_a_search_what_is_done_is_kept_and_the_rest_made(toy, monkeypatch, named):
    toy.edit(
        {
            **USUAL,
            "_search": {"seed": [5, 6, 7]},
            **({"specific": {"seed": "seed"}} if named else {}),
        }
    )
    expected = [left(run.dir) for run in Train(toy.fit_config).run().runs]
    shutil.rmtree(toy.logs)
    from dlk.imodel.default import DefaultIModel

    real, seen = DefaultIModel.training_step, []

    def step(self, batch, batch_idx):
        seen.append(batch)
        if len(seen) == 12 + 9:  # in the second run
            raise KeyboardInterrupt
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DefaultIModel, "training_step", step)
        with pytest.raises(KeyboardInterrupt):
            Train(toy.fit_config).run()
    runs = Train(toy.fit_config, resume=True).run().runs
    assert [run.skipped for run in runs] == [True, False, False]
    assert [run.resumed for run in runs] == [[], [8], []]
    assert [differs(left(run.dir), was) for run, was in zip(runs, expected, strict=True)] == [
        []
    ] * 3


KILLED = """
import os, signal, sys
from dlk.imodel.default import DefaultIModel
from dlk.train import Train

real, seen = DefaultIModel.training_step, []

def step(self, batch, batch_idx):
    seen.append(batch)
    if len(seen) == 6 + 5:  # in the second run, after its state of step 4
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch, batch_idx)

DefaultIModel.training_step = step
Train(sys.argv[1]).run()
"""


@pytest.mark.parametrize("named", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_search_that_was_killed_comes_to_the_same_runs(toy, named):
    """`kill -9` by the process itself: always at the same step, however busy the machine is."""
    rate = "imodel.optimizer.lr"
    toy.edit({**USUAL, f"{TRAINER}/max_epochs": 1, "_search": {rate: [0.001, 0.002, 0.003]}})
    if named:
        toy.edit({"specific": {rate: "lr"}})
    expected = [left(run.dir) for run in Train(toy.fit_config).run().runs]
    shutil.rmtree(toy.logs)
    command = [sys.executable, "-c", KILLED, str(toy.fit_config)]
    killed = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(toy.logs.iterdir())) == 2
    runs = Train(toy.fit_config, resume=True).run().runs
    assert [run.skipped for run in runs] == [True, False, False]
    assert [run.resumed for run in runs] == [[], [4], []]
    for run, was in zip(runs, expected, strict=True):
        assert differs(left(run.dir), was) == [], run.name
    assert all(run.skipped for run in Train(toy.fit_config, resume=True).run().runs)


def test_what_does_not_go_together_is_refused(toy):
    with pytest.raises(ConfigError, match="leave out checkpoint"):
        Train(toy.fit_config, resume=True, checkpoint="x.ckpt")
    with pytest.raises(ConfigError, match="leave out overwrite"):
        Train(toy.fit_config, resume=True, overwrite=True)


# Disks that are full ------------------------------------------------------------------------------


@pytest.mark.parametrize("in_background", [True, False])
def test_a_state_that_cannot_be_written_stops_no_training(toy, monkeypatch, in_background):
    """It is told, the last good one is kept, and the next is tried."""
    import errno

    from dlk.trainer import _state, _writer

    toy.edit({**USUAL, RESUME: {**EACH_STEP, "in_background": in_background}})
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    real, seen = _state.write_torch, []

    def write_torch(value, handle):
        if value["global_step"] in (4, 5, 6):
            handle.write(b"a part")
            seen.append(states(toy).steps()[-1])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(value, handle)

    monkeypatch.setattr(_state, "write_torch", write_torch)
    # a slow disk must not have the three steps left out: each waits for the state before it
    monkeypatch.setattr(_writer.Writer, "busy", property(lambda self: bool(self.wait_for_copy())))
    with pytest.warns(StateWarning, match="No space left on device; the state of step") as told:
        done = toy.train()
    assert len(told) == 1
    assert seen == [3, 3, 3]
    assert differs(left(done.dir), expected) == []


def test_a_checkpoint_that_cannot_be_written_stops_training_and_can_be_gone_on_from(
    toy, monkeypatch
):
    import errno

    from dlk.trainer import _writer

    toy.edit(USUAL)
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    real = _writer.write_torch

    def write_torch(value, handle):
        if value["global_step"] == 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(value, handle)

    with monkeypatch.context() as patch:
        patch.setattr(_writer, "write_torch", write_torch)
        with pytest.raises(RunError, match=r"cannot write .*step=12.*\.ckpt: No space left"):
            toy.train()
    assert (toy.logs / "0" / "checkpoint" / "epoch=0-step=6.ckpt").exists()
    done = toy.train(resume=True)
    assert done.resumed
    found = left(done.dir)
    assert differs({**found, "files": []}, {**expected, "files": []}) == []


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_no_state_names_a_checkpoint_that_could_not_be_written(toy, monkeypatch):
    """The checkpoint fails while the state is taken that names it, because of Ctrl-C."""
    import errno
    import threading

    from dlk.imodel.default import DefaultIModel
    from dlk.trainer import _writer

    toy.edit({**USUAL, RESUME: {"in_background": True}})
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    stopping = threading.Event()
    real_wait, real_step = _writer.Writer.wait_for_copy, DefaultIModel.training_step

    def write_torch(value, handle):
        assert stopping.wait(60)
        raise OSError(errno.ENOSPC, "No space left on device")

    def wait_for_copy(self):
        if self.busy:
            stopping.set()
        real_wait(self)

    def step(self, batch, batch_idx):
        if self.trainer.global_step == 7:
            signal.raise_signal(signal.SIGINT)
        return real_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(_writer, "write_torch", write_torch)
        patch.setattr(_writer.Writer, "wait_for_copy", wait_for_copy)
        patch.setattr(DefaultIModel, "training_step", step)
        with pytest.raises(RunError, match=r"cannot write .*\.ckpt: No space left"):
            toy.train()
    assert States(str(toy.logs / "0")).steps() == []
    assert differs(left(toy.train(resume=True).dir), expected) == []


@pytest.fixture
def logs_disk(monkeypatch):
    """A disk that takes half of what is logged between two steps, and says that it is full."""
    import errno

    from dlk.imodel.default import DefaultIModel
    from dlk.trainer import _logs

    real, real_step = _logs._append, DefaultIModel.training_step
    full = set()
    step = [0]

    def append(path, whole, data):
        if step[0] in full:
            real(path, whole, data[: len(data) // 2 + 1])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, whole, data)

    def training_step(self, batch, batch_idx):
        step[0] = self.trainer.global_step
        return real_step(self, batch, batch_idx)

    monkeypatch.setattr(_logs, "_append", append)
    monkeypatch.setattr(_logs, "PAUSES", ())
    monkeypatch.setattr(DefaultIModel, "training_step", training_step)
    return full


LOGGED = {**USUAL, f"{TRAINER}/log_every_n_steps": 1}


def test_logs_that_cannot_be_written_stop_no_training_and_lose_nothing(toy, logs_disk):
    toy.edit(LOGGED)
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    logs_disk.update(range(3, 9))  # an evaluation among them
    with pytest.warns(StateWarning, match=r"cannot write .*: No space left on device; .*") as told:
        done = toy.train()
    assert len(told) == 1
    assert differs(left(done.dir), expected) == []


def test_a_run_that_was_stopped_meanwhile_misses_no_line(toy, monkeypatch, logs_disk):
    toy.edit(LOGGED)
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    logs_disk.update(range(3, 9))
    with pytest.warns(StateWarning):
        stop(toy, monkeypatch, 8)
    assert len(toy.metrics()) < 8
    logs_disk.clear()
    done = toy.train(resume=True)
    assert done.resumed == [8]
    found = left(done.dir)
    assert differs({**found, "files": []}, {**expected, "files": []}) == []


def test_logs_that_lack_at_the_end_are_an_error_and_written_by_resume(toy, logs_disk):
    toy.edit(LOGGED)
    expected = left(toy.train().dir)
    shutil.rmtree(toy.logs)
    logs_disk.update(range(9, 12))
    with pytest.warns(StateWarning), pytest.raises(RunError, match="at its end and lacks"):
        toy.train()
    assert not (toy.logs / "0" / "bundle").exists()
    logs_disk.clear()
    found = left(toy.train(resume=True).dir)
    assert differs({**found, "files": []}, {**expected, "files": []}) == []
    shutil.rmtree(toy.logs)
    toy.edit({RESUME: {"enabled": False}})
    logs_disk.update(range(9, 12))
    with pytest.warns(StateWarning) as told:
        assert toy.train().bundle
    assert str(told[-1].message).endswith("are lost")


@pytest.mark.slow
def test_files_may_not_grow_beyond_a_limit(toy):
    """The system's own refusal, in a process of its own."""
    toy.edit({**USUAL, CHECKPOINT: None, "@imodel@default/@model@basic/@decoder@linear/dropout": 0})
    code = (
        "import resource, sys, warnings\n"
        "warnings.simplefilter('always')\n"
        "from dlk.train import Train\n"
        "from dlk.trainer import _resume\n"
        "real = _resume.write_state\n"
        "def write_state(path, state):\n"
        "    limit = 2000 if state['global_step'] > 3 else resource.RLIM_INFINITY\n"
        "    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))\n"
        "    try:\n"
        "        real(path, state)\n"
        "    finally:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "_resume.write_state = write_state\n"
        f"print(Train({str(toy.fit_config)!r}).run().runs[0].state)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "done\n", done.stderr
    assert "File too large; the state of step 3 is kept, training goes on" in done.stderr


# Runs at URLs ------------------------------------------------------------------------------------

URL = "memory://train/logs"
SHORT = {"@trainer@lightning/max_steps": 2, RESUME: {"enabled": True}}


@pytest.fixture
def spool(tmp_path, monkeypatch):
    """Where runs are written to on this machine; no other test's are at the URL."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_mirror, "PAUSES", ())
    monkeypatch.setattr(_remote_run, "BEAT", 0.1)
    monkeypatch.setattr(_remote_run, "_SETTLES", 0.0)
    memory = fsspec.filesystem("memory")
    if memory.exists("/train"):
        memory.rm("/train", recursive=True)
    return tmp_path / "cache" / "dlk" / "runs"


def at_url(toy, changes=SHORT, url=URL):
    toy.edit({**changes, "log_dir": url})
    return toy


def another_machine(monkeypatch, tmp_path, name="other"):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def got(url, folder):
    fetch(url, read_index(url), folder)
    return folder


def anywhere(value):
    """What a run left, without the places: checkpoints name their folder."""
    if isinstance(value, str):
        return re.sub(r"\S*/(logs|runs/[0-9a-f]{16})/0(?=/|$)", "RUN", value)
    if isinstance(value, dict):
        return {anywhere(key): anywhere(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [anywhere(inner) for inner in value]
    return value


def written_here(spool):
    return [p for p in spool.rglob("*") if p.is_file() and p.name != "machine"]


def names(url):
    return sorted(_remote.listed(url))


def test_a_run_ends_at_the_url_as_it_would_have_here(toy, spool, tmp_path):
    toy.edit(USUAL)
    here = toy.train()
    at_url(toy, USUAL)
    there = toy.train()
    assert (there.name, there.dir, there.bundle) == ("0", f"{URL}/0", f"{URL}/0/bundle")
    expected, found = left(here.dir), left(got(there.dir, tmp_path / "found"))
    assert differs(anywhere(found), anywhere(expected)) == []
    assert json.loads((tmp_path / "found" / "result.json").read_text())["dir"] == there.dir
    assert written_here(spool) == []
    assert names(there.dir) == [
        "average.safetensors", "bundle", "config.json", "environment.json", "metrics",
        "metrics.jsonl", "objects", "result.json", "run.json", "source",
    ][1:]  # fmt: skip
    row = toy.rows("test")[0]
    assert Server(there.bundle).fit(row) == Server(here.bundle).fit(row)
    assert Bundle(there.bundle).contents.manifest["digest"]


def test_a_second_run_gets_the_next_number_and_one_that_is_done_says_so(toy, spool, monkeypatch):
    at_url(toy)
    assert [toy.train().name for _ in range(2)] == ["0", "1"]
    again = toy.train(resume=True)
    assert (again.name, again.skipped, again.bundle) == ("1", True, f"{URL}/1/bundle")
    assert names(URL) == ["0", "1"]
    assert toy.train(resume="0").name == toy.train(resume=f"{URL}/0").name == "0"
    for name in ("7", "/0", "./0", "../logs/0"):
        with pytest.raises(RunError, match=f"/logs/{name} holds no run to go on with"):
            toy.train(resume=name)
    with pytest.raises(RunError, match="memory://train names no run of a log folder"):
        toy.train(resume="memory://train")


@pytest.mark.parametrize("machine", ["other", pytest.param("this", marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_anywhere(
    toy, spool, tmp_path, monkeypatch, machine, capsys
):
    toy.edit(USUAL)
    expected = left(toy.train().dir)
    at_url(toy, USUAL)
    stop(toy, monkeypatch, 8)
    assert written_here(spool) == []
    if machine == "other":
        another_machine(monkeypatch, tmp_path)
    assert main(["train", str(toy.fit_config), "--resume"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("run 0: goes on from step 8\n")
    assert f"run     {URL}/0\n" in said.out
    assert differs(*map(anywhere, (left(got(f"{URL}/0", tmp_path / "found")), expected))) == []
    assert {"state", "owner.json"}.isdisjoint(names(f"{URL}/0"))


def test_a_url_that_cannot_be_written_is_told_before_any_work(toy, spool, capsys):
    at_url(toy, url="http://127.0.0.1:9/logs")
    with pytest.raises(StorageError, match=r"write http://127\.0\.0\.1:9/logs: http is read-only"):
        toy.train()
    shutil.rmtree(toy.processed)
    (toy.folder / "data").mkdir()
    for split in ("train", "valid"):
        rows = "".join(json.dumps(row) + "\n" for row in toy.rows(split))
        (toy.folder / "data" / f"{split}.jsonl").write_text(rows)
    assert main(["run", str(toy.process_config), str(toy.fit_config)]) == 1
    assert "http is read-only" in capsys.readouterr().err
    assert not toy.processed.exists()


@pytest.mark.parametrize("broken", ["", "run.json"])
def test_what_could_not_be_sent_is_kept_here_and_sent_by_resume(toy, spool, monkeypatch, broken):
    at_url(toy)
    real = _remote.send

    def send(path, url):
        if not url.endswith("owner.json") and "/.dlk-" not in url and url.endswith(broken):
            raise StorageError(f"cannot write {url}: the network is down")
        real(path, url)

    with monkeypatch.context() as patch:
        patch.setattr(_remote, "send", send)
        with (
            pytest.warns(StateWarning, match="run 0 cannot be sent to memory.*network is down"),
            pytest.raises(StorageError, match=r"All of it is in .*sends what is missing") as told,
        ):
            toy.train()
    folder = Path(str(told.value).partition("All of it is in ")[2].partition(";")[0])
    assert folder.is_relative_to(spool)
    assert (folder / "bundle" / "bundle.json").is_file()
    assert read_index(f"{URL}/0") is None
    said = []
    (done,) = Train(toy.fit_config, resume=True).run(tell=said.append).runs
    assert said[0] == "run 0: it was done already"
    assert broken or said[1].startswith("run 0: sends ")
    assert done.bundle == f"{URL}/0/bundle"
    assert Server(done.bundle).fit(toy.rows("test")[0])
    assert written_here(spool) == []


def test_what_lacks_but_its_last_word_is_said_by_another_machine(toy, spool, tmp_path, monkeypatch):
    at_url(toy)
    real = Mirror.finish
    with monkeypatch.context() as patch:
        patch.setattr(Train, "_write_result", lambda *_: None)
        patch.setattr(Mirror, "finish", lambda self, is_done: real(self, is_done=False))
        toy.train()
    assert "bundle" not in names(f"{URL}/0")
    another_machine(monkeypatch, tmp_path)
    done = toy.train(resume=True)
    assert (done.name, done.skipped, done.bundle) == ("0", True, f"{URL}/0/bundle")
    assert Server(done.bundle).fit(toy.rows("test")[0])
    assert read_index(f"{URL}/0").is_done


def test_the_network_may_be_down_in_the_middle(toy, spool, tmp_path, monkeypatch):
    toy.edit(USUAL)
    expected = left(toy.train().dir)
    at_url(toy, USUAL)
    from dlk.imodel.default import DefaultIModel

    real, real_step, down = _remote.send, DefaultIModel.training_step, []

    def send(path, url):
        if down:
            raise StorageError("the network is down")
        real(path, url)

    def step(self, batch, batch_idx):
        down[:] = [True] * (3 <= self.trainer.global_step < 9)
        return real_step(self, batch, batch_idx)

    monkeypatch.setattr(_remote, "send", send)
    monkeypatch.setattr(DefaultIModel, "training_step", step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StateWarning)
        toy.train()
    assert differs(*map(anywhere, (left(got(f"{URL}/0", tmp_path / "found")), expected))) == []


def test_named_runs_and_searches_are_kept_gone_on_with_and_replaced(
    toy, spool, tmp_path, monkeypatch
):
    at_url(toy, {**SHORT, "_search": {"seed": [5, 6]}, "specific": {"seed": "seed"}})
    first = Train(toy.fit_config).run().runs
    assert [run.name for run in first] == ["seed=5", "seed=6"]
    another_machine(monkeypatch, tmp_path)
    assert [run.skipped for run in Train(toy.fit_config).run().runs] == [True, True]
    _remote.remove_folder(f"{URL}/seed=6")
    again = Train(toy.fit_config, resume=True).run().runs
    assert [run.skipped for run in again] == [True, False]
    assert [run.metrics for run in again] == [run.metrics for run in first]
    replaced = Train(toy.fit_config, overwrite=True).run().runs
    assert [run.skipped for run in replaced] == [False, False]
    assert names(URL) == ["seed=5", "seed=5.old", "seed=6", "seed=6.old"]
    assert read_index(f"{URL}/seed=5.old").is_done
    toy.edit({"_search": None, "seed": 5})
    with pytest.raises(RunError, match=r"memory://train/logs/seed=5 holds a run already"):
        toy.train()


def test_a_run_that_another_machine_writes_is_left_alone(toy, spool, tmp_path, monkeypatch):
    at_url(toy, USUAL)
    stop(toy, monkeypatch, 3)
    run = RemoteRuns(URL).run("0")
    run.lease.acquire(str)
    another_machine(monkeypatch, tmp_path)
    said = []
    with pytest.raises(RunError, match=rf"process {os.getpid()} of .* is writing a run to {URL}/0"):
        Train(toy.fit_config, resume=True).run(tell=said.append)
    assert "waits" in said[0]
    run.lease.release()
    assert toy.train(resume=True).resumed == [3]


def test_no_password_is_written_anywhere(toy, spool, tmp_path, monkeypatch):
    at_url(toy, SHORT)
    monkeypatch.setattr(sys, "argv", ["dlk", "train", "ftp://anna:geheim@h/x"])
    toy.train()
    memory = fsspec.filesystem("memory")
    assert not [name for name in memory.find("/train") if b"geheim" in memory.cat_file(name)]


def test_a_run_that_was_stopped_before_its_last_word_is_done(toy, tmp_path, monkeypatch):
    """Killed between its bundle and its result.json, with no state."""
    toy.edit({**SHORT, RESUME: {"enabled": False}})
    expected = toy.train()
    shutil.rmtree(toy.logs)
    with monkeypatch.context() as patch:
        patch.setattr(Train, "_write_result", lambda *_: None)
        toy.train()
    assert json.loads((toy.logs / "0" / "result.json").read_text())["state"] == "running"
    (toy.logs / "0" / "running").write_text("elsewhere 1\n")
    done = toy.train(resume=True)
    assert (done.name, done.skipped, done.metrics) == ("0", True, expected.metrics)
    assert (done.weights, done.bundle) == (expected.weights, expected.bundle)
    assert json.loads((toy.logs / "0" / "result.json").read_text())["state"] == "done"
    assert sorted(os.listdir(toy.logs)) == ["0"]
    assert not (toy.logs / "0" / "running").exists()


def test_a_url_of_a_file_is_a_path(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = at_url(toy, url=f"file://{tmp_path}/here").train()
    assert done.dir == str(tmp_path / "here" / "0")
    assert done.bundle == f"{done.dir}/bundle"
    assert toy.train(resume="0").skipped
    assert sorted(os.listdir(tmp_path)) == ["here", "toy"]


def test_where_it_goes_on_is_said_before_it_does(toy, monkeypatch):
    toy.edit(USUAL)
    stop(toy, monkeypatch, 3)
    said = []
    monkeypatch.setattr(Train, "_work", lambda *_: said.append("work"))
    Train(toy.fit_config, resume=True).run(tell=said.append)
    assert said == ["run 0: goes on from step 3", "work"]


def test_resume_may_stand_in_front_of_fit(toy, capsys):
    toy.edit(SHORT)
    fit = str(toy.fit_config)
    assert main(["train", "--resume", fit]) == 0
    assert main(["train", "--resume", fit, "0"]) == 0
    assert "run 0: it was done already" in capsys.readouterr().err
    for wrong, said in (
        (["train", "--resume", "0"], "are required: FIT"),
        (["train"], "are required: FIT"),
        (["train", fit, "--resume", fit], "expected a run"),
    ):
        assert main(wrong) == 2
        assert said in capsys.readouterr().err
