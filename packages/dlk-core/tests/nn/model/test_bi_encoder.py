from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.testing.nn import ModelConformance, text_inputs

PARTS = {
    "@embedding@random": {"vocab_size": 10, "embedding_dim": 4},
    "@encoder@lstm": {"input_size": 4, "output_size": 6},
}


def sides():
    """Two sides of unequal widths, so that a check that widens one leaves the other alone."""
    a, b = text_inputs(10), text_inputs(10)
    a = {f"{name}_a": tensor for name, tensor in a.items()}
    b = {f"{name}_b": tensor[:, :5].roll(1, 0) for name, tensor in b.items()}
    return a | b


class BiEncoderConformance(ModelConformance):
    component = ("model", "bi_encoder")
    mask = "attention_mask_a"

    def batch(self):
        return sides()


class TestConformance(BiEncoderConformance):
    config: ClassVar = PARTS


class TestConformanceOfTheOtherSide(BiEncoderConformance):
    mask = "attention_mask_b"
    config: ClassVar = {**PARTS, "pool": "max", "output_map": {"logits": "score"}}


class TestConformanceWithoutEncoder(BiEncoderConformance):
    config: ClassVar = {"@embedding@random": PARTS["@embedding@random"], "pool": "first"}


class TestConformanceWithProjection(BiEncoderConformance):
    atol = 1e-5  # the cosine's rounding, times the scale
    config: ClassVar = {
        **PARTS,
        "input_size": 6,
        "output_size": 3,
        "scale": 10.0,
        "bias": -5.0,
        "learn_scale": True,
        "@initmethod@range_norm": {"std": 0.5},
    }


def model(**changes):
    config = make("model", "bi_encoder", {**PARTS, **changes})
    return register.build(config, Setup.empty()).eval()


def test_both_sides_go_through_the_same_weights():
    built, batch = model(), sides()
    same = {name: batch[f"{name.removesuffix('_b').removesuffix('_a')}_a"] for name in batch}
    out = built(same)
    assert torch.equal(out["embedding_a"], out["embedding_b"])
    assert_close(out["logits"], torch.ones(3))


def test_the_sides_may_be_swapped():
    built, batch = model(), sides()
    swapped = {name[:-1] + {"a": "b", "b": "a"}[name[-1]]: t for name, t in batch.items()}
    one, other = built(batch), built(swapped)
    assert_close(one["embedding_a"], other["embedding_b"])
    assert_close(one["logits"], other["logits"])


def test_vectors_have_length_one_and_logits_are_their_cosine_scaled():
    built, batch = model(scale=3.0, bias=-1.0), sides()
    out = built(batch)
    assert_close(out["embedding_a"].norm(dim=-1), torch.ones(3))
    cosine = cosine_similarity(out["embedding_a"], out["embedding_b"])
    assert_close(out["logits"], 3.0 * cosine - 1.0)


def test_the_pool_makes_the_vectors():
    batch = sides()
    pooled = [model(pool=pool)(batch)["embedding_a"] for pool in ("first", "mean", "max")]
    assert not torch.allclose(pooled[0], pooled[1])
    assert not torch.allclose(pooled[1], pooled[2])


def test_the_scale_learns_where_it_should_and_stays_positive():
    built = model(learn_scale=True, scale=2.0, bias=0.5)
    assert {"log_scale", "bias"} <= {name for name, _ in built.named_parameters()}
    out = built(sides())
    out["logits"].sum().backward()
    assert_close(built.bias.grad, torch.tensor(3.0))
    cosine = (out["logits"] - 0.5).detach()
    assert_close(built.log_scale.grad, cosine.sum())
    assert "log_scale" not in dict(model().named_parameters())


def test_vectors_are_float32_under_autocast():
    built = model(input_size=6, output_size=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = built(sides())
    assert out["embedding_a"].dtype == out["logits"].dtype == torch.float32


def test_an_empty_side_is_the_zero_vector():
    batch = sides()
    batch["attention_mask_b"] = torch.zeros_like(batch["attention_mask_b"])
    batch["input_ids_b"] = torch.zeros_like(batch["input_ids_b"])
    out = model()(batch)
    assert not out["embedding_b"].any()
    assert_close(out["logits"], torch.zeros(3))


def test_a_missing_side_is_named():
    batch = sides()
    del batch["input_ids_b"]
    with pytest.raises(DlkError, match=r'reads "input_ids_b", which is not in the batch'):
        model()(batch)


def test_a_projection_needs_both_sizes():
    with pytest.raises(ConfigError, match="needs both input_size and output_size"):
        make("model", "bi_encoder", {**PARTS, "output_size": 3})


def test_a_width_that_the_projection_is_not_made_for_is_named():
    with pytest.raises(
        DlkError, match=r"of width 9 \(its input_size\), and is given \(\d+, \d+, 6\)"
    ):
        model(input_size=9, output_size=3)(sides())
