"""Packed linear layers: the same numbers, and the plain layer wherever packing does not hold."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dlk.nn.module import packed_linear
from dlk.nn.module.packed_linear import ROWS, PackedLinear, is_supported, pack


@pytest.fixture
def used(monkeypatch):
    """How often the packed product was called."""
    calls = []
    real = packed_linear._product

    def product(x, packed, bias):
        calls.append(tuple(x.shape))
        return real(x, packed, bias)

    monkeypatch.setattr(packed_linear, "_product", product)
    return calls


def model(width=48):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width, bias=False), nn.LayerNorm(width)
    ).eval()


def packed(given):
    made = copy.deepcopy(given)
    assert pack(made, always=True).layers == 2
    return made


def test_this_torch_has_the_product():
    assert is_supported()


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 5), (64,), (2, 3, 70)])
def test_the_numbers_are_those_of_the_plain_layer(used, shape):
    plain = model()
    other = packed(plain)
    x = torch.randn(*shape, 48)
    del used[:]
    with torch.inference_mode():
        torch.testing.assert_close(other(x), plain(x), rtol=0, atol=1e-5)
    assert len(used) == 2


def test_rows_and_features_may_be_none():
    layer = pack_one(nn.Linear(4, 2).eval())
    with torch.inference_mode():
        assert layer(torch.zeros(0, 4)).shape == (0, 2)
        assert layer(torch.zeros(3, 0, 4)).shape == (3, 0, 2)


def pack_one(linear):
    made = nn.Sequential(linear)
    pack(made, always=True)
    return made[0]


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[0],
        lambda x: x[:, :48].T[:48].T,
        lambda x: x[:, ::2],
        lambda x: x[:1, :48].expand(5, 48),
        lambda x: x[:, 24:72],
        lambda x: x.view(2, 48, 48).permute(1, 0, 2)[:, :, :48],
    ],
    ids=["one", "turned", "every second", "repeated", "cut", "permuted"],
)
def test_numbers_may_lie_in_memory_anyhow(used, view):
    plain = model()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(48, 96, generator=generator)
    given = view(x)[..., :48] if view(x).ndim > 1 else view(x)[:48]
    made = packed(plain)
    used.clear()  # those of the timing
    with torch.inference_mode():
        torch.testing.assert_close(made(given), plain(given), rtol=0, atol=1e-5)
    assert len(used) == 2


def test_another_width_is_told_as_the_plain_layer_tells_it(used):
    made = packed(model())
    used.clear()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        made(torch.randn(3, 47))
    assert used == []


def test_the_parameters_are_the_same_ones_under_the_same_names():
    plain = model()
    before = dict(plain.named_parameters())
    state = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    pack(plain, always=True)
    assert all(parameter is before[name] for name, parameter in plain.named_parameters())
    assert list(plain.state_dict()) == list(state)
    assert isinstance(plain[0], PackedLinear)
    assert isinstance(plain[0], nn.Linear)


def test_with_gradients_it_is_the_plain_layer(used):
    layer = pack_one(nn.Linear(8, 4).eval())
    del used[:]
    layer(torch.randn(5, 8)).sum().backward()
    assert layer.weight.grad is not None
    assert used == []


def test_a_weight_that_was_changed_is_used_as_it_is_now(used):
    layer = pack_one(nn.Linear(8, 4).eval())
    x = torch.randn(5, 8)
    with torch.no_grad():
        layer.weight.mul_(2)
        expected = x @ layer.weight.T + layer.bias
        torch.testing.assert_close(layer(x), expected)
        layer.weight.data = torch.randn(4, 8)
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_another_type_it_is_the_plain_layer(used, dtype):
    layer = pack_one(nn.Linear(8, 4).eval()).to(dtype)
    del used[:]
    with torch.inference_mode():
        assert layer(torch.randn(5, 8, dtype=dtype)).dtype is dtype
    assert used == []


def test_with_autocast_it_is_the_plain_layer(used):
    layer = pack_one(nn.Linear(8, 4).eval())
    del used[:]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(5, 8)).dtype is torch.bfloat16
    assert used == []


def test_a_copy_is_a_plain_layer(used):
    layer = pack_one(nn.Linear(8, 4).eval())
    other = copy.deepcopy(layer)
    del used[:]
    x = torch.randn(5, 8)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), layer(x), rtol=0, atol=1e-6)
    assert used == [(5, 8)]


def test_a_layer_in_two_places_stays_one():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(8, 8)
            self.two = self.one

    made = Twice().eval()
    packing = pack(made, always=True)
    assert made.one is made.two
    assert isinstance(made.one, PackedLinear)
    assert (packing.layers, packing.considered) == (1, 1)


def test_a_weight_shared_with_a_table_stays_shared():
    made = nn.Module()
    made.table, made.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
    made.head.weight = made.table.weight
    made.eval()
    pack(made, always=True)
    assert made.head.weight is made.table.weight


def test_what_is_more_than_a_linear_layer_is_left_alone():
    class Scaled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    made = nn.Sequential(Scaled(4, 4), nn.MultiheadAttention(4, 2)).eval()
    assert pack(made, always=True).considered == 0
    assert type(made[0]) is Scaled


def test_only_rows_for_which_it_was_faster_use_it(used, monkeypatch):
    gains = dict(zip(ROWS, (0.5, 2.0, 1.0, 3.0, 0.9), strict=True))
    monkeypatch.setattr(packed_linear, "_gains", lambda module: gains)
    made = nn.Sequential(nn.Linear(8, 4)).eval()
    packing = pack(made)
    assert packing.gains == {(8, 4): gains}
    del used[:]
    with torch.inference_mode():
        for rows in (1, 3, 4, 15, 16, 63, 64, 255, 256, 1000):
            made(torch.randn(rows, 8))
    assert [shape[0] for shape in used] == [4, 15, 64, 255]


def test_where_it_is_not_faster_nothing_is_packed(monkeypatch):
    monkeypatch.setattr(packed_linear, "_gains", lambda module: dict.fromkeys(ROWS, 1.0))
    made = model()
    packing = pack(made)
    assert packing.layers == 0
    assert "not faster" in packing.reason
    assert not any(isinstance(module, PackedLinear) for module in made.modules())


def test_other_numbers_are_never_used(monkeypatch):
    real = packed_linear._product
    monkeypatch.setattr(packed_linear, "_product", lambda x, p, b: real(x, p, b) + 0.01)
    assert not is_supported()
    assert pack(model(), always=True).layers == 0
    monkeypatch.setattr(packed_linear, "is_supported", lambda: True)
    assert pack(model(), always=True).layers == 0


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, NotImplementedError])
def test_where_the_product_is_missing_all_stays_as_it_was(monkeypatch, error):
    def missing(weight):
        raise error("no such operator")

    monkeypatch.setattr(packed_linear, "_packed", missing)
    packing = pack(model())
    assert (packing.layers, packing.considered) == (0, 2)
    assert "no packed product" in packing.reason


def test_timing_takes_turns_and_ends():
    calls = []
    ratio = packed_linear._ratio(lambda: calls.append(1), lambda: calls.append(2))
    assert 0 < ratio < 100
    assert calls[:4] == [1, 2, 1, 2]
    assert 10 <= len(calls) <= 80
