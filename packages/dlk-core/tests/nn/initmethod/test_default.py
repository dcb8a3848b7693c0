import math

import torch
from torch import nn

from dlk.config import make
from dlk.nn.initmethod.base import InitMethod
from dlk.registry import register
from dlk.testing import InitMethodConformance


def default() -> InitMethod:
    return register.build(make("initmethod", "default"))


class TestConformance(InitMethodConformance):
    component = ("initmethod", "default")


def test_linear_weights_are_xavier_and_biases_zero():
    layer = nn.Linear(300, 100)
    default()(layer)
    bound = math.sqrt(6 / 400)
    assert layer.weight.abs().max() <= bound
    assert math.isclose(layer.weight.std().item(), bound / math.sqrt(3), rel_tol=0.02)
    assert not layer.bias.any()


def test_vectors_of_embeddings_are_as_long_in_large_tables_as_in_small_ones():
    for rows in (300, 30_000):
        layer = nn.Embedding(rows, 100)
        default()(layer)
        assert math.isclose(layer.weight.std().item(), 0.1, rel_tol=0.02)


def test_convolutions_are_kaiming():
    layer = nn.Conv1d(64, 64, 5)
    default()(layer)
    assert math.isclose(layer.weight.std().item(), math.sqrt(2 / (64 * 5)), rel_tol=0.02)
    assert not layer.bias.any()


def test_the_forget_biases_of_an_lstm_sum_to_one_and_the_others_to_zero():
    layer = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
    default()(layer)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        both = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}")
        assert both.view(4, 3).tolist() == [[0] * 3, [1] * 3, [0] * 3, [0] * 3]


def test_each_gate_of_a_recurrent_layer_is_orthogonal():
    for layer, gates in ((nn.LSTM(4, 6), 4), (nn.GRU(4, 6), 3), (nn.RNN(4, 6), 1)):
        default()(layer)
        for gate in layer.weight_hh_l0.chunk(gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(6))


def test_a_projected_lstm_is_started_too():
    layer = nn.LSTM(4, 6, proj_size=2)
    before = layer.weight_hr_l0.clone()
    default()(layer)
    assert not torch.equal(layer.weight_hr_l0, before)


def test_a_layer_that_stands_at_two_places_is_drawn_once():
    class Counted(type(default())):
        drawn = 0

        def linear(self, weight):
            Counted.drawn += 1

    shared = nn.Linear(2, 2)
    Counted(make("initmethod", "default"))(nn.Sequential(shared, shared, nn.Sequential(shared)))
    assert Counted.drawn == 1


def test_norms_without_weights_are_fine():
    default()(nn.Sequential(nn.LayerNorm(3, elementwise_affine=False), nn.BatchNorm1d(3)))
    default()(nn.LayerNorm(3, bias=False))


def test_layers_of_other_kinds_are_left_alone():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([7.0]))

    module = Own()
    default()(module)
    assert module.scale.item() == 7.0
