"""Log files on a disk that is full for a while: no line is lost, and none stands there by half."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch

from dlk.errors import RunError, StateWarning
from dlk.trainer import _logs
from dlk.trainer._logs import Logs, Scalars
from dlk.trainer._state import FORMAT, read_state, write_state
from dlk.trainer.jsonl import JsonlLogger


class Disk:
    """Takes half of what is written to it while it is full."""

    def __init__(self, monkeypatch):
        self.full = False
        self.real = _logs._append
        monkeypatch.setattr(_logs, "_append", self.append)
        monkeypatch.setattr(_logs, "PAUSES", (0.0,))

    def append(self, path, whole, data):
        if self.full:
            self.real(path, whole, data[: len(data) // 2 + 1])
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real(path, whole, data)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def steps(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def fill(logger, disk, *numbers):
    disk.full = True
    for number in numbers:
        logger.log_metrics({"x": 0.5}, step=number)


def test_lines_are_written_in_order_once_there_is_room(tmp_path, disk):
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    logger.log_metrics({"x": 0.5}, step=1)
    with pytest.warns(StateWarning, match=r"cannot write .*metrics\.jsonl: No space") as told:
        fill(logger, disk, 2, 3)
    assert len(told) == 1
    assert steps(tmp_path) == [1]
    disk.full = False
    logger.log_metrics({"x": 0.5}, step=4)
    assert steps(tmp_path) == [1, 2, 3, 4]
    with pytest.warns(StateWarning, match="No space"):  # trouble of its own
        fill(logger, disk, 5)
    disk.full = False
    logger.finalize("failed")
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_half_a_line_does_not_stay_where_it_could_not_be_cut_at_once(tmp_path, disk, monkeypatch):
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    logger.log_metrics({"x": 0.5}, step=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", lambda *_: disk.real(str(tmp_path), 0, b""))  # an OSError
        with pytest.warns(StateWarning, match="No space"):
            fill(logger, disk, 2)
    sizes, waiting = logger.logs.stand()
    whole = (tmp_path / "metrics.jsonl").read_bytes().index(b"\n") + 1
    assert sizes == {"metrics.jsonl": whole}
    assert json.loads(waiting["metrics.jsonl"])["step"] == 2
    disk.full = False
    logger.finalize("success")
    assert steps(tmp_path) == [1, 2]


def test_what_waits_is_part_of_where_the_logs_stand(tmp_path, disk):
    """A state holds it; put back by another process it is written."""
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    logger.log_metrics({"x": 0.5}, step=1)
    with pytest.warns(StateWarning):
        fill(logger, disk, 2, 3)
    sizes, waiting = logger.logs.stand()
    write_state(str(tmp_path / "a.state"), {"dlk": {"format": FORMAT, "unwritten": waiting}})
    waiting = read_state(str(tmp_path / "a.state"))["dlk"]["unwritten"]
    disk.full = False
    logger.log_metrics({"x": 0.5}, step=4)  # after the state
    again = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    again.logs.put_back(sizes, waiting)
    again.log_metrics({"x": 0.5}, step=4)
    assert steps(tmp_path) == [1, 2, 3, 4]


def test_more_than_memory_is_meant_for_ends_the_run(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(_logs, "MOST", 300)
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    with pytest.warns(StateWarning), pytest.raises(RunError, match="wait for it in memory"):
        fill(logger, disk, *range(20))


def test_at_the_end_what_lacks_is_an_error_where_the_run_can_go_on_else_told(tmp_path, disk):
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    logger.logs.end(can_go_on=True)
    with pytest.warns(StateWarning):
        fill(logger, disk, 2)
    with pytest.raises(RunError, match=r"No space .*lacks \d+ bytes of .*metrics\.jsonl: make"):
        logger.logs.end(can_go_on=True)
    with pytest.warns(StateWarning, match=r"bytes of .*metrics\.jsonl are lost"):
        logger.logs.end(can_go_on=False)
    disk.full = False
    logger.logs.end(can_go_on=True)
    assert steps(tmp_path) == [2]


def events(folder):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        (event.step, value.tag)
        for file in sorted(folder.rglob("events*"))
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def test_tensorboard_misses_nothing_either(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(_logs, "_FLUSHED", 0.0)
    logs = Logs(str(tmp_path))
    logger = Scalars(str(tmp_path), logs)
    logger.log_metrics({"a": torch.tensor(0.5)}, step=1)
    with pytest.warns(StateWarning, match=r"cannot write .*tfevents") as told:
        fill(logger, disk, 2, 3)
    logger.finalize("failed")
    assert len(told) == 1
    assert events(tmp_path) == [(1, "a")]
    disk.full = False
    logs.end(can_go_on=True)
    logger.log_metrics({"b": 1.0}, step=4)  # to another file
    logger.log_hyperparams({"seed": 1}, {"final/a": 1.0})
    logger.finalize("success")
    assert len(list(tmp_path.glob("metrics/events*"))) == 2
    assert events(tmp_path)[:4] == [(1, "a"), (2, "x"), (3, "x"), (4, "b")]


def test_folders_are_taken_by_their_very_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", "there")
    logger = Scalars(str(tmp_path / "$HERE"), Logs(str(tmp_path / "$HERE")))
    logger.log_metrics({"a": 1.0}, step=1)
    logger.finalize("success")
    assert os.listdir(tmp_path) == ["$HERE"]


def test_settings_that_cannot_be_written_are_told_and_written_later(tmp_path, monkeypatch):
    from lightning.pytorch.loggers import tensorboard

    logger = Scalars(str(tmp_path), Logs(str(tmp_path)))
    logger.log_hyperparams({"seed": 1}, {"final/a": 1.0})
    file = tmp_path / "metrics" / "hparams.yaml"

    def half(*_):
        file.write_text("se")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tensorboard, "save_hparams_to_yaml", half)
        with pytest.warns(StateWarning, match=r"cannot write .*hparams\.yaml: No space"):
            logger.finalize("success")
    assert not file.exists()
    logger.save()
    assert file.read_text() == "seed: 1\n"
