"""Parallel convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, gelu

from dlk.nlp.module.conv1d import Conv1d


def test_without_padding_it_is_torch_s_convolution_with_gelu():
    torch.manual_seed(0)
    layer = Conv1d(3, 8, kernel_sizes=(3, 5))
    x = torch.randn(2, 6, 3, requires_grad=True)
    out = layer(x, torch.ones(2, 6, dtype=torch.bool))
    parts = [
        conv1d(x.transpose(1, 2), each.weight, each.bias, padding=each.kernel_size[0] // 2)
        for each in layer.convolutions
    ]
    expected = gelu(torch.cat(parts, dim=1)).transpose(1, 2)
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    grads = [torch.autograd.grad((o * weights).sum(), x)[0] for o in (out, expected)]
    torch.testing.assert_close(*grads)


def test_what_is_not_kept_is_neither_read_nor_written():
    torch.manual_seed(0)
    layer = Conv1d(3, 4)
    x, mask = torch.randn(1, 5, 3), torch.tensor([[True, True, True, False, False]])
    noisy = torch.where(mask.unsqueeze(-1), x, torch.full_like(x, float("nan")))
    out = layer(noisy, mask)
    torch.testing.assert_close(out[:, :3], layer(x[:, :3], mask[:, :3]))  # other sums
    assert not out[:, 3:].any()


def test_a_sequence_without_positions_is_no_special_case():
    layer = Conv1d(3, 4, kernel_sizes=(5,))
    assert layer(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0, 4)
    assert layer(torch.zeros(0, 2, 3), torch.zeros(0, 2, dtype=torch.bool)).shape == (0, 2, 4)


def test_dropout_falls_in_training_only():
    layer = Conv1d(3, 64, dropout=0.5)
    x, mask = torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)
    assert (layer(x, mask) == 0).float().mean() > 0.3
    assert not (layer.eval()(x, mask) == 0).any()


@pytest.mark.parametrize(
    ("kernel_sizes", "message"),
    [((2,), "odd kernel sizes"), ((), "odd"), ((-1,), "odd"), ((1, 3, 5), "share 4 channels")],
)
def test_kernels_that_do_not_fit_are_refused(kernel_sizes, message):
    with pytest.raises(ValueError, match=message):
        Conv1d(3, 4, kernel_sizes=kernel_sizes)
