import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.errors import ConfigError, DataError
from dlk.nn.layer.embedding.static import StaticEmbedding
from dlk.registry import register
from dlk.testing import EmbeddingConformance

MATRIX = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
IDS = torch.tensor([[3, 1, 0]])
BATCH = {"input_ids": IDS, "attention_mask": IDS != 0}


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "vectors.npy", MATRIX)
    return tmp_path / "vectors.npy"


def embedding(file, *, pretrained: bool = True, **changes: object) -> StaticEmbedding:
    values = {"vocab_size": 6, "embedding_dim": 4, "embedding_file": str(file), **changes}
    return register.build(make("embedding", "static", values), Setup.empty(pretrained=pretrained))


class TestConformance(EmbeddingConformance):
    component = ("embedding", "static")

    @pytest.fixture(autouse=True)
    def values(self, file):
        self.config = {"vocab_size": 6, "embedding_dim": 4, "embedding_file": str(file)}


class TestConformanceFromMeta(EmbeddingConformance):
    component = ("embedding", "static")
    config = {"vocab_size": 6, "embedding_dim": 4, "embedding_meta": "vectors.npy"}

    def setup(self, *, pretrained: bool = True, seed: int = 0) -> Setup:
        return Setup(self.meta, pretrained=pretrained, seed=seed)

    @pytest.fixture(autouse=True)
    def learnt(self, tmp_path):
        self.meta = Meta(tmp_path / "meta")
        self.meta.put_start("vectors.npy", {}, lambda handle: np.save(handle, MATRIX))


class TestConformanceFrozen(EmbeddingConformance):
    component = ("embedding", "static")
    frozen = ("embedding",)

    @pytest.fixture(autouse=True)
    def values(self, file):
        self.config = {
            "vocab_size": 6,
            "embedding_dim": 4,
            "embedding_file": str(file),
            "freeze": True,
        }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_a_npy_matrix_of_any_number_type_is_read(tmp_path, dtype):
    matrix = (MATRIX * 10).astype(dtype)
    np.save(tmp_path / "m.npy", matrix)
    weight = embedding(tmp_path / "m.npy", padding_idx=None).embedding.weight
    assert torch.equal(weight, torch.from_numpy(matrix.astype(np.float32)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_safetensors_matrix_is_read(tmp_path, dtype):
    matrix = torch.from_numpy(MATRIX).to(dtype)
    save_file({"weight": matrix}, tmp_path / "m.safetensors")
    weight = embedding(tmp_path / "m.safetensors", padding_idx=None).embedding.weight
    assert torch.equal(weight, matrix.float())


def test_the_padding_row_becomes_zero(file):
    weight = embedding(file).embedding.weight
    assert not weight[0].any()
    assert torch.equal(weight[1:], torch.from_numpy(MATRIX[1:]))


def test_frozen_vectors_do_not_learn_and_others_do(file):
    assert not embedding(file, freeze=True).embedding.weight.requires_grad
    layer = embedding(file)
    layer(BATCH)["embedding"].sum().backward()
    assert layer.embedding.weight.grad[3].all()


def test_a_file_of_the_meta_folder_is_read_and_named_in_the_signature(tmp_path):
    meta = Meta(tmp_path / "meta")
    meta.put_start("vectors.npy", {}, lambda handle: np.save(handle, MATRIX))
    values = {"vocab_size": 6, "embedding_dim": 4, "embedding_meta": "vectors.npy"}
    config = make("embedding", "static", values)
    assert config.signature().meta == ("vectors.npy",)
    weight = register.build(config, Setup(meta)).embedding.weight
    assert torch.equal(weight[1:], torch.from_numpy(MATRIX[1:]))
    with pytest.raises(DataError, match=r'Did you mean "vectors.npy"'):
        register.build(
            make("embedding", "static", {**values, "embedding_meta": "vector.npy"}), Setup(meta)
        )


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "neither"), ({"embedding_file": "a.npy", "embedding_meta": "b.npy"}, "both")],
)
def test_the_vectors_have_one_source(given, found):
    with pytest.raises(ConfigError, match=f"embedding_file or embedding_meta, got {found}"):
        make("embedding", "static", {"vocab_size": 6, "embedding_dim": 4, **given})


def test_what_is_built_from_a_checkpoint_needs_no_file(tmp_path):
    assert embedding(tmp_path / "gone.npy", pretrained=False).embedding.weight.shape == (6, 4)


def test_a_missing_file_is_named_with_its_neighbour(file):
    with pytest.raises(DataError, match=r'no file ".*vector\.npy"\. Did you mean ".*vectors\.npy"'):
        embedding(file.with_name("vector.npy"))


def test_a_matrix_of_another_shape_is_refused(file):
    with pytest.raises(DataError, match=r"vocab_size 7, embedding_dim 4\), got \(6, 4\)"):
        embedding(file, vocab_size=7)


def test_a_pickle_is_never_opened(tmp_path):
    np.save(tmp_path / "m.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"no matrix in \.npy format"):
        embedding(tmp_path / "m.npy")


@pytest.mark.parametrize("name", ["m.npy", "m.safetensors"])
def test_a_file_that_is_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"these are no vectors")
    with pytest.raises(DataError, match=r"is no "):
        embedding(tmp_path / name)


def test_text_vectors_are_refused(tmp_path):
    (tmp_path / "glove.txt").write_text("the 0.1 0.2")
    with pytest.raises(DataError, match=r"neither \.npy nor \.safetensors"):
        embedding(tmp_path / "glove.txt")


def test_two_tensors_in_one_file_are_refused(tmp_path):
    save_file({"a": torch.zeros(6, 4), "b": torch.zeros(6, 4)}, tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="must hold one tensor, it holds 2: a, b"):
        embedding(tmp_path / "m.safetensors")


def test_words_instead_of_numbers_are_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.array([["a"] * 4] * 6))
    with pytest.raises(DataError, match="holds no numbers"):
        embedding(tmp_path / "m.npy")


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.full((6, 4), np.nan))
    with pytest.raises(DataError, match="not finite"):
        embedding(tmp_path / "m.npy")


def test_a_model_does_not_draw_over_the_vectors(file):
    part = {"vocab_size": 6, "embedding_dim": 4, "embedding_file": str(file), "padding_idx": None}
    model = register.build(make("model", "basic", {"@embedding@static": part}), Setup.empty())
    assert torch.equal(model.embedding.embedding.weight, torch.from_numpy(MATRIX))
