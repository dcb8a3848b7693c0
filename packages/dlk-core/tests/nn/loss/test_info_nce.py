from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.testing import assert_close

from dlk.config import make
from dlk.context import Context
from dlk.errors import ConfigError, DlkError
from dlk.nn.loss.info_nce import InfoNCELoss
from dlk.registry import register
from dlk.testing import LossConformance

ALL = {"match": "match", "id_a": "id_a", "id_b": "id_b"}


def loss(**changes: object) -> InfoNCELoss:
    return register.build(make("loss", "info_nce", changes))


def vectors(rows: int = 4, width: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=drawn), torch.randn(rows, width, generator=drawn)


class InfoNCEConformance(LossConformance):
    component = ("loss", "info_nce")
    # A row's wrong answers are the other rows of its batch: of fewer rows it is another loss.
    is_mean_of_items = False

    def batch(self):
        a, b = vectors()
        known = {
            "match": torch.tensor([1.0, 0.0, 1.0, 1.0]),
            "id_a": torch.tensor([5, 6, 5, 7]),
            "id_b": torch.tensor([1, 2, 3, 4]),
        }
        targets = {name: known[name] for name in self.make().signature().targets}
        return {"embedding_a": a, "embedding_b": b, **targets}


class TestConformance(InfoNCEConformance):
    config: ClassVar = {}


class TestConformanceWithIds(InfoNCEConformance):
    config: ClassVar = {"input_map": ALL, "symmetric": False, "normalize": False}


def by_hand(a, b, match, ids_a, ids_b, temperature, *, symmetric):
    """Every asking row, every answer, in plain loops over what stands in the pairs' texts."""
    pairs = {(x, y) for x, y, m in zip(ids_a, ids_b, match, strict=True) if m}

    def asked(ask, answer, are_right):
        total, count = 0.0, 0
        for i, right in enumerate(match):
            if not right:
                continue
            kept = [j for j in range(len(answer)) if j == i or not are_right(i, j)]
            scores = torch.stack([cosine_similarity(ask[i], answer[j], dim=0) for j in kept])
            shares = (scores / temperature).softmax(0)
            total, count = total - shares[kept.index(i)].log(), count + 1
        return total / max(count, 1)

    one = asked(a, b, lambda i, j: (ids_a[i], ids_b[j]) in pairs)
    if not symmetric:
        return one
    return (one + asked(b, a, lambda i, j: (ids_a[j], ids_b[i]) in pairs)) / 2


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    texts=st.integers(1, 7),
    symmetric=st.booleans(),
    temperature=st.floats(0.05, 3),
)
def test_equals_loops_over_all_pairs_of_texts(rows, seed, texts, symmetric, temperature):
    drawn = torch.Generator().manual_seed(seed)
    a, b = vectors(rows, 4, seed)
    match, ids_a, ids_b = (
        torch.randint(high, (rows,), generator=drawn) for high in (2, texts, texts)
    )
    found = loss(symmetric=symmetric, temperature=temperature)(
        a, b, match=match.float(), id_a=ids_a, id_b=ids_b
    )
    expected = by_hand(
        a, b, match.tolist(), ids_a.tolist(), ids_b.tolist(), temperature, symmetric=symmetric
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_without_labels_it_is_cross_entropy_over_the_batch():
    a, b = vectors()
    scores = cosine_similarity(a[:, None], b[None], dim=-1) / 0.2
    own = torch.arange(4)
    assert_close(loss(temperature=0.2, symmetric=False)(a, b), cross_entropy(scores, own))
    both = (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2
    assert_close(loss(temperature=0.2)(a, b), both)


def test_scalar_products_are_scored_without_normalize():
    a, b = vectors()
    expected = cross_entropy(a @ b.T / 2.0, torch.arange(4))
    assert_close(loss(temperature=2.0, symmetric=False, normalize=False)(a, b), expected)


def test_a_pair_that_does_not_match_is_a_wrong_answer_and_asks_nothing():
    a, b = vectors(2)
    match = torch.tensor([1.0, 0.0])
    a.requires_grad_()
    b.requires_grad_()
    found = loss(symmetric=False)(a, b, match=match)
    scores = cosine_similarity(a[:1], b, dim=-1)[None] / 0.05
    assert_close(found, cross_entropy(scores, torch.tensor([0])))
    found.backward()
    assert b.grad[1].any()  # pushed away
    assert not a.grad[1].any()


def test_the_weight_counts_the_matching_rows():
    a, b = vectors()
    out = {"embedding_a": a, "embedding_b": b, "match": torch.tensor([[1], [0], [1], [0]])}
    assert float(loss(input_map={"match": "match"}).compute(out, Context()).weight) == 2
    assert float(loss().compute(out, Context()).weight) == 4


def test_a_batch_without_a_match_has_no_loss_and_no_gradient():
    a, b = (tensor.requires_grad_() for tensor in vectors())
    total = loss()(a, b, match=torch.zeros(4))
    total.backward()
    assert total.item() == 0.0
    assert not a.grad.any()
    assert not b.grad.any()


def test_the_same_text_in_two_rows_is_no_wrong_answer():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    b = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    ids = torch.tensor([3, 3])
    assert loss()(a, b).item() > 0.1
    assert loss()(a, b, id_b=ids).item() == 0.0
    assert loss()(a, b, id_a=ids).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    a, b = (tensor.to(dtype) for tensor in vectors(32, 16))
    expected = loss()(a.float(), b.float())
    assert_close(loss()(a, b), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(loss()(a, b), expected)


def test_gradients_match_finite_differences():
    a, b = (tensor.double().requires_grad_() for tensor in vectors())
    match, ids = torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 1, 0, 2])
    check = loss(temperature=0.7)
    assert torch.autograd.gradcheck(lambda x, y: check(x, y, match=match, id_a=ids), (a, b))


def test_shapes_that_disagree_are_both_named():
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(4, 2\)"):
        loss()(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"needs match \(4,\), a number for each row, got \(3,\)"):
        loss()(torch.zeros(4, 3), torch.zeros(4, 3), match=torch.zeros(3))


def test_a_name_that_is_not_there_is_named_with_what_it_was_for():
    a, b = vectors()
    out = {"embedding_a": a, "embedding_b": b, "matches": torch.ones(4)}
    with pytest.raises(DlkError, match=r'reads "match" as match .* Did you mean "matches"'):
        loss(input_map={"match": "match"}).compute(out, Context())
    with pytest.raises(ConfigError, match='"a": the vectors cannot be left out'):
        loss(input_map={"a": ""})
