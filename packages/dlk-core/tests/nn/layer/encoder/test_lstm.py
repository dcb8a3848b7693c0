from typing import ClassVar

import pytest
import torch
from torch import nn

from dlk.config import make
from dlk.errors import ConfigError
from dlk.nn.layer.encoder.lstm import LSTMEncoder
from dlk.registry import register
from dlk.testing import EncoderConformance

LENGTHS = (5, 2, 0, 1)
MASK = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)


def lstm(**changes: object) -> LSTMEncoder:
    config = make("encoder", "lstm", {"input_size": 3, "output_size": 6, **changes})
    return register.build(config)


class TestConformance(EncoderConformance):
    component = ("encoder", "lstm")
    config: ClassVar = {"input_size": 5, "output_size": 6, "num_layers": 2, "dropout": 0.2}


class TestConformanceOneDirection(EncoderConformance):
    component = ("encoder", "lstm")
    config: ClassVar = {
        "input_size": 5,
        "output_size": 3,
        "bidirectional": False,
        "dropout_last": False,
    }


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_each_row_equals_torch_on_the_row_alone(bidirectional, num_layers):
    layer = lstm(bidirectional=bidirectional, num_layers=num_layers)
    plain = nn.LSTM(
        3,
        6 // (1 + bidirectional),
        num_layers=num_layers,
        bidirectional=bidirectional,
        batch_first=True,
    )
    plain.load_state_dict(layer.lstm.lstm.state_dict())
    vectors = torch.randn(4, 5, 3, requires_grad=True)
    copies = vectors.detach().clone().requires_grad_()
    out = layer({"embedding": vectors, "embedding_mask": MASK})["embedding"]
    assert out.shape == (4, 5, 6)
    for row, length in enumerate(LENGTHS):
        if length:
            expected = plain(copies[row : row + 1, :length])[0]
            torch.testing.assert_close(out[row : row + 1, :length], expected)
            expected.sum().backward()
        assert not out[row, length:].any()
    out.sum().backward()
    torch.testing.assert_close(vectors.grad, copies.grad)


def test_the_padding_may_stand_anywhere():
    layer = lstm()
    vectors = torch.randn(1, 3, 3)
    dense = layer({"embedding": vectors, "embedding_mask": torch.ones(1, 3).bool()})["embedding"]
    holes = torch.tensor([[False, True, False, True, True, False]])
    spread = torch.full((1, 6, 3), 9.0)
    spread[holes] = vectors[0]
    out = layer({"embedding": spread, "embedding_mask": holes})["embedding"]
    torch.testing.assert_close(out[holes], dense[0])
    assert not out[~holes].any()


def test_a_batch_without_rows_or_positions_is_fine():
    layer = lstm()
    for shape in ((0, 4), (2, 0)):
        mask = torch.zeros(shape, dtype=torch.bool)
        out = layer({"embedding": torch.zeros(*shape, 3), "embedding_mask": mask})["embedding"]
        assert out.shape == (*shape, 6)


def test_an_odd_size_cannot_be_shared_by_two_directions():
    with pytest.raises(ConfigError, match=r"output_size: expected an even number.*got 5"):
        lstm(output_size=5)
    assert lstm(output_size=5, bidirectional=False).lstm.lstm.hidden_size == 5


def test_dropout_of_the_output_can_be_left_out():
    torch.manual_seed(0)
    batch = {"embedding": torch.randn(4, 5, 3), "embedding_mask": MASK}
    kept = lstm(dropout=0.5, dropout_last=False).train()(batch)["embedding"][MASK]
    dropped = lstm(dropout=0.5).train()(batch)["embedding"][MASK]
    assert kept.all()
    assert not dropped.all()


def test_dropout_between_layers_acts_only_where_there_are_several():
    assert lstm(dropout=0.5, num_layers=2).lstm.lstm.dropout == 0.5
    assert lstm(dropout=0.5).lstm.lstm.dropout == 0.0
