"""Runs of a grid: names, folders, states, and what a second call does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dlk.errors import ConfigError, RunError
from dlk.preprocess import Process
from dlk.train import Train

pytestmark = pytest.mark.once

SHORT = {"@trainer@lightning/max_steps": 2, "@trainer@lightning/@callback@checkpoint": None}
LR = "imodel.optimizer.lr"


@pytest.fixture
def grid(toy):
    """A search over two rates, each run two steps long."""
    toy.edit({**SHORT, "_search": {LR: [0.1, 0.2]}, "specific": {LR: "lr"}})
    return toy


def run(toy, *overrides, **options):
    return Train(toy.fit_config, overrides=overrides, **options).run()


def test_runs_are_named_by_their_values_and_go_in_turn(grid):
    result = run(grid)
    assert [r.name for r in result.runs] == ["lr=0.1", "lr=0.2"]
    assert [r.parameters for r in result.runs] == [{"lr": 0.1}, {"lr": 0.2}]
    assert [r.state for r in result.runs] == ["done", "done"]
    assert [Path(r.dir) for r in result.runs] == [grid.logs / "lr=0.1", grid.logs / "lr=0.2"]
    assert all(Path(r.bundle, "bundle.json").is_file() for r in result.runs)


def test_the_table_has_a_row_for_each_run(grid):
    result = run(grid)
    first = result.table()[0]
    assert {"run": "lr=0.1", "state": "done", "lr": 0.1}.items() <= first.items()
    assert {"val_acc", "test_acc", "seconds"} <= first.keys()
    with pytest.raises(RunError, match="2 runs"):
        _ = result.bundle


def test_whole_components_are_searched_with_their_own_sizes(toy):
    encoder = {"_base": "lstm", "input_size": 8, "output_size": "@lambda @$.input_size"}
    toy.edit(
        {
            **SHORT,
            "@imodel@default/_search": {"@model.@encoder": ["identity", encoder]},
            "specific": {"imodel.model.encoder": "encoder"},
        }
    )
    runs = run(toy).runs
    assert [r.name for r in runs] == ["encoder=identity", "encoder=lstm"]
    assert [r.state for r in runs] == ["done", "done"]
    weights = [set(load_file(Path(r.bundle, "model.safetensors"))) for r in runs]
    assert not any("lstm" in name for name in weights[0])
    assert any("lstm" in name for name in weights[1])
    configs = [json.loads(Path(r.dir, "config.json").read_text()) for r in runs]
    models = [c["@fit"]["@imodel@default"]["@model@basic"] for c in configs]
    assert [[k for k in m if k.startswith("@encoder")] for m in models] == [
        ["@encoder@identity"],
        ["@encoder@lstm"],
    ]


def test_several_names_make_nested_folders(toy):
    toy.edit(
        {
            **SHORT,
            "_search": {LR: [0.1], "seed": [1, 2]},
            "specific": {LR: "lr", "seed": "seed", "imodel.model.decoder": "head"},
        }
    )
    names = [r.name for r in run(toy).runs]
    assert names == ["lr=0.1/seed=1/head=linear", "lr=0.1/seed=2/head=linear"]
    assert (toy.logs / "lr=0.1" / "seed=2" / "head=linear" / "bundle").is_dir()


@pytest.mark.parametrize(
    ("value", "name"),
    [("../../up", "n=_.._up"), ("a/b:c", "n=a_b_c"), ("..", "n=_"), ("x" * 300, "n=" + "x" * 80)],
)
def test_values_cannot_lead_out_of_the_log_folder(toy, value, name):
    toy.edit({**SHORT, "specific": {"imodel.optimizer.name": "n"}})
    (done,) = run(toy, f"imodel.optimizer.name={value}").runs
    assert (done.name, Path(done.dir)) == (name, toy.logs / name)
    assert done.parameters == {"n": value}


def test_without_names_runs_are_numbered_on(toy):
    toy.edit({**SHORT, "_search": {"seed": [5, 6]}})
    assert [r.name for r in run(toy).runs] == ["0", "1"]
    again = run(toy).runs
    assert [r.name for r in again] == ["2", "3"]
    assert [r.parameters for r in again] == [{"seed": 5}, {"seed": 6}]


def test_equal_names_are_refused_before_anything_is_trained(toy):
    toy.edit({**SHORT, "_search": {LR: [0.1, 0.2]}, "specific": {"seed": "seed"}})
    with pytest.raises(
        ConfigError, match='runs 0 and 1 of the search would both be called "seed=1"'
    ):
        Train(toy.fit_config)
    assert not toy.logs.exists()


def test_a_name_for_what_is_not_there_is_refused(toy):
    toy.edit({"specific": {"imodel.optimizer.rate": "lr"}})
    with pytest.raises(ConfigError, match=r"imodel\.optimizer\.rate"):
        Train(toy.fit_config)


@pytest.mark.parametrize("short", ["a/b", "", "a=b", 3, "a\\b"])
def test_short_names_are_plain(toy, short):
    toy.edit({"specific": {"seed": short}})
    with pytest.raises(ConfigError, match="short name"):
        Train(toy.fit_config)


def test_a_mistake_in_any_run_is_found_before_the_first_is_trained(toy):
    toy.edit({**SHORT, "_search": {LR: [0.1, -1.0]}, "specific": {LR: "lr"}})
    with pytest.raises(ConfigError, match="lr"):
        Train(toy.fit_config)
    assert not toy.logs.exists()


def test_a_run_that_fails_is_recorded_and_the_others_go_on(grid):
    grid.edit({"_search": {"imodel.model.decoder.input_size": [9, 8]}})
    grid.edit({"specific": {"imodel.model.decoder.input_size": "size"}})
    result = run(grid)
    assert [r.state for r in result.runs] == ["failed", "done"]
    (failed,) = result.failed
    assert (
        'made for "embedding" of width 9 (its input_size), and is given (8, 8, 8)' in failed.error
    )
    recorded = json.loads((grid.logs / "size=9" / "result.json").read_text())
    assert (recorded["state"], recorded["error"]) == ("failed", failed.error)
    assert "Traceback" in (grid.logs / "size=9" / "error.txt").read_text()


def test_runs_that_are_done_are_not_made_again(grid):
    first = run(grid)
    stamps = [Path(r.dir, "result.json").stat().st_mtime_ns for r in first.runs]
    again = run(grid)
    assert [r.skipped for r in again.runs] == [True, True]
    assert [r.metrics for r in again.runs] == [r.metrics for r in first.runs]
    assert [Path(r.dir, "result.json").stat().st_mtime_ns for r in again.runs] == stamps


def test_a_grid_that_grew_trains_only_what_is_new(grid):
    run(grid)
    grid.edit({"_search": {LR: [0.1, 0.2, 0.3]}})
    assert [r.skipped for r in run(grid).runs] == [True, True, False]


@pytest.mark.parametrize("state", ["failed", "interrupted", None])
def test_runs_that_did_not_end_are_made_again(grid, state):
    first = run(grid).runs[1]
    file = Path(first.dir, "result.json")
    if state is None:  # killed
        file.unlink()
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "state": state}))
    again = run(grid)
    assert [r.skipped for r in again.runs] == [True, False]
    assert json.loads(file.read_text())["state"] == "done"


def test_a_folder_of_another_config_stops_the_search_before_it_starts(grid):
    run(grid)
    grid.edit({"_search": {LR: [0.3, 0.2]}})
    with pytest.raises(RunError, match="holds a run already"):
        run(grid, "trainer.max_steps=3")
    assert not (grid.logs / "lr=0.3").exists()


def test_data_that_was_processed_again_to_the_same_is_the_same(grid):
    run(grid)
    grid.process()
    assert [r.skipped for r in run(grid).runs] == [True, True]


def test_runs_on_other_data_do_not_stand_for_those_on_these(grid):
    first = run(grid)
    rows = grid.rows("train")
    rows[0]["sentence"] = "cow " + rows[0]["sentence"]
    data = {"train": rows, "valid": grid.rows("valid"), "test": grid.rows("test")}
    Process(grid.process_config).run(data)
    with pytest.raises(RunError, match=r"lr=0\.1 holds a run on other data"):
        run(grid)
    assert Path(first.runs[0].bundle).is_dir()
    again = run(grid, overwrite=True)
    assert [r.skipped for r in again.runs] == [False, False]
    assert [r.skipped for r in run(grid).runs] == [True, True]


def test_everything_is_made_again_on_demand(grid):
    run(grid)
    assert [r.skipped for r in run(grid, overwrite=True).runs] == [False, False]


def test_ctrl_c_ends_the_whole_search(grid, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    def stop(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(DefaultIModel, "training_step", stop)
    with pytest.raises(KeyboardInterrupt):
        run(grid)
    assert json.loads((grid.logs / "lr=0.1" / "result.json").read_text())["state"] == "interrupted"
    assert not (grid.logs / "lr=0.2").exists()


def test_the_chosen_metric_stands_beside_the_hyper_parameters(grid):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    grid.edit({"hp_metrics": "test_acc"})
    done = run(grid).runs[0]
    tags = set()
    for file in Path(done.dir, "metrics").glob("events*"):
        events = EventAccumulator(str(file))
        events.Reload()
        tags |= set(events.Tags()["scalars"])
    assert {tag for tag in tags if tag.startswith("final/")} == {"final/test_acc"}
