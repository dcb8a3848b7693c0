"""Folders of runs when several processes train at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlk._run_folder import OWNER, claim_number, release, take
from dlk.errors import RunError
from dlk.train import Train

pytestmark = pytest.mark.once

SHORT = {"@trainer@lightning/max_steps": 2, "@trainer@lightning/@callback@checkpoint": None}


@pytest.fixture
def other():
    """Another process that goes on, and what it signs a folder with."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield f"{socket.gethostname()} {process.pid}\n"
    process.kill()
    process.wait()


def test_no_number_is_given_twice(tmp_path):
    (tmp_path / "3").mkdir()
    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(lambda _: claim_number(str(tmp_path)), range(64)))
    assert sorted(map(int, numbers)) == list(range(4, 68))


def test_a_folder_is_released_when_its_run_has_ended(tmp_path):
    take(str(tmp_path / "run"))
    with pytest.raises(RunError, match=f"process {os.getpid()} is writing a run"):
        take(str(tmp_path / "run"))
    release(str(tmp_path / "run"))
    take(str(tmp_path / "run"))


@pytest.mark.parametrize("make", [claim_number, take])
def test_a_log_folder_that_cannot_be_made_is_named(tmp_path, make):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file"):
        make(str(tmp_path / "file" / "run"))


def test_a_search_never_takes_the_numbers_that_another_call_took_meanwhile(toy, monkeypatch):
    toy.edit({**SHORT, "_search": {"seed": [5, 6]}})
    work, inner = Train._work, []

    def meanwhile(self, point, result):
        if not inner:
            inner.append(None)
            inner[0] = Train(toy.fit_config).run()
        work(self, point, result)

    monkeypatch.setattr(Train, "_work", meanwhile)
    outer = Train(toy.fit_config).run()
    assert [run.name for run in outer.runs] == ["0", "3"]
    assert [run.name for run in inner[0].runs] == ["1", "2"]
    for run in (*outer.runs, *inner[0].runs):
        assert json.loads(Path(run.dir, "result.json").read_text())["parameters"] == run.parameters
        assert not Path(run.dir, OWNER).exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_goes_on_elsewhere_is_left_alone(toy, other, overwrite):
    toy.edit({**SHORT, "_search": {"seed": [5, 6]}, "specific": {"seed": "seed"}})
    Train(toy.fit_config).run()
    folder = toy.logs / "seed=6"
    (folder / "result.json").unlink()
    (folder / OWNER).write_text(other)
    with pytest.raises(RunError, match=f"process {other.split()[1]} is writing a run"):
        Train(toy.fit_config, overwrite=overwrite).run()
    assert (folder / "bundle").is_dir()


@pytest.mark.parametrize("left", ["everything", "nothing"])
def test_the_folder_of_a_killed_run_is_taken_over(toy, left):
    toy.edit({**SHORT, "_search": {"seed": [5, 6]}, "specific": {"seed": "seed"}})
    Train(toy.fit_config).run()
    folder = toy.logs / "seed=6"
    for path in ("result.json", "config.json") if left == "nothing" else ("result.json",):
        (folder / path).unlink()
    if left == "nothing":
        for entry in folder.iterdir():
            entry.rename(toy.folder / entry.name)
    (folder / OWNER).write_text(f"{socket.gethostname()} 999999999\n")
    again = Train(toy.fit_config).run()
    assert [run.skipped for run in again.runs] == [True, False]
    assert json.loads((folder / "result.json").read_text())["state"] == "done"


def test_a_run_does_not_replace_the_checkpoint_that_it_starts_from(toy):
    toy.edit({"@trainer@lightning/max_steps": 2, "specific": {"seed": "seed"}})
    checkpoint = Path(toy.train().dir) / "checkpoint" / "last.ckpt"
    with pytest.raises(RunError, match="holds the checkpoint to start from"):
        toy.train(checkpoint=str(checkpoint), overwrite=True)
    assert checkpoint.is_file()
