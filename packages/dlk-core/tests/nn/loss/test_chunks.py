"""Losses over very many scores are taken by chunks of rows."""

import pytest
import torch
from torch.testing import assert_close

from dlk.config import make
from dlk.nn.loss import _chunks
from dlk.registry import register

PAIR = {"pred_truth_pair": {"logits": "label_ids"}}
OPTIONS = [
    ("cross_entropy", {}),
    ("cross_entropy", {"weight": [1.0, 2.0, 0.5], "label_smoothing": 0.1}),
    ("focal", {}),
    ("focal", {"weight": [1.0, 2.0, 0.5], "gamma": 1.5}),
]


def batch(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (2, 5, 5), generator=generator)
    target[0, :, 3:] = -100
    return torch.randn(2, 5, 5, 3, generator=generator).to(dtype), target


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_chunks_change_neither_loss_nor_gradient(monkeypatch, name, options, dtype):
    loss = register.build(make("loss", name, {**PAIR, **options}))
    results = []
    for chunk in (10**9, 1, 20):
        monkeypatch.setattr(_chunks, "CHUNK", chunk)
        logits, target = batch(dtype)
        logits.requires_grad_()
        value = loss(logits, target)
        (3 * value).backward()
        results.append((value.detach(), logits.grad))
    whole, *parts = results
    assert whole[0].dtype == torch.promote_types(dtype, torch.float32)
    for value, grad in parts:
        assert value.dtype == whole[0].dtype
        assert grad.dtype == dtype
        assert_close(value, whole[0], rtol=1e-5, atol=1e-6)
        assert_close(grad, whole[1])


def test_large_sums_go_by_chunks_and_hold_their_rows_twice_and_no_more(monkeypatch):
    loss = register.build(make("loss", "cross_entropy", PAIR))
    seen = []
    inner = torch.nn.functional.cross_entropy

    def spy(logits, *args, **options):
        seen.append(logits.numel())
        return inner(logits, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spy)
    monkeypatch.setattr(_chunks, "CHUNK", 30)
    logits, target = batch(torch.float32)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        value = loss(logits.requires_grad_(), target)
    value.backward()
    assert seen == [30] * 10  # five chunks, and each of them once more on the way back
    assert sum(count for count in saved if count >= logits.numel()) == logits.numel()


def test_rows_longer_than_a_chunk_come_one_by_one(monkeypatch):
    monkeypatch.setattr(_chunks, "CHUNK", 2)
    loss = register.build(make("loss", "cross_entropy", PAIR))
    logits, target = batch(torch.float32)
    expected = torch.nn.functional.cross_entropy(logits.view(-1, 3), target.view(-1))
    assert_close(loss(logits, target), expected)
