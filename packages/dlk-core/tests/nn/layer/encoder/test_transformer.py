from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from dlk.config import make
from dlk.errors import ConfigError, DlkError
from dlk.nn.layer.encoder.transformer import TransformerEncoder
from dlk.nn.module.transformer import ACTIVATIONS
from dlk.registry import register
from dlk.testing import EncoderConformance


def encoder(**changes: object) -> TransformerEncoder:
    torch.manual_seed(0)
    sizes = {"input_size": 8, "output_size": 8, "num_heads": 2, "inner_size": 12}
    return register.build(make("encoder", "transformer", {**sizes, **changes}))


class TestConformance(EncoderConformance):
    component = ("encoder", "transformer")
    config: ClassVar = {"input_size": 8, "output_size": 8, "dropout": 0.1}


class TestConformancePost(EncoderConformance):
    component = ("encoder", "transformer")
    config: ClassVar = {
        "input_size": 5,
        "output_size": 6,
        "num_heads": 3,
        "num_layers": 1,
        "norm": "post",
        "active": "swiglu",
        "position": "sinusoidal",
    }


class TestConformanceWithoutOrder(EncoderConformance):
    component = ("encoder", "transformer")
    config: ClassVar = {
        "input_size": 6,
        "output_size": 6,
        "num_heads": 2,
        "position": "none",
        "inner_size": 5,
        "output_map": {"embedding": "states"},
    }


def test_options_reach_the_blocks():
    plain = encoder(input_size=8, num_layers=3)
    assert plain.project is None
    assert len(plain.transformer.blocks) == 3
    assert encoder(input_size=5).project.weight.shape == (8, 5)
    assert encoder().transformer.blocks[0].feed_forward.inner.out_features == 12
    assert encoder(inner_size=0).transformer.blocks[0].feed_forward.inner.out_features == 32
    for name in ACTIVATIONS:
        assert encoder(active=name).transformer.blocks[0].feed_forward.active is ACTIVATIONS[name]
    for norm in ("pre", "post"):
        assert encoder(norm=norm).transformer.blocks[0].is_pre == (norm == "pre")
    assert encoder(dropout=0.3).transformer.blocks[0].attention.dropout == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, r"num_heads: expected a divisor of output_size \(8\), got 3"),
        ({"output_size": 6, "num_heads": 2}, r"num_heads: rotary turns pairs.*6 / 2 = 3"),
        (
            {"output_size": 7, "num_heads": 1, "position": "sinusoidal"},
            r"output_size: sinusoidal positions need an even width, got 7",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_config(changes, message):
    with pytest.raises(ConfigError, match=message):
        encoder(**changes)


def test_a_width_that_disagrees_is_named_with_both_numbers():
    batch = {"embedding": torch.zeros(1, 2, 9), "embedding_mask": torch.ones(1, 2).bool()}
    with pytest.raises(DlkError, match=r'"embedding" of width 8 .* is given \(1, 2, 9\)'):
        encoder()(batch)


def test_an_order_can_be_learnt():
    # The label is the mark that stands first: nothing but positions tells.
    layer, head = encoder(dropout=0.0, num_layers=1), torch.nn.Linear(8, 4)
    order = torch.rand(16, 4, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    batch = {"embedding": torch.eye(8)[order], "embedding_mask": torch.ones(16, 4).bool()}
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.03)
    for _ in range(60):
        loss = functional.cross_entropy(head(layer(batch)["embedding"].mean(1)), order[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1
