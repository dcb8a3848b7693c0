"""Another Lightning is looked at before anything relies on what is inside it."""

from __future__ import annotations

import subprocess
import sys

import lightning
import lightning.pytorch as pl
import pytest

from dlk.trainer import _compared
from dlk.trainer._compared import is_compared, lacking

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def trainer():
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )


def test_the_lightning_that_is_here_was_compared_and_lacks_nothing(trainer):
    assert is_compared()
    assert lacking(trainer) == []


@pytest.mark.parametrize("version", ["2.5.0", "2.6.7", "2.6.10", "3.0.0"])
def test_only_versions_that_were_compared_are_said_to_be(monkeypatch, version):
    monkeypatch.setattr(lightning, "__version__", version)
    assert not is_compared()


@pytest.mark.parametrize(
    ("table", "path", "kind"),
    [
        ("_TRAINER", "fit_loop.epoch_loop._is_accumulating", 0),
        ("_TRAINER", "fit_loop.epoch_loop._should_accumulate", 1),
        ("_TRAINER", "fit_loop.epoch_progress", 0),
        ("_TRAINER", "fit_loop.epoch_progress.total.ready", str),
        ("_TRAINER", "no_loop.epoch_progress", int),
        ("_FETCHER", "is_done", bool),
        ("_CHECKPOINT", "_last_step_saved", int),
    ],
)
def test_what_is_gone_or_something_else_is_named(trainer, monkeypatch, table, path, kind):
    monkeypatch.setitem(getattr(_compared, table), path, kind)
    owners = {"_FETCHER": "_PrefetchDataFetcher", "_CHECKPOINT": "ModelCheckpoint"}
    assert lacking(trainer) == [f"{owners.get(table, 'Trainer')}.{path}"]


def test_without_the_names_of_its_loops_a_trainer_is_built_all_the_same():
    """A Lightning whose private modules are others, in a process of its own."""
    code = (
        "import lightning, lightning.pytorch as pl\n"
        "import lightning.pytorch.loops.fetchers as fetchers\n"
        "import lightning.pytorch.loops.training_epoch_loop as loops\n"
        "lightning.__version__ = '2.99.0'\n"
        "del fetchers._PrefetchDataFetcher, fetchers._DataFetcher, loops._TrainingEpochLoop\n"
        "from dlk.config import make\n"
        "from dlk.context import Setup\n"
        "from dlk.registry import register\n"
        "config = make('trainer', 'lightning', {'accelerator': 'cpu'})\n"
        "trainer = register.build(config, Setup.empty(), run_dir='unused')\n"
        "print(trainer.keeper._lacking)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert "_PrefetchDataFetcher.fetched" in done.stdout, done.stderr
