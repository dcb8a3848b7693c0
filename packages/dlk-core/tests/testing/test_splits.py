"""Processors, datasets and data modules that are wrong on purpose fail the check meant for them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from dlk.config import cregister
from dlk.data.datamodule.configs import DefaultDataModuleConfig
from dlk.data.datamodule.default import DefaultDataModule
from dlk.data.dataset.configs import DefaultDatasetConfig
from dlk.data.dataset.default import DefaultDataset
from dlk.data.processor.base import Online
from dlk.data.processor.configs import DefaultProcessorConfig
from dlk.data.processor.default import DefaultProcessor
from dlk.data.ragged import Ragged
from dlk.registry import register
from dlk.testing import DataModuleConformance, DatasetConformance, ProcessorConformance
from dlk.testing.data import tiny_tokenizer

ROWS = {"ids": [[1, 2], [], [3], [4, 5, 6], [7]], "label": [0, 1, 0, 1, 1]}
TYPES = {"key_type_pairs": {"ids": "long", "label": "long"}}


class Datasets(DatasetConformance):
    config: ClassVar = TYPES
    columns: ClassVar = ROWS


class Modules(DataModuleConformance):
    config: ClassVar = {"predict_batch_size": 2, "@dataset@default": TYPES}
    columns: ClassVar = ROWS


class Processors(ProcessorConformance):
    data: ClassVar = {"train": {"sentence": ["a b", "c"]}, "valid": {"sentence": ["d"]}}
    bad: ClassVar = {"sentence": [None]}

    def values(self, folder):
        path = tiny_tokenizer(folder / "tokenizer.json")
        return {"@subprocessor@fast_tokenizer": {"tokenizer_path": path}}


def checks(base: type, family: str, fault: type, made: type, config: type) -> type:
    """Return the conformance class of a component with a fault."""
    name = fault.__name__.lower()
    if (family, name) not in register:
        shown = type(config.__name__, (config,), {"__doc__": "An option class of a test."})
        cregister(family, name)(shown)
        register(family, name)(type(fault.__name__, (fault, made), {}))
    return type("Checks", (base,), {"component": (family, name)})


def failures(conformance: type, folder) -> dict[str, str]:
    """Return the messages of the checks that fail, each run in a folder of its own."""
    found = {}
    for number, name in enumerate(dir(conformance)):
        if name.startswith("test_") and "field" not in name and "config" not in name:
            test = conformance()
            test.folder = folder / str(number)
            test.folder.mkdir()
            test.config = test.values(test.folder)
            try:
                getattr(test, name)()
            except (AssertionError, pytest.fail.Exception, IndexError) as error:
                found[name.removeprefix("test_")] = str(error)
    return found


class Right:
    """No fault at all."""


class AsksInFloats:
    def items(self, columns, *, depths):
        made = super().items(columns, depths=depths)
        return {n: c if n == "_index" else c.astype(np.float32) for n, c in made.items()}


class InventsWhatIsAbsent:
    def items(self, columns, *, depths):
        made = super().items(columns, depths=depths)
        size = len(next(iter(columns.values())))
        return {"label": Ragged(np.zeros(size, dtype=np.int64)), **made}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Right, set()),
        (AsksInFloats, {"a_request_gives_the_bits_that_the_store_gives"}),
        (InventsWhatIsAbsent, {"absent_columns_are_left_out_where_the_data_is_partial"}),
    ],
)
def test_a_faulty_dataset_is_found(fault, found, tmp_path):
    made = checks(Datasets, "dataset", fault, DefaultDataset, DefaultDatasetConfig)
    assert set(failures(made, tmp_path)) == found


class ShufflesEvaluation:
    def loader(self, name, **place):
        made = super().loader(name, **place)
        return made if name == "train" or made is None else list(made)[::-1]


class GivesEachRankAllRows:
    def loader(self, name, *, rank=None, world_size=None):
        return super().loader(name)


class CastsRequests:
    def batch(self, columns):
        return {n: t.to(torch.int32) for n, t in super().batch(columns).items()}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Right, set()),
        (ShufflesEvaluation, {"evaluation_goes_in_row_order_over_all_rows"}),
        (GivesEachRankAllRows, {"ranks_share_the_rows"}),
        (CastsRequests, {"a_request_gives_the_bits_of_the_loader"}),
    ],
)
def test_a_faulty_data_module_is_found(fault, found, tmp_path):
    made = checks(Modules, "datamodule", fault, DefaultDataModule, DefaultDataModuleConfig)
    assert set(failures(made, tmp_path)) == found


class CutsRequests:
    def online(self, columns):
        made = super().online(columns)
        cut = {n: [v[:1] for v in c] if n == "input_ids" else c for n, c in made.columns.items()}
        return Online(cut, made.errors)


class ChangesItsData:
    def fit_transform(self, data, out_dir):
        report = super().fit_transform(data, out_dir)
        data["train"]["sentence"].append("more")
        return report


class SwallowsErrors:
    def online(self, columns):
        return Online(super().online(columns).columns)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (Right, set()),
        (CutsRequests, {"a_request_gets_what_training_got"}),
        (ChangesItsData, {"the_data_is_not_changed"}),
        (SwallowsErrors, {"a_bad_row_of_a_request_is_an_error_at_its_place"}),
    ],
)
def test_a_faulty_processor_is_found(fault, found, tmp_path):
    made = checks(Processors, "processor", fault, DefaultProcessor, DefaultProcessorConfig)
    assert set(failures(made, tmp_path)) == found
