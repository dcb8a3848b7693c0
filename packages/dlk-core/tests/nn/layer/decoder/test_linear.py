from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.errors import ConfigError
from dlk.nn.layer.decoder.linear import LinearDecoder
from dlk.registry import register
from dlk.testing import DecoderConformance

VECTORS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, False], [True, False, False]])
BATCH = {"embedding": VECTORS, "embedding_mask": MASK}


def decoder(**changes: object) -> LinearDecoder:
    values = {"input_size": 4, "output_size": 2, **changes}
    return register.build(make("decoder", "linear", values))


class TestConformance(DecoderConformance):
    component = ("decoder", "linear")
    config: ClassVar = {"input_size": 4, "output_size": 2}


class TestConformanceFirst(DecoderConformance):
    component = ("decoder", "linear")
    config: ClassVar = {"input_size": 4, "output_size": 2, "pool": "first", "dropout": 0.2}


class TestConformanceMean(DecoderConformance):
    component = ("decoder", "linear")
    config: ClassVar = {"input_size": 4, "output_size": 2, "pool": "mean", "bias": False}


class TestConformanceMax(DecoderConformance):
    component = ("decoder", "linear")
    config: ClassVar = {
        "input_size": 4,
        "output_size": 2,
        "pool": "max",
        "output_map": {"logits": "scores"},
    }


def test_without_a_pool_every_position_is_scored_and_no_mask_is_needed():
    layer = decoder()
    expected = torch.nn.functional.linear(VECTORS, layer.linear.weight, layer.linear.bias)
    assert torch.equal(layer({"embedding": VECTORS})["logits"], expected)


def test_pool_first_scores_the_first_kept_vector():
    layer = decoder(pool="first")
    assert torch.equal(layer(BATCH)["logits"], layer.linear(VECTORS[:, 0]))
    behind = {"embedding": VECTORS, "embedding_mask": MASK.flip(1)}
    expected = layer.linear(torch.stack([VECTORS[0, 1], VECTORS[1, 2]]))
    assert torch.equal(layer(behind)["logits"], expected)


def test_only_what_is_scored_is_projected():
    layer, seen = decoder(pool="mean"), []
    layer.linear.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    layer(BATCH)
    assert seen == [(2, 4)]


def test_dropout_acts_before_the_projection():
    layer = decoder(pool="first", dropout=1.0).train()
    assert torch.equal(layer(BATCH)["logits"], layer.linear.bias.expand(2, 2))


def test_an_unknown_pool_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r'pool: expected one of null, "first", "mean", "max"'):
        decoder(pool="last")
