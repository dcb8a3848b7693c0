import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dlk.nn.module.pooling import POOLS, pool_first, pool_max, pool_mean

ROWS = st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5)


def by_hand(name: str, row: Tensor, kept: list[bool]) -> Tensor:
    chosen = [vector for vector, keep in zip(row, kept, strict=True) if keep]
    if not chosen:
        return torch.zeros(row.shape[-1])
    stacked = torch.stack(chosen)
    return {"first": stacked[0], "mean": stacked.mean(0), "max": stacked.max(0).values}[name]


@pytest.mark.parametrize("name", sorted(POOLS))
@settings(deadline=None)
@given(mask=ROWS, seed=st.integers(0, 99))
def test_each_row_is_pooled_over_its_kept_vectors_alone(name, mask, seed):
    vectors = torch.randn(len(mask), 4, 3, generator=torch.Generator().manual_seed(seed))
    expected = torch.stack([by_hand(name, v, m) for v, m in zip(vectors, mask, strict=True)])
    torch.testing.assert_close(POOLS[name](vectors, torch.tensor(mask)), expected)


@pytest.mark.parametrize("name", sorted(POOLS))
def test_padding_may_hold_anything_and_gets_no_gradient(name):
    vectors = torch.tensor([[[1.0], [float("inf")], [float("nan")]]], requires_grad=True)
    pooled = POOLS[name](vectors, torch.tensor([[True, False, False]]))
    assert pooled.item() == 1.0
    pooled.sum().backward()
    assert vectors.grad.flatten().tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("pool", [pool_first, pool_mean, pool_max])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays(pool, dtype):
    assert pool(torch.ones(1, 2, 3, dtype=dtype), torch.ones(1, 2).bool()).dtype == dtype


@pytest.mark.parametrize("name", sorted(POOLS))
def test_rows_without_any_position_are_zero(name):
    vectors = torch.zeros(2, 0, 3, requires_grad=True)
    pooled = POOLS[name](vectors, torch.zeros(2, 0, dtype=torch.bool))
    assert pooled.tolist() == [[0.0] * 3] * 2
    pooled.sum().backward()


def test_long_rows_keep_their_mean_in_half_precision():
    vectors = torch.ones(1, 5000, 1, dtype=torch.float16) * 20  # their sum overflows half precision
    assert pool_mean(vectors, torch.ones(1, 5000).bool()).item() == 20
