"""What torch is set to during a run: exactness of products, compiling, device checks."""

from __future__ import annotations

import os

import pytest
import torch

from dlk.checkpoint import read_weights
from dlk.config import make
from dlk.errors import ConfigError
from dlk.predict import Predict

pytestmark = pytest.mark.once

PLAIN = ("trainer.max_steps=3", "imodel.model.decoder.dropout=0.0")


@pytest.fixture
def programs(monkeypatch):
    """Name a backend that runs what it is given as it is, and how often it was given anything."""
    given = []

    def backend(graph, inputs):
        given.append(graph)
        return graph.forward

    torch._dynamo.reset()
    registry = torch._dynamo.backends.registry
    for table, value in (
        (registry._BACKENDS, None),
        (registry._COMPILER_FNS, backend),
        (registry._BACKEND_TAGS, ()),
    ):
        monkeypatch.setitem(table, "as_it_is", value)
    yield given
    torch._dynamo.reset()


@pytest.fixture
def precision(monkeypatch):
    """The exactness of products in each step and each batch of an evaluation."""
    from dlk.imodel.default import DefaultIModel

    seen = []
    real = DefaultIModel.compute

    def compute(self, batch):
        seen.append((self.trainer.state.fn.value, torch.get_float32_matmul_precision()))
        return real(self, batch)

    monkeypatch.setattr(DefaultIModel, "compute", compute)
    return seen


@pytest.mark.parametrize("value", ["high", "medium"])
def test_products_are_as_exact_as_asked_for_during_the_run_only(toy, precision, value):
    before = torch.get_float32_matmul_precision()
    toy.train(f"trainer.matmul_precision={value}", "trainer.max_steps=2")
    assert {fn for fn, _ in precision} == {"fit", "test"}
    assert {set_to for _, set_to in precision} == {value}
    assert torch.get_float32_matmul_precision() == before


def test_products_are_as_exact_as_before_after_a_run_that_fails(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    before = torch.get_float32_matmul_precision()
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    monkeypatch.setattr(DefaultIModel, "on_train_epoch_start", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        toy.train("trainer.matmul_precision=medium")
    assert torch.get_float32_matmul_precision() == before


def test_products_stay_as_torch_is_set_where_nothing_is_said(toy, precision):
    toy.train("trainer.max_steps=1")
    assert {set_to for _, set_to in precision} == {torch.get_float32_matmul_precision()}


def test_an_unknown_exactness_is_refused():
    with pytest.raises(ConfigError, match=r"matmul_precision: .*\"low\""):
        make("trainer", "lightning", {"matmul_precision": "low"})


@pytest.mark.slow
def test_a_compiled_model_is_trained_saved_and_served_under_its_own_names(toy, programs):
    plain = toy.train(*PLAIN)
    compiled = toy.train(*PLAIN, "trainer.compile=true", "trainer.compile_backend=as_it_is")
    assert programs
    checkpoints = [
        read_weights(f"{run.dir}/{run.weights.rpartition(', ')[2]}") for run in (plain, compiled)
    ]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for name, tensor in checkpoints[0].items():
        assert torch.equal(tensor, checkpoints[1][name]), name
    rows = toy.rows("test")
    assert Predict(compiled.bundle).run(rows) == Predict(plain.bundle).run(rows)
    assert {k: v for k, v in compiled.metrics.items() if "loss" in k} == pytest.approx(
        {k: v for k, v in plain.metrics.items() if "loss" in k}
    )


@pytest.mark.slow
def test_gradients_of_a_compiled_model_are_compiled_too(toy):
    torch._dynamo.reset()
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    plain = toy.train(*PLAIN)
    compiled = toy.train(
        *PLAIN,
        "trainer.compile=true",
        "trainer.compile_backend=aot_eager",
        "trainer.compile_dynamic=true",
    )
    assert compiled.metrics["val_loss"] == pytest.approx(plain.metrics["val_loss"], rel=1e-5)
    torch._dynamo.reset()


def test_nothing_is_compiled_unless_asked_for(toy, programs, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: 1 / 0)
    toy.train("trainer.max_steps=1")


def test_how_to_compile_is_handed_on(toy, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: seen.append(options))
    toy.drop("valid", "test")
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    toy.train(
        "trainer.max_steps=1",
        "trainer.compile=true",
        "trainer.compile_mode=max-autotune",
        "trainer.compile_dynamic=false",
    )
    assert seen == [{"mode": "max-autotune", "dynamic": False, "backend": "inductor"}]


@pytest.mark.parametrize(
    ("name", "value"),
    [("compile_mode", "default"), ("compile_dynamic", True), ("compile_backend", "eager")],
)
def test_how_to_compile_needs_compile(name, value):
    with pytest.raises(ConfigError, match=f"{name}: says how to compile, and compile is false"):
        make("trainer", "lightning", {name: value})


def test_a_backend_that_is_not_there_is_a_mistake_of_the_config(toy):
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    with pytest.raises(ConfigError, match=r"trainer\.compile: the model cannot be compiled: .*nix"):
        toy.train("trainer.compile=true", "trainer.compile_backend=nix")


def test_a_backend_that_fails_is_a_mistake_of_the_config(toy, programs, monkeypatch):
    def fail(graph, inputs):
        raise RuntimeError("no compiler of this shape")

    monkeypatch.setitem(torch._dynamo.backends.registry._COMPILER_FNS, "as_it_is", fail)
    toy.edit({"@trainer@lightning/@callback@checkpoint": None})
    with pytest.raises(ConfigError, match=r"trainer\.compile: .*no compiler of this shape"):
        toy.train("trainer.compile=true", "trainer.compile_backend=as_it_is")


def test_a_run_on_the_cpu_does_not_look_for_gpus_in_each_step(toy, monkeypatch):
    from dlk.imodel.default import DefaultIModel

    name = "PYTORCH_NVML_BASED_CUDA_CHECK"
    monkeypatch.setenv(name, "1")
    seen = []
    monkeypatch.setattr(
        DefaultIModel, "on_before_zero_grad", lambda self, optimizer: seen.append(os.environ[name])
    )
    toy.train("trainer.max_steps=2")
    assert (set(seen), os.environ[name]) == ({"0"}, "1")
