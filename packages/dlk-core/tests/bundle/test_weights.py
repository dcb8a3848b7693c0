from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from dlk.bundle.weights import load_state, save_state
from dlk.errors import BundleError


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 4)
        self.out = nn.Linear(4, 50, bias=False)
        self.out.weight = self.words.weight
        self.register_buffer("small", torch.arange(3, dtype=torch.float16))
        self.register_buffer("empty", torch.zeros(0, 2))
        self.register_buffer("empty_too", torch.zeros(0, 2))


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = Tied().state_dict()
    save_state(state, tmp_path / "w.safetensors")
    loaded = load_state(tmp_path / "w.safetensors")
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_tied_weights_are_stored_once(tmp_path):
    save_state(Tied().state_dict(), tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert len([n for n in file.keys() if n in ("words.weight", "out.weight")]) == 1  # noqa: SIM118
        assert json.loads(file.metadata()["aliases"]) == {"out.weight": "words.weight"}
    assert (tmp_path / "w.safetensors").stat().st_size < 50 * 4 * 4 * 2


def test_views_of_one_storage_stay_themselves(tmp_path):
    whole = torch.arange(6.0)
    state = {"left": whole[:3], "right": whole[3:], "turned": whole.view(2, 3).T}
    save_state(state, tmp_path / "w.safetensors")
    loaded = load_state(tmp_path / "w.safetensors")
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_equal_weights_make_equal_files(tmp_path):
    state = Tied().state_dict()
    for name in ("a", "b"):
        save_state(state, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(BundleError, match=r"there are no weights .*w\.safetensors"):
        load_state(tmp_path / "w.safetensors")


@given(content=st.binary(max_size=64))
def test_a_foreign_file_is_an_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("w") / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        load_state(file)


def test_an_alias_of_nothing_is_an_error(tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={"aliases": '{"b": "c"}'})
    with pytest.raises(BundleError, match="b stands for c"):
        load_state(file)


@pytest.mark.parametrize("aliases", ["[1]", "null", '{"b": ["a"]}', "nope", "[" * 100_000])
def test_aliases_of_another_shape_are_an_error(tmp_path, aliases):
    from safetensors.torch import save_file

    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={"aliases": aliases})
    with pytest.raises(BundleError, match="is damaged"):
        load_state(file)
