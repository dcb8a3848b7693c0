from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from dlk.errors import ConfigError, DataError
from dlk.fit import load_fit
from dlk.testing import ConfigConformance


class TestConformance(ConfigConformance):
    component = ("fit", "")
    config: ClassVar = {
        "processed_data_dir": "data",
        "@trainer@lightning": {},
        "@datamodule@default": {"@dataset@default": {"key_type_pairs": {"ids": "long"}}},
        "@imodel@default": {
            "@model@basic": {"@embedding@identity": {}},
            "@loss@identity": {},
            "@optimizer@adamw": {},
            "@postprocessor@identity": {},
        },
    }


def edit(toy, **changes):
    config = json.loads(toy.fit_config.read_text())
    config["@fit"].update(changes)
    toy.fit_config.write_text(json.dumps(config))


def test_numbers_that_process_learnt_can_be_referred_to(toy):
    from dlk.config import child

    fit = load_fit(toy.fit_config).one().root("fit")
    decoder = child(child(child(fit, "imodel"), "model"), "decoder")
    assert decoder.output_size == 3


def test_folders_are_relative_to_the_config(toy, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    fit = load_fit(toy.fit_config).one().root("fit")
    assert (fit.processed_data_dir, fit.log_dir) == (str(toy.processed), str(toy.logs))


def test_runs_go_to_logs_where_nothing_is_said(toy):
    config = json.loads(toy.fit_config.read_text())
    del config["@fit"]["log_dir"], config["@fit"]["seed"]
    toy.fit_config.write_text(json.dumps(config))
    fit = load_fit(toy.fit_config).one().root("fit")
    assert Path(fit.log_dir) == toy.folder / "logs"
    assert (fit.seed, fit.hp_metrics, dict(fit.specific)) == (1, None, {})


def test_the_data_can_be_chosen_by_an_override(toy, raw_toy):
    with pytest.raises(DataError, match="nowhere holds no"):
        load_fit(toy.fit_config, ["processed_data_dir=nowhere"])


@pytest.mark.parametrize("value", ["@lambda _: 'x'", "???"])
def test_the_data_folder_is_a_plain_path(toy, value):
    edit(toy, processed_data_dir=value)
    with pytest.raises(ConfigError, match=r"processed_data_dir.*a plain path"):
        load_fit(toy.fit_config)


def test_a_file_without_fit_says_so(toy):
    with pytest.raises(ConfigError, match='expected "@fit" at the top'):
        load_fit(toy.process_config)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_a_seed_is_one_that_numpy_takes(toy, seed):
    edit(toy, seed=seed)
    with pytest.raises(ConfigError, match="seed"):
        load_fit(toy.fit_config).one()


def test_two_values_of_one_short_name_are_refused(toy):
    edit(toy, specific={"seed": "x", "imodel.optimizer.lr": "x"})
    with pytest.raises(ConfigError, match="share a short name"):
        load_fit(toy.fit_config).one()
