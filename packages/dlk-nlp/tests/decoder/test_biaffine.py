import itertools
from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.errors import ConfigError, DlkError
from dlk.nlp.decoder.biaffine import BiaffineDecoder
from dlk.nlp.module.biaffine import ACTIVATIONS
from dlk.registry import register
from dlk.testing import DecoderConformance

SIZES = {"input_size": 6, "hidden_size": 4, "output_size": 3}
MASK = torch.tensor([[True, True, True, False], [False, True, False, False]])
BATCH = {
    "embedding": torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)),
    "embedding_mask": MASK,
}


def decoder(**changes: object) -> BiaffineDecoder:
    torch.manual_seed(0)
    return register.build(make("decoder", "biaffine", {**SIZES, **changes}))


class TestConformance(DecoderConformance):
    component = ("decoder", "biaffine")
    config: ClassVar = {**SIZES, "dropout": 0.2}


class TestConformanceAll(DecoderConformance):
    component = ("decoder", "biaffine")
    config: ClassVar = {
        **SIZES,
        "multi_matrix": 2,
        "rotary": True,
        "width_size": 3,
        "chunk_size": 2,
        "active": "glu",
        "output_map": {"logits": "relation_logits"},
    }


class TestConformanceLowRank(DecoderConformance):
    component = ("decoder", "biaffine")
    config: ClassVar = {**SIZES, "rank": 2, "rotary": True, "output_size": 1, "chunk_size": 3}


class TestConformancePlain(DecoderConformance):
    component = ("decoder", "biaffine")
    config: ClassVar = {**SIZES, "rank": 3, "bias": False, "active": "none", "chunk_size": 0}


def test_several_matrices_have_an_axis_of_their_own():
    assert decoder()(BATCH)["logits"].shape == (2, 4, 4, 3)
    assert decoder(multi_matrix=2)(BATCH)["logits"].shape == (2, 2, 4, 4, 3)


def test_every_activation_that_a_config_may_name_is_there():
    for name in ACTIVATIONS:
        assert decoder(active=name)(BATCH)["logits"].isfinite().all()
    with pytest.raises(ConfigError, match="active: expected one of"):
        decoder(active="tanh")
    results = {name: decoder(active=name)(BATCH)["logits"] for name in ACTIVATIONS}
    del results["celu"]  # at its alpha of 1 it is elu
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(results.values(), 2))


def test_units_that_are_not_kept_hold_nothing_for_sure():
    logits = decoder()(BATCH)["logits"]
    pair = MASK.unsqueeze(2) & MASK.unsqueeze(1)
    assert torch.equal(logits[~pair], torch.tensor([0.0, -1e4, -1e4]).expand(int((~pair).sum()), 3))
    assert (logits.softmax(-1)[~pair] == torch.tensor([1.0, 0.0, 0.0])).all()
    alone = decoder(output_size=1)(BATCH)["logits"]
    assert (alone[~pair] == -1e4).all()
    assert (alone[pair] > -1e2).all()


@pytest.mark.parametrize(
    ("changes", "field"), [({"hidden_size": 5}, "hidden_size"), ({"rank": 3}, "rank")]
)
def test_rotary_needs_pairs_of_entries(changes, field):
    with pytest.raises(ConfigError, match=rf"{field}: rotary turns pairs.*got [35]"):
        decoder(rotary=True, **changes)
    decoder(rotary=True, hidden_size=5, rank=2)


def test_a_width_that_disagrees_is_named_with_both_numbers():
    with pytest.raises(DlkError, match=r'"embedding" of width 5 .* is given \(2, 4, 6\)'):
        decoder(input_size=5)(BATCH)
