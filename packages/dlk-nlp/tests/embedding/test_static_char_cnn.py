"""Words from their characters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.testing import EmbeddingConformance
from dlk.testing.nn import kept_mask

SIZES = {"vocab_size": 12, "embedding_dim": 4}


def char_ids(words: torch.Tensor) -> torch.Tensor:
    """Return ids (B, W, 5) of words with 0 to 5 characters; none where no word is."""
    drawn = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 12, (*words.shape, 5), generator=drawn)
    lengths = torch.randint(0, 6, words.shape, generator=drawn)
    kept = torch.arange(5) < lengths.unsqueeze(-1)
    return ids.where(kept & words.unsqueeze(-1), 0)


def build(*, setup=None, **values):
    torch.manual_seed(0)
    config = make("embedding", "static_char_cnn", {**SIZES, **values})
    return register.build(config, setup or Setup.empty()).eval()


class _CharCnn(EmbeddingConformance):
    component = ("embedding", "static_char_cnn")
    config = SIZES

    def inputs(self, config):
        words = kept_mask()
        ids = char_ids(words)
        return {"char_ids": ids, "attention_mask": words, "char_mask": ids != 0}


class TestConformance(_CharCnn):
    config = {**SIZES, "kernel_sizes": [1, 3, 5], "output_size": 6, "dropout": 0.3}


class TestConformanceCharMask(_CharCnn):
    config = {**SIZES, "padding_idx": None, "input_map": {"char_mask": "char_mask"}}


class TestConformanceFrozen(_CharCnn):
    frozen = ("^embedding",)

    @pytest.fixture(autouse=True)
    def values(self, tmp_path):
        np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(12, 4)))
        self.config = {**SIZES, "embedding_file": str(tmp_path / "v.npy"), "freeze": True}


def by_hand(layer, ids):
    """Return the vector of one word: every window of every kernel, zeros beyond its ends."""
    if not ids:
        return torch.zeros(layer.conv.out_channels)
    found = []
    vectors = layer.embedding.weight[torch.tensor(ids)]
    for kernel in layer.conv.convolutions:
        (size,) = kernel.kernel_size
        beyond = torch.zeros(size // 2, vectors.shape[1])
        wide = torch.cat([beyond, vectors, beyond])
        windows = [
            (kernel.weight * wide[start : start + size].T).sum(dim=(1, 2)) + kernel.bias
            for start in range(len(ids))
        ]
        found.append(gelu(torch.stack(windows)).amax(dim=0))
    return torch.cat(found)


@settings(deadline=None)
@given(
    rows=st.lists(
        st.lists(st.lists(st.integers(1, 11), max_size=6), max_size=4), min_size=1, max_size=3
    ),
    more=st.integers(0, 3),
)
def test_a_word_has_the_largest_value_of_its_own_windows_whatever_the_padding(rows, more):
    layer = build(kernel_sizes=[1, 5], output_size=6)
    width = max(len(row) for row in rows) + more
    longest = max((len(word) for row in rows for word in row), default=0) + more
    ids = torch.zeros(len(rows), width, longest, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        mask[i, : len(row)] = True
        for j, word in enumerate(row):
            ids[i, j, : len(word)] = torch.tensor(word, dtype=torch.long)
    with torch.no_grad():
        out = layer({"char_ids": ids, "attention_mask": mask})
        for i, row in enumerate(rows):
            for j in range(width):
                expected = by_hand(layer, row[j] if j < len(row) else [])
                torch.testing.assert_close(out["embedding"][i, j], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(out["embedding_mask"], mask)


def test_kernels_are_joined_on_the_channel_axis():
    layer = build(kernel_sizes=[1, 3, 5], output_size=12)
    words = kept_mask()
    out = layer({"char_ids": char_ids(words), "attention_mask": words})["embedding"]
    assert out.shape == (3, 7, 12)
    assert build()({"char_ids": char_ids(words), "attention_mask": words})["embedding"].shape == (
        *(3, 7),
        SIZES["embedding_dim"],
    )


def test_words_that_are_not_kept_are_zero_even_with_characters():
    words = torch.tensor([[True, False]])
    ids = torch.ones(1, 2, 3, dtype=torch.long)
    out = build()({"char_ids": ids, "attention_mask": words})["embedding"]
    assert out[0, 0].any()
    assert not out[0, 1].any()


def test_padding_may_have_any_id():
    words = kept_mask()
    ids = char_ids(words)
    layer, other = build(), build(padding_idx=11)
    with torch.no_grad():
        other.embedding.weight.copy_(layer.embedding.weight.roll(-1, 0))
        other.conv.load_state_dict(layer.conv.state_dict())
    moved = (ids - 1).where(ids != 0, 11)
    first = layer({"char_ids": ids, "attention_mask": words})["embedding"]
    second = other({"char_ids": moved, "attention_mask": words})["embedding"]
    assert torch.equal(first, second)


def test_no_half_precision_overflow_reaches_words_without_characters():
    words = torch.tensor([[True, True]])
    ids = torch.tensor([[[1, 2], [0, 0]]])
    out = build().half()({"char_ids": ids, "attention_mask": words})["embedding"]
    assert out.isfinite().all()
    assert not out[0, 1].any()


@pytest.mark.parametrize("source", ["embedding_file", "embedding_meta"])
def test_start_values_of_a_file_stay_when_a_model_is_built(tmp_path, source):
    matrix = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    meta = Meta(tmp_path / "meta")
    meta.put_start("chars.npy", {}, lambda handle: np.save(handle, matrix))
    path = meta.path("chars.npy") if source == "embedding_file" else "chars.npy"
    part = {**SIZES, source: path, "dropout": 0.1}
    model = make("model", "basic", {"@embedding@static_char_cnn": part})
    layer = register.build(model, Setup(meta)).embedding
    assert torch.equal(layer.embedding.weight[1:], torch.from_numpy(matrix[1:]))
    assert not layer.embedding.weight[0].any()
    assert layer.embedding.weight.requires_grad
    assert make("embedding", "static_char_cnn", part).signature().meta == (
        ("chars.npy",) if source == "embedding_meta" else ()
    )


def test_dropout_falls_on_characters_in_training_only():
    words = kept_mask()
    batch = {"char_ids": char_ids(words), "attention_mask": words}
    layer = build(dropout=0.5)
    assert torch.equal(layer(batch)["embedding"], layer(batch)["embedding"])
    layer.train()
    assert not torch.equal(layer(batch)["embedding"], layer(batch)["embedding"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel_sizes": [2]}, "odd numbers"),
        ({"kernel_sizes": []}, "odd numbers"),
        ({"kernel_sizes": [1, 3, 5]}, "3 kernels cannot share a width of 4"),
        ({"padding_idx": 12}, "below vocab_size"),
        ({"padding_idx": None}, "char_mask"),
        ({"freeze": True}, "random vectors have to learn"),
        ({"embedding_file": "a.npy", "embedding_meta": "b.npy"}, "got both"),
    ],
)
def test_options_that_do_not_fit_are_config_errors(values, message):
    with pytest.raises(ConfigError, match=message):
        make("embedding", "static_char_cnn", {**SIZES, **values})


def test_characters_of_another_number_of_words_are_named():
    words = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(DlkError, match=r"for each word.*got \(2, 2, 5\) and \(2, 3\)"):
        build()({"char_ids": char_ids(words)[:, :2], "attention_mask": words})
