import cmath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlk.nn.module.rotary import angles, positions, rotate


def turned(vector: Tensor, position: int, *, base: float = 10000.0) -> Tensor:
    """The paper's eq. 14 in complex numbers, pair by pair."""
    width, out = len(vector), []
    for k in range(width // 2):
        pair = complex(float(vector[2 * k]), float(vector[2 * k + 1]))
        spun = pair * cmath.exp(1j * position * base ** (-2 * k / width))
        out += [spun.real, spun.imag]
    return torch.tensor(out)


def spin(vectors: Tensor, position: Tensor, **more: float) -> Tensor:
    return rotate(vectors, *angles(position, vectors.shape[-1], **more))


@settings(deadline=None)
@given(
    width=st.integers(1, 5).map(lambda half: 2 * half),
    place=st.lists(st.integers(0, 600), min_size=1, max_size=4),
    base=st.sampled_from([100.0, 10000.0]),
    seed=st.integers(0, 99),
)
def test_pairs_turn_as_complex_numbers_do(width, place, base, seed):
    vectors = torch.randn(len(place), width, generator=torch.Generator().manual_seed(seed))
    expected = torch.stack([turned(v, p, base=base) for v, p in zip(vectors, place, strict=True)])
    # float32 holds an angle of 600 to 3e-5
    torch.testing.assert_close(
        spin(vectors, torch.tensor(place), base=base), expected, rtol=1e-4, atol=2e-4
    )


@settings(deadline=None)
@given(
    i=st.integers(0, 200), j=st.integers(0, 200), by=st.integers(0, 300), seed=st.integers(0, 99)
)
def test_a_product_knows_only_the_distance(i, j, by, seed):
    left, right = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed)).double()

    def product(a: int, b: int) -> Tensor:
        return spin(left, torch.tensor(a)) @ spin(right, torch.tensor(b))

    torch.testing.assert_close(product(i, j), product(i + by, j + by), rtol=0, atol=1e-3)


def test_a_product_tells_distances_apart():
    ones = torch.ones(8)
    found = [float(ones @ spin(ones, torch.tensor(d))) for d in range(-6, 7)]
    assert max(found) == found[6]
    assert len({round(value, 3) for value in found}) == 7  # equal vectors: by distance alone


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_stays_and_far_positions_keep_their_angle(dtype):
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    far = torch.tensor([0, 1001, 5003])
    expected = spin(vectors, far)
    found = spin(vectors.to(dtype), far)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.05)


def test_lengths_and_gradients_stay():
    vectors = torch.randn(2, 5, 6, dtype=torch.double, requires_grad=True)
    out = spin(vectors, torch.arange(5))
    torch.testing.assert_close(out.norm(dim=-1), vectors.norm(dim=-1), rtol=1e-6, atol=1e-6)
    out.square().sum().backward()
    torch.testing.assert_close(vectors.grad, 2 * vectors.detach(), rtol=1e-6, atol=1e-6)


def test_kept_positions_are_numbered_wherever_the_padding_stands():
    mask = torch.tensor([[True, True, False], [False, True, True], [True, False, True]])
    numbers = positions(mask)
    assert numbers.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert positions(torch.zeros(1, 2).bool()).tolist() == [[0, 0]]


def test_an_odd_width_has_no_pairs():
    with pytest.raises(ValueError, match="even width, got 3"):
        angles(torch.arange(2), 3)
