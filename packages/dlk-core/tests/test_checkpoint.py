from __future__ import annotations

import pickle

import pytest
import torch

from dlk.checkpoint import read_checkpoint, read_weights
from dlk.errors import BundleError, RunError
from dlk.fit import load_fit, load_meta


def test_weights_are_those_of_the_model_by_its_own_names(trained):
    weights = read_weights(trained.checkpoint)
    state = read_checkpoint(trained.checkpoint)["state_dict"]
    assert set(weights) == {
        "embedding.embedding.weight",
        "decoder.linear.weight",
        "decoder.linear.bias",
    }
    assert all(torch.equal(weights[name], state[f"model.{name}"]) for name in weights)


def test_a_bundles_weights_are_read_too(trained):
    weights = read_weights(str(trained.bundle / "model.safetensors"))
    assert weights.keys() == read_weights(trained.checkpoint).keys()


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RunError, match=r"there is no checkpoint .*x\.ckpt"):
        read_weights(str(tmp_path / "x.ckpt"))
    with pytest.raises(BundleError, match="there are no weights"):
        read_weights(str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("cut", [0, 100, -20])
def test_a_cut_checkpoint_is_an_error(trained, tmp_path, cut):
    with open(trained.checkpoint, "rb") as handle:
        content = handle.read()
    (tmp_path / "x.ckpt").write_bytes(content[:cut])
    with pytest.raises(RunError, match="no checkpoint"):
        read_weights(str(tmp_path / "x.ckpt"))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").mkdir, ())

    torch.save({"state_dict": {}, "more": Bomb()}, tmp_path / "x.ckpt")
    with pytest.raises(RunError, match="no checkpoint that can be read safely"):
        read_weights(str(tmp_path / "x.ckpt"))
    (tmp_path / "y.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(RunError):
        read_weights(str(tmp_path / "y.ckpt"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}])
def test_a_file_of_something_else_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(RunError, match="it holds no state_dict"):
        read_weights(str(tmp_path / "x.ckpt"))


def test_meta_comes_from_the_processed_data(toy):
    assert load_meta(str(toy.processed)).numbers()["label_vocab"]["size"] == 3
    fit = load_fit(toy.fit_config).one().root("fit")
    assert fit.processed_data_dir == str(toy.processed)
