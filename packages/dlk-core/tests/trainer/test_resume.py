"""Keeping states: beside training, on a disk that hangs, and in a Lightning that is another."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import weakref
from types import ModuleType

import lightning
import pytest
from lightning.pytorch.loops import fit_loop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from dlk.errors import RunError, StateWarning
from dlk.trainer import _resume
from dlk.trainer._state import States

pytestmark = pytest.mark.once

TRAINER = "@trainer@lightning"
RESUME = f"{TRAINER}/@callback@resume"
OURS = re.escape(lightning.__version__)
EACH_STEP = {"pause": 0.0, "every_n_train_steps": 1, "in_background": False}


@pytest.fixture
def taken(monkeypatch):
    """The numbers of the optimizer steps that were done when a batch came."""
    from dlk.imodel.default import DefaultIModel

    real, seen = DefaultIModel.training_step, []

    def step(self, batch, batch_idx):
        seen.append(self.trainer.global_step)
        return real(self, batch, batch_idx)

    monkeypatch.setattr(DefaultIModel, "training_step", step)
    return seen


def stop_at(monkeypatch, toy, step):
    """Train until a step, by an error that is none of dlk's."""
    from dlk.imodel.default import DefaultIModel

    real = DefaultIModel.training_step

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == step:
            raise KeyboardInterrupt
        return real(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DefaultIModel, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt):
            toy.train()


# A disk that hangs --------------------------------------------------------------------------------


def test_while_a_state_hangs_training_goes_on_with_one_copy_and_the_end_waits(
    toy, taken, monkeypatch
):
    """24 steps with a state asked for at each; the first write ends when all steps are done."""
    from dlk.trainer import _state
    from dlk.trainer._writer import Writer

    toy.edit(
        {f"{TRAINER}/@callback@checkpoint": None, RESUME: {**EACH_STEP, "in_background": True}}
    )
    goes_on, copies, most = threading.Event(), [], []
    real_copied, real_write, real_wait = _resume.copied, _state.write_torch, Writer.wait

    def copied(value, **options):
        held = real_copied(value, **options)
        copies.append(weakref.ref(next(iter(held["state_dict"].values()))))
        most.append(sum(copy() is not None for copy in copies))
        return held

    def write_torch(value, handle):
        assert goes_on.wait(60)
        real_write(value, handle)

    def wait(self):
        goes_on.set()  # the run is at its end, and waits
        real_wait(self)

    monkeypatch.setattr(_resume, "copied", copied)
    monkeypatch.setattr(_state, "write_torch", write_torch)
    monkeypatch.setattr(Writer, "wait", wait)
    done = toy.train()
    assert done.state == "done"
    assert taken == list(range(24))
    assert most == [1]


def test_a_state_that_cannot_be_written_for_any_reason_is_told_and_training_goes_on(
    toy, taken, monkeypatch
):
    from dlk.trainer import _state

    toy.edit({RESUME: EACH_STEP})

    def write_torch(value, handle):
        raise ValueError("no such thing")

    monkeypatch.setattr(_state, "write_torch", write_torch)
    with pytest.warns(StateWarning, match="ValueError: no such thing; there is none yet") as told:
        done = toy.train("trainer.max_epochs=1")
    assert (done.state, len(taken), len(told)) == ("done", 12, 1)


def test_what_cannot_be_removed_stops_training_with_a_state(toy, monkeypatch):
    """An error in the writer's thread, of a job that nobody waits for."""
    toy.edit({RESUME: EACH_STEP, f"{TRAINER}/@callback@checkpoint": {}})

    real = _resume.os.remove

    def remove(path):
        if str(path).endswith((".ckpt", ".state")):
            raise PermissionError(13, "Permission denied", path)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(_resume.os, "remove", remove)
        with pytest.raises(RunError, match=r"cannot remove .*: Permission denied"):
            toy.train()
    assert States(str(toy.logs / "0")).steps()
    assert toy.train(resume=True).state == "done"


# Another code -------------------------------------------------------------------------------------


def test_code_of_the_project_that_was_edited_since_is_told(toy, monkeypatch):
    """By the digest of what was loaded, not of what lies there when a state is kept."""
    from dlk import _local

    toy.edit({RESUME: EACH_STEP})
    stop_at(monkeypatch, toy, 4)
    real = _local.loaded_sources()
    assert {"toy_labels"} <= real.keys()
    assert not any(name.startswith(("dlk.", "torch", "tests")) for name in real)
    kept = States(str(toy.logs / "0")).newest()[0]
    assert kept["dlk"]["sources"] == real
    monkeypatch.setattr(_resume, "loaded_sources", lambda: {**real, "toy_labels": "0" * 64})
    with pytest.warns(StateWarning, match=r"was edited since the state was kept \(toy_labels\)"):
        done = toy.train(resume=True)
    assert done.resumed == [4]


def test_an_environment_in_the_projects_folder_is_no_code_of_the_project(tmp_path, monkeypatch):
    from dlk import _local

    monkeypatch.setattr(_local, "_FILES", {"own_part": str(tmp_path / "part.py")})
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    for name, file in (("own_part", "part.py"), ("brought", "env/lib/brought.py")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
        module = ModuleType(name)
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, name, module)
    assert list(_local.loaded_sources()) == ["own_part"]


# Another Lightning --------------------------------------------------------------------------------


def test_in_a_lightning_with_other_loops_training_goes_on_without_states(toy, taken, monkeypatch):
    """Its loop calls what follows a batch by another name; that works, and is not the old name."""
    real_end = _TrainingEpochLoop.on_advance_end

    def run(self, data_fetcher):
        self.reset()
        self.on_run_start(data_fetcher)
        while not self.done:
            try:
                self.advance(data_fetcher)
                self.after_advance(data_fetcher)
            except StopIteration:
                break
            finally:
                self.on_iteration_done()

    toy.edit({RESUME: EACH_STEP})
    stop_at(monkeypatch, toy, 4)
    kept = States(str(toy.logs / "0")).steps()
    monkeypatch.setattr(lightning, "__version__", "2.99.0")
    monkeypatch.setattr(_TrainingEpochLoop, "run", run)
    monkeypatch.setattr(_TrainingEpochLoop, "after_advance", real_end, raising=False)
    monkeypatch.delattr(_TrainingEpochLoop, "on_advance_end")
    monkeypatch.delattr(_TrainingEpochLoop.__base__, "on_advance_end", raising=False)
    unknown = (
        r"lightning 2\.99\.0 was not compared \(2\.5\.6, .* were\), and has not, or not as it was, "
        r"what going on relies on: Trainer\.fit_loop\.epoch_loop\.on_advance_end"
    )
    with pytest.raises(RunError, match=rf"{unknown}\. Go on with lightning {OURS}"):
        toy.train(resume=True)
    assert States(str(toy.logs / "0")).steps() == kept
    taken.clear()
    with pytest.warns(StateWarning, match=f"no state of this run is kept.*{unknown}"):
        done = toy.train()
    assert (done.name, done.state, len(taken)) == ("1", "done", 24)


def test_a_lightning_that_was_not_compared_but_has_all_goes_on_and_says_so(toy, monkeypatch):
    toy.edit({RESUME: EACH_STEP})
    expected = toy.train().metrics
    shutil.rmtree(toy.logs)
    stop_at(monkeypatch, toy, 4)
    monkeypatch.setattr(lightning, "__version__", "2.99.0")
    with pytest.warns(StateWarning, match=r"lightning 2\.99\.0 was not compared"):
        done = toy.train(resume=True)
    assert done.resumed == [4]
    assert done.metrics == expected


def test_counts_that_are_taken_up_as_others_are_refused(toy, monkeypatch):
    """A Lightning that has every name, and loads the batches of an epoch as if it began."""
    toy.edit({RESUME: EACH_STEP})
    stop_at(monkeypatch, toy, 4)
    real = fit_loop._FitLoop.load_state_dict

    def load_state_dict(self, state_dict, prefix=""):
        real(self, state_dict, prefix)
        self.epoch_loop.batch_progress.current.ready = 0

    monkeypatch.setattr(fit_loop._FitLoop, "load_state_dict", load_state_dict)
    with pytest.raises(RunError, match=r"takes up the counts of .* as epoch_loop\.batch_prog"):
        toy.train(resume=True)
    assert States(str(toy.logs / "0")).steps() == [3, 4]
