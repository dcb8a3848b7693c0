"""Bundles that are sealed properly and mean harm: refused, or they work; none reads outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlk.bundle import Bundle
from dlk.bundle._building import Building
from dlk.bundle.weights import load_state, save_state
from dlk.errors import BundleError

pytestmark = pytest.mark.once

FUZZ = Path(__file__).parent / "hostile_fuzz.py"


def model_of(config):
    return config["@fit"]["@imodel@default"]["@model@basic"]


def change(folder, name, edit, seal):
    config = json.loads((folder / name).read_text())
    edit(config)
    (folder / name).write_text(json.dumps(config))
    seal(folder)


@pytest.mark.parametrize("size", [10**9, 10**15])
def test_a_width_out_of_all_proportion_is_refused_before_memory_is_asked_for(small, seal, size):
    def edit(config):
        model_of(config)["@embedding@random"]["embedding_dim"] = size
        model_of(config)["@decoder@linear"]["input_size"] = size

    change(small, "fit.json", edit, seal)
    with pytest.raises(BundleError, match="far larger than the weights in the bundle"):
        Bundle(small).engine()


def test_a_vocabulary_out_of_all_proportion_is_refused(small, seal):
    def edit(config):
        model_of(config)["@embedding@random"]["vocab_size"] = 10**10

    change(small, "fit.json", edit, seal)
    with pytest.raises(BundleError, match="far larger than the weights"):
        Bundle(small).engine()


@pytest.mark.parametrize(
    ("make", "cost"),
    [
        (lambda: torch.empty(2**20, 2**20), "size"),
        (lambda: torch.zeros((2**20, 2**20)), "tuple"),
        (lambda: torch.full((2**20, 2**20), 1.0), "full"),
        (lambda: torch.arange(2**40), "arange"),
        (lambda: torch.eye(2**20), "eye"),
        (lambda: torch.ones(1).repeat(2**20, 2**20), "repeat"),
        (lambda: torch.ones(1).new_zeros(2**40), "new"),
        (lambda: torch.randn(size=(2**40,)), "keyword"),
        (lambda: torch.linspace(0, 1, 2**40), "linspace"),
        (lambda: torch.nn.Linear(2**20, 2**20), "module"),
    ],
)
def test_every_way_to_ask_for_much_is_counted(make, cost):
    with Building(tensors=3, numbers=200), pytest.raises(BundleError, match="far larger"):
        make()


def test_many_small_tensors_are_counted(monkeypatch):
    monkeypatch.setattr("dlk.bundle._building._FREE_TENSORS", 50)
    with Building(tensors=1, numbers=200), pytest.raises(BundleError, match="far larger"):
        [torch.empty(1) for _ in range(100)]


def test_start_values_are_left_out_and_the_weights_are_those_of_the_file(small):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    engine = Bundle(small).engine()
    assert torch.equal(torch.get_rng_state(), before)
    state = load_state(small / "model.safetensors")
    for name, tensor in engine.model.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_outside_of_building_start_values_are_drawn():
    with Building(tensors=1, numbers=1):
        inside = torch.nn.Linear(4, 4).weight
    assert inside.count_nonzero() == 0
    assert inside.requires_grad
    assert torch.nn.Linear(4, 4).weight.count_nonzero() > 0


@pytest.mark.parametrize("what", ["missing", "extra", "shape"])
def test_weights_that_are_not_those_of_the_model_are_named(small, seal, what):
    state = load_state(small / "model.safetensors")
    state = {name: tensor.clone() for name, tensor in state.items()}
    first = min(state)
    if what == "missing":
        del state[first]
    elif what == "extra":
        state["extra"] = torch.zeros(1)
    else:
        state[first] = torch.zeros(3, 5, 7)
    save_state(state, small / "model.safetensors")
    seal(small)
    with pytest.raises(BundleError, match="extra" if what == "extra" else first):
        Bundle(small).engine()


def test_a_file_that_changes_while_it_is_loaded_is_noticed(small, monkeypatch):
    from dlk.inference import Engine

    bundle, build = Bundle(small), Engine.build

    def slow(*args, **options):
        made = build(*args, **options)
        (small / "meta" / "tokenizer.json").write_text("{}")
        return made

    monkeypatch.setattr(Engine, "build", slow)
    with pytest.raises(BundleError, match=r"meta/tokenizer\.json was changed while it was loaded"):
        bundle.engine()


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc", "a/b", "a\0b", "x" * 100_000, "torch\x1b[2J"]
)
def test_odd_names_of_distributions_are_versions_that_are_not_here(small, seal, name, capsys):
    from dlk.cli import main

    seal(small, distributions={name: "1"})
    assert main(["bundle", "verify", str(small)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "here none" in said


def test_a_tokenizer_that_panics_harms_its_row_alone(small, seal):
    """Patterns of a tokenizer may try without end; Oniguruma gives up, and that is a panic."""
    path = small / "meta" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"] = None
    tokenizer["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    path.write_text(json.dumps(tokenizer))
    seal(small)
    good, bad = Bundle(small).engine().predict({"sentence": ["the cat", "a" * 40 + "b"]})
    assert "logits" in good
    assert "PanicException" in bad.reason


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1" + "0" * 400 + ".0", "1e999"])
@pytest.mark.parametrize("name", ["fit.json", "golden.jsonl", "bundle.json"])
def test_a_number_that_no_machine_holds_is_refused(small, seal, name, number):
    path = small / name
    if name == "bundle.json":
        path.write_text(f'{{"schema": {number}}}')
    else:
        path.write_text(f'{{"x": {number}}}\n')
        seal(small)
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        Bundle(small)


def test_rules_between_odd_values_are_the_bundles_fault(small, seal, monkeypatch):
    from dlk.postprocessor.configs import IdentityConfig

    def rules(self):
        raise ZeroDivisionError("a rule")

    monkeypatch.setattr(IdentityConfig, "rules", rules)
    with pytest.raises(BundleError, match="cannot be used: ZeroDivisionError: a rule"):
        Bundle(small).engine()


def test_what_a_component_raises_is_told_as_the_bundles_fault(small, monkeypatch):
    from dlk.nn.model.basic import BasicModel

    def fail(*_, **__):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr(BasicModel, "__init__", fail)
    with pytest.raises(BundleError, match=r"cannot be loaded: ZeroDivisionError: by 0") as caught:
        Bundle(small).engine()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def fuzz(kept, folder, examples):
    done = subprocess.run(
        [sys.executable, str(FUZZ), str(kept), str(folder), str(examples)],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_configs_that_are_changed_anyhow_are_refused_or_work(kept, tmp_path):
    """And nothing outside of the bundle is opened, no code imported that it names."""
    counts = fuzz(kept, tmp_path, 40)
    assert counts["refused"] > 5


@pytest.mark.slow
def test_configs_that_are_changed_anyhow_are_refused_or_work_at_length(kept, tmp_path):
    fuzz(kept, tmp_path, 1500)
