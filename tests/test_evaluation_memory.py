"""Evaluation keeps counts, not rows: its memory does not follow the number of rows."""

from __future__ import annotations

import tracemalloc
from itertools import cycle, islice

import pytest

from dlk.config import child
from dlk.context import Setup
from dlk.fit import load_fit, load_meta
from dlk.registry import register
from tests import small_tasks

TASKS = {task.name: task for task in small_tasks.TASKS}
FEW, MANY = 400, 2400
# bytes a row: what the loader holds of it may change with the batches; a Python number takes 32
MOST = {"txt_cls": 24, "txt_cls_sets": 24, "seq_lab": 24, "txt_reg": 90}
# txt_reg: a correlation of ranks holds some thousand rows before it writes them to a file


def validated(task, folder, rows):
    """Return the highest memory that Python and numpy take while so many rows are validated."""
    data = list(islice(cycle(task.rows), rows))
    task.process(folder, {"train": list(task.rows), "valid": data})
    config = task.fit_config(folder)
    config["@fit"]["@datamodule@default"]["predict_batch_size"] = 50
    fit = load_fit(config).one().root("fit")
    setup = Setup(meta=load_meta(str(folder / "processed")))
    datamodule = register.build(child(fit, "datamodule"), setup)
    datamodule.open(folder / "processed")
    trainer = register.build(child(fit, "trainer"), setup, run_dir=str(folder / "run"))
    imodel = register.build(child(fit, "imodel"), setup)
    tracemalloc.start()
    try:
        scores = trainer.validate(imodel, datamodule)
        return tracemalloc.get_traced_memory()[1], scores
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", list(MOST))
def test_validation_holds_no_row(name, tmp_path):
    task = TASKS[name]
    validated(task, tmp_path / "first", 50)  # what is imported and remembered once
    (few, _), (many, scores) = (validated(task, tmp_path / str(rows), rows) for rows in (FEW, MANY))
    assert scores
    assert (many - few) / (MANY - FEW) <= MOST[name]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["evaluate", "validate"])
@pytest.mark.parametrize("name", ["txt_cls", "seq_lab", "txt_reg"])
def test_a_hundred_thousand_rows_take_what_thirty_thousand_do(name, way):
    from benchmarks.evaluation_memory import GOAL, measure

    low, high = 30_000, 100_000  # processing is at its few chunks after some 25,000
    grown = [measure(way, name, rows)[0] for rows in (low, high)]
    assert (grown[1] - grown[0]) / (high - low) <= GOAL
