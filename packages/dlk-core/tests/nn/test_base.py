import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from dlk.errors import DlkError
from dlk.nn.base import Batch, Module, chain, merge


class Add(Module):
    """Adds a number to what it reads."""

    def __init__(self, by: float, *, reads: str = "x", writes: str = "y") -> None:
        super().__init__(SimpleNamespace(input_map={"x": reads}, output_map={"y": writes}))
        self.by = by

    def forward(self, x: Batch) -> dict[str, Tensor]:
        return self.write(y=self.read(x, "x") + self.by)

    def predict(self, x: Batch) -> dict[str, Tensor]:
        return {"seen_in_predict": x[next(iter(self.writes))]}


def test_a_module_reads_and_writes_through_its_maps():
    assert Add(1, reads="a", writes="b")({"a": torch.zeros(1)}) == {"b": torch.ones(1)}


def test_a_missing_name_is_reported_with_the_names_there_are():
    with pytest.raises(DlkError, match=r'reads "embeding".*input_map.*embedding'):
        Add(1, reads="embeding")({"embedding": torch.zeros(1)})


def test_optional_is_none_for_an_absent_name_and_for_an_empty_map():
    module, absent = Add(1), Add(1, reads="")
    assert module.optional({}, "x") is None
    assert absent.optional({"x": torch.zeros(1), "": torch.zeros(1)}, "x") is None
    assert module.optional({"x": torch.zeros(1)}, "x") == 0


def test_an_output_mapped_to_nothing_is_left_out():
    assert Add(1, writes="")({"x": torch.zeros(1)}) == {}


def test_merging_changes_neither_batch_nor_result_and_cannot_be_written():
    batch, new = {"x": torch.zeros(1)}, {"y": torch.ones(1)}
    merged = merge(batch, new, writer=Add(1))
    assert dict(merged) == {"x": 0, "y": 1}
    assert (list(batch), list(new), len(merged)) == (["x"], ["y"], 2)
    assert "x" in merged
    assert "z" not in merged
    with pytest.raises(TypeError):
        merged["z"] = torch.zeros(1)  # type: ignore[index]
    with pytest.raises(KeyError):
        merged["z"]


def test_replacing_a_name_needs_the_output_map():
    declared, undeclared = Add(1, writes="x"), Add(1)
    batch = {"x": torch.zeros(1)}
    assert merge(batch, {"x": torch.ones(1)}, writer=declared)["x"] == 1
    with pytest.raises(DlkError, match="writes x, which the batch already holds"):
        merge(batch, {"x": torch.ones(1)}, writer=undeclared)


def test_a_chain_hands_on_what_was_written_and_returns_all_of_it():
    written = chain([Add(1), Add(10, reads="y", writes="z")], {"x": torch.zeros(1)})
    assert written == {"y": 1, "z": 11}


def test_later_writers_stand_on_top():
    written = chain([Add(1, writes="x"), Add(10, writes="x")], {"x": torch.zeros(1)})
    assert written == {"x": 11}


def test_predict_runs_on_the_result_of_forward():
    modules = [Add(1)]
    batch = {"x": torch.zeros(1)}
    forward = merge(batch, chain(modules, batch), writer=modules[0])
    assert chain(modules, forward, call="predict") == {"seen_in_predict": 1}


def test_a_merged_batch_reads_only_the_names_asked_for():
    read = []

    class Recorded(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            read.append(name)
            return super().__getitem__(name)

    batch = Recorded(x=torch.zeros(1), other=torch.zeros(1))
    chain([Add(1), Add(1, reads="y", writes="z")], batch)
    assert read == ["x"]


def test_importing_the_package_loads_no_torch():
    code = "import sys, dlk.nn, dlk.nn.loss; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
