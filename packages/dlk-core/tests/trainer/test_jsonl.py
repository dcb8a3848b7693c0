from __future__ import annotations

import json

import pytest
import torch

from dlk.errors import StateWarning
from dlk.trainer.jsonl import JsonlLogger


def test_each_line_is_json_of_plain_numbers(tmp_path):
    logger = JsonlLogger(str(tmp_path / "run" / "metrics.jsonl"))
    logger.log_metrics({"a": torch.tensor(0.5), "b": 2}, step=3)
    logger.log_metrics({"a": float("nan"), "b": float("inf")}, step=4)
    logger.log_metrics({"a": 1.0})
    first, second, third = map(
        json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    )
    assert (first["step"], first["a"], first["b"]) == (3, 0.5, 2.0)
    assert (second["a"], second["b"]) == (None, None)
    assert third["step"] is None
    assert first["time"] <= second["time"]


def test_a_second_logger_goes_on_in_the_same_file(tmp_path):
    for step in (1, 2):
        JsonlLogger(str(tmp_path / "metrics.jsonl")).log_metrics({"a": 1.0}, step=step)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_it_has_a_name_and_one_version(tmp_path):
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    logger.log_hyperparams({"lr": 1})
    assert (logger.name, logger.version) == ("jsonl", "")
    assert not (tmp_path / "metrics.jsonl").exists()


def test_where_nothing_can_be_written_it_says_which_file(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    logger = JsonlLogger(str(tmp_path / "metrics.jsonl"))
    with pytest.warns(StateWarning, match=r"cannot write .*metrics\.jsonl: Is a dir"):
        logger.log_metrics({"x": 1.0}, step=1)
