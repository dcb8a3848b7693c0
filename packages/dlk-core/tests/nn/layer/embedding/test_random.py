from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.nn.layer.embedding.random import RandomEmbedding
from dlk.registry import register
from dlk.testing import EmbeddingConformance

IDS = torch.tensor([[3, 1, 0], [2, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": IDS != 0}


def embedding(**changes: object) -> RandomEmbedding:
    config = make("embedding", "random", {"vocab_size": 5, "embedding_dim": 4, **changes})
    return register.build(config, Setup.empty())


class TestConformance(EmbeddingConformance):
    component = ("embedding", "random")
    config: ClassVar = {"vocab_size": 20, "embedding_dim": 6, "dropout": 0.3}


class TestConformanceWithoutAMask(EmbeddingConformance):
    component = ("embedding", "random")
    config: ClassVar = {
        "vocab_size": 20,
        "embedding_dim": 6,
        "input_map": {"input_ids": "words", "attention_mask": ""},
        "output_map": {"embedding": "vectors"},
    }
    mask = "attention_mask"


def test_vectors_are_rows_of_the_table():
    layer = embedding()
    assert torch.equal(layer(BATCH)["embedding"], layer.embedding.weight[IDS])


def test_the_padding_row_is_zero_and_stays_zero():
    layer = embedding(padding_idx=2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(BATCH)["embedding"] - 1).square().sum().backward()
        optimizer.step()
    assert not layer.embedding.weight[2].any()
    assert layer.embedding.weight[3].any()


def test_without_a_padding_id_every_row_learns():
    layer = embedding(padding_idx=None)
    layer(BATCH)["embedding"].sum().backward()
    assert layer.embedding.weight.grad[0].all()


def test_without_a_mask_kept_is_what_is_not_padding():
    no_mask = {"input_map": {"attention_mask": ""}}
    assert torch.equal(embedding(**no_mask)({"input_ids": IDS})["embedding_mask"], IDS != 0)
    everything = embedding(padding_idx=None, **no_mask)({"input_ids": IDS})["embedding_mask"]
    assert everything.all()


def test_a_mask_that_is_missing_is_an_error_and_not_guessed():
    with pytest.raises(DlkError, match='reads "attention_mask"'):
        embedding()({"input_ids": IDS})


def test_dropout_acts_in_training_only():
    layer = embedding(dropout=0.9)
    assert torch.equal(layer.eval()(BATCH)["embedding"], layer.embedding.weight[IDS])
    assert not torch.equal(layer.train()(BATCH)["embedding"], layer.embedding.weight[IDS])


def test_a_padding_id_outside_the_table_is_refused():
    with pytest.raises(ConfigError, match=r"padding_idx.*below vocab_size \(5\)"):
        embedding(padding_idx=5)
