"""The embedding keeps dlk's contract for embeddings, and what its own paper claims."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.errors import ConfigError
from dlk.registry import register
from dlk.testing import EmbeddingConformance
from dlk_bloom.bloom import BloomEmbedding, hashed


def bloom(**changes: object) -> BloomEmbedding:
    settings = {"vocab_size": 300, "rows": 40, "embedding_dim": 8} | changes
    made = register.build(make("embedding", "bloom", settings), Setup(meta=Meta.empty()))
    assert isinstance(made, BloomEmbedding)
    return made


def batch(ids: list[list[int]]) -> dict[str, Tensor]:
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), len(ids[0])) > 0}


class TestConformance(EmbeddingConformance):
    component = ("embedding", "bloom")
    config = {"vocab_size": 300, "rows": 40, "embedding_dim": 8}  # the kit's way


def test_the_table_has_the_rows_asked_for_and_no_more() -> None:
    assert bloom().table.weight.shape == (40, 8)


def test_a_vector_is_the_sum_of_its_hashed_rows() -> None:
    made = bloom(num_hashes=2)
    first, second = hashed(300, 40, 2)[17]
    expected = made.table.weight[first] + made.table.weight[second]
    torch.testing.assert_close(made(batch([[17]]))["embedding"][0, 0], expected)


def test_hashes_never_change() -> None:  # a trained table means nothing under other hashes
    assert hashed(4, 1000, 3).tolist() == [
        [870, 869, 531],
        [700, 122, 885],
        [530, 728, 886],
        [360, 334, 240],
    ]


def test_few_ids_share_all_their_rows() -> None:
    rows = hashed(30_522, 2_000, 3).sort(dim=1).values
    assert len(torch.unique(rows, dim=0)) > 0.99 * 30_522


def test_a_table_as_large_as_the_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most vocab_size"):
        bloom(rows=301)
