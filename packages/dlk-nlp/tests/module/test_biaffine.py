import math
import weakref
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dlk.nlp.module import biaffine
from dlk.nlp.module.biaffine import ACTIVATIONS, BUCKETS, WIDTHS, Biaffine

OPTIONS = st.fixed_dictionaries(
    {
        "matrices": st.integers(1, 2),
        "output_size": st.integers(1, 3),
        "active": st.sampled_from(sorted(ACTIVATIONS)),
        "bias": st.booleans(),
        "rank": st.sampled_from([0, 2]),
        "use_rotary": st.booleans(),
        "width_size": st.sampled_from([0, 3]),
    }
)


def made(seed: int = 0, **options: Any) -> Biaffine:
    torch.manual_seed(seed)
    sizes = {"input_size": 5, "hidden_size": 4, "output_size": 2, **options}
    module = Biaffine(**sizes)
    with torch.no_grad():
        for parameter in module.parameters():  # no term may hide behind a zero
            parameter.normal_(std=0.5)
    return module


def drawn(lengths: list[int], *, width: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return vectors (B, L, 5) and a mask that keeps so many positions, at random places."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(len(lengths), width, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, torch.randperm(width, generator=generator)[:length]] = True
    return torch.randn(len(lengths), width, 5, generator=generator), mask


def bucket(distance: int) -> int:
    size = sum(abs(distance) >= bound for bound in WIDTHS)
    return size + len(WIDTHS) if distance < 0 else size


def turned(vector: Tensor, place: int) -> Tensor:
    width = len(vector)
    out = vector.clone()
    for k in range(width // 2):
        angle = place * 10000.0 ** (-2 * k / width)
        a, b = vector[2 * k], vector[2 * k + 1]
        out[2 * k] = a * math.cos(angle) - b * math.sin(angle)
        out[2 * k + 1] = a * math.sin(angle) + b * math.cos(angle)
    return out


def by_hand(module: Biaffine, vectors: Tensor, mask: Tensor) -> Tensor:
    """The definition, cell by cell: s'Ue + u's + v'e + b, and the width's term."""
    form = dict(module.form.items())
    hidden = (module.start.out_features) // (2 if module.active is functional.glu else 1)
    count = module.matrices * module.classes
    cells = []
    for row, kept in zip(vectors, mask, strict=True):
        place = [sum(kept[:i].tolist()) for i in range(len(kept))]
        starts, ends = module.active(module.start(row)), module.active(module.end(row))
        for i in range(len(kept)):
            for j in range(len(kept)):
                if not (kept[i] and kept[j]):
                    nothing = [
                        -1e4 if module.classes == 1 or c else 0.0 for c in range(module.classes)
                    ]
                    cells.append(torch.tensor(nothing).repeat(module.matrices))
                    continue
                spin = (lambda v, p: turned(v, p)) if module.use_rotary else (lambda v, p: v)
                s, e = starts[i], ends[j]
                scores = []
                for n in range(count):
                    if "weight" in form:
                        u = form["weight"][:, n]
                        score = spin(s @ u[:hidden, :hidden], place[i]) @ spin(e, place[j])
                        if len(u) > hidden:
                            score = score + s @ u[:-1, -1] + u[-1, -1]
                            score = score + spin(u[-1, :-1], place[i]) @ spin(e, place[j])
                    else:
                        left, right = s @ form["left"][:, n], e @ form["right"][:, n]
                        if "left_bias" in form:
                            left, right = left + form["left_bias"][n], right + form["right_bias"][n]
                        score = spin(left, place[i]) @ spin(right, place[j])
                    if "widths" in form:
                        width = form["widths"][bucket(place[j] - place[i])]
                        score = score + width @ (
                            s @ form["width_weight"][:, n] + form["width_bias"][n]
                        )
                    scores.append(score)
                cells.append(torch.stack(scores))
    shape = (len(vectors), mask.shape[1], mask.shape[1], module.matrices, module.classes)
    out = torch.stack(cells).view(shape).permute(0, 3, 1, 2, 4)
    return out if module.matrices > 1 else out.squeeze(1)


@settings(deadline=None, max_examples=40)
@given(
    options=OPTIONS,
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=2),
    chunk_size=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_scores_and_gradients_are_those_of_the_definition(options, lengths, chunk_size, seed):
    module = made(seed, **options, chunk_size=chunk_size).double()
    vectors, mask = drawn(lengths, width=5, seed=seed)
    ours = vectors.double().requires_grad_()
    theirs = vectors.double().requires_grad_()
    out, expected = module(ours, mask), by_hand(module, theirs, mask)
    torch.testing.assert_close(out, expected.double(), rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(out)
    parameters = list(module.parameters())
    found = torch.autograd.grad(out, [ours, *parameters], weights)
    if any(lengths):
        wanted = torch.autograd.grad(
            expected, [theirs, *parameters], weights, allow_unused=True, materialize_grads=True
        )
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    else:
        assert not any(gradient.any() for gradient in found)


@settings(deadline=None, max_examples=30)
@given(
    options=OPTIONS,
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    chunk_size=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_chunks_change_nothing(options, lengths, chunk_size, seed):
    vectors, mask = drawn(lengths, seed=seed)
    results = []
    for rows in (0, chunk_size):
        module = made(seed, **options, chunk_size=rows)
        given = vectors.clone().requires_grad_()
        out = module(given, mask)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        out.backward(weights)
        results.append([out, given.grad, *(p.grad for p in module.parameters())])
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    options=OPTIONS,
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    chunk_size=st.sampled_from([0, 3]),
    seed=st.integers(0, 99),
)
def test_a_row_scores_the_same_alone_without_its_padding(options, lengths, chunk_size, seed):
    module = made(seed, **options, chunk_size=chunk_size)
    vectors, mask = drawn(lengths, seed=seed)
    batch = module(vectors, mask)
    for row, length in enumerate(lengths):
        kept = mask[row]
        alone = module(vectors[row : row + 1, kept], torch.ones(1, length, dtype=torch.bool))
        picked = batch[row : row + 1][..., kept, :, :][..., kept, :]
        torch.testing.assert_close(picked, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("poison", [math.inf, math.nan])
def test_what_is_not_kept_may_hold_anything_and_gets_no_gradient(chunk_size, poison):
    module = made(use_rotary=True, width_size=2, chunk_size=chunk_size)
    vectors, mask = drawn([3, 5])
    given = vectors.masked_fill(~mask.unsqueeze(-1), poison).requires_grad_()
    out = module(given, mask)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert given.grad.isfinite().all()
    assert not given.grad[~mask].any()
    assert given.grad[mask].any()


@pytest.mark.parametrize("rank", [0, 2])
def test_rotary_scores_know_distances_not_places(rank):
    module = made(rank=rank, use_rotary=True, chunk_size=0)
    same = torch.randn(5).expand(1, 7, 5)
    scores = module(same, torch.ones(1, 7, dtype=torch.bool))[0]  # (7, 7, C)
    torch.testing.assert_close(scores[:-1, :-1], scores[1:, 1:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scores[0, 1], scores[0, 2])
    assert not torch.allclose(scores[0, 1], scores[1, 0])
    plain = made(rank=rank, chunk_size=0)(same, torch.ones(1, 7, dtype=torch.bool))[0]
    torch.testing.assert_close(plain[0, 1], plain[3, 0])


def test_widths_are_shared_within_a_bucket_and_know_the_direction():
    module = made(width_size=3, output_size=1, chunk_size=50)
    with torch.no_grad():
        module.form["weight"].zero_()
    same = torch.randn(5).expand(1, 130, 5)
    row = module(same, torch.ones(1, 130, dtype=torch.bool))[0, ..., 0]  # (130, 130)
    forward, backward = row[0], row[:, 0]
    for scores, far in ((forward, 1), (backward, -1)):
        known = {bucket(far * d): scores[d] for d in range(130)}
        torch.testing.assert_close(
            scores, torch.stack([known[bucket(far * d)] for d in range(130)])
        )
    found = {round(float(score), 4) for score in torch.cat([forward, backward]).detach()}
    assert len(found) == BUCKETS
    assert forward[91] == forward[129]
    assert forward[90] != forward[91]


def test_the_views_are_activated_after_their_projections():
    # Two linear maps in a row would be one (Dozat & Manning 2017, eq. 4): scores of a doubled
    # vector would be four times as large.
    module = made(bias=False, active="gelu")
    with torch.no_grad():
        module.start.bias.zero_()
        module.end.bias.zero_()
    vectors, mask = drawn([7])
    ratio = module(2 * vectors, mask) / module(vectors, mask)
    assert (ratio - 4).abs().max() > 0.1
    module.active = ACTIVATIONS["none"]
    torch.testing.assert_close(module(2 * vectors, mask), 4 * module(vectors, mask))


@pytest.mark.parametrize("chunk_size", [0, 8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_single(dtype, chunk_size):
    torch.manual_seed(0)
    module = Biaffine(16, 32, 3, use_rotary=True, width_size=4, chunk_size=chunk_size)
    vectors, mask = torch.randn(2, 20, 16), torch.arange(20) < torch.tensor([[20], [13]])
    exact = module(vectors, mask)
    exact.sum().backward()
    wanted = module.form["weight"].grad.clone()
    module.zero_grad()
    with torch.autocast("cpu", dtype=dtype):
        mixed = module(vectors, mask)
    assert mixed.dtype == dtype
    mixed.sum().backward()
    pair = mask.unsqueeze(1) & mask.unsqueeze(2)
    assert (mixed.float() - exact)[pair].abs().max() < 0.1
    assert (mixed[~pair].argmax(-1) == 0).all()
    assert mixed.isfinite().all()
    gap = (module.form["weight"].grad - wanted).abs().max() / wanted.abs().max()
    assert gap < 0.05
    whole = module.to(dtype)(vectors.to(dtype), mask)
    assert whole.dtype == dtype
    assert whole.isfinite().all()


class Held(TorchDispatchMode):
    """Notes the most bytes that what was made inside of it took up at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.note(tensor.untyped_storage())
        return out

    def note(self, storage):
        key = storage.data_ptr()
        if key in self.known or not storage.nbytes():
            return
        self.known[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, key)

    def forget(self, key):
        self.now -= self.known.pop(key)


@pytest.mark.parametrize("options", [{}, {"rank": 8}, {"use_rotary": True, "width_size": 8}])
def test_beside_the_scores_of_long_rows_little_is_held(options, monkeypatch):
    length, classes = 512, 8
    vectors, mask = torch.randn(1, length, 16), torch.ones(1, length, dtype=torch.bool)
    scores = 4 * length * length * classes
    monkeypatch.setattr(biaffine, "CHUNK", 1 << 16)
    most = []
    for chunk_size in (None, 0):
        module = Biaffine(16, 32, classes, chunk_size=chunk_size, **options)
        with Held() as held:
            module(vectors, mask).mean().backward()  # a gradient that is one number spread out
        assert held.now < 0.1 * scores
        most.append(held.most / scores)
    assert most[0] < 1.25
    assert most[1] > 2


def test_scores_start_at_size_one():
    torch.manual_seed(0)
    vectors, mask = torch.randn(2, 20, 300), torch.ones(2, 20, dtype=torch.bool)
    for options in ({}, {"rank": 30}, {"width_size": 20}, {"use_rotary": True}):
        scores = Biaffine(300, 150, 5, **options)(vectors, mask)
        assert 0.03 < scores.std() < 3


def test_low_rank_has_fewer_weights():
    full, thin = Biaffine(8, 100, 10), Biaffine(8, 100, 10, rank=10)
    assert sum(p.numel() for p in thin.form.parameters()) * 4 < sum(
        p.numel() for p in full.form.parameters()
    )


@pytest.mark.parametrize("chunk_size", [0, 2])
def test_empty_batches_and_rows_are_fine(chunk_size):
    module = made(chunk_size=chunk_size)
    for rows, length in ((0, 4), (2, 0)):
        out = module(torch.zeros(rows, length, 5), torch.zeros(rows, length, dtype=torch.bool))
        assert out.shape == (rows, length, length, 2)


@pytest.mark.parametrize("sizes", [{"hidden_size": 5}, {"rank": 3}])
def test_rotary_needs_pairs_of_entries(sizes):
    with pytest.raises(ValueError, match=r"even width, got [35]"):
        made(use_rotary=True, **sizes)


def test_one_batch_can_be_learnt():
    torch.manual_seed(0)
    module = Biaffine(6, 16, 3, use_rotary=True, width_size=4, chunk_size=4)
    vectors, mask = torch.randn(2, 6, 6), torch.arange(6) < torch.tensor([[6], [4]])
    target = torch.randint(0, 3, (2, 6, 6))
    target = torch.where(mask.unsqueeze(1) & mask.unsqueeze(2), target, -100)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    for _ in range(40):
        loss = functional.cross_entropy(module(vectors, mask).flatten(0, 2), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    assert (module(vectors, mask).argmax(-1) == target)[target >= 0].all()


def test_long_rows_go_by_chunks_of_their_own_accord(monkeypatch):
    vectors, mask = drawn([7, 5])
    whole, auto = made(chunk_size=0), made()
    seen = []
    monkeypatch.setattr(auto, "_left", lambda s, *a: seen.append(s.shape[1]) or whole._left(s, *a))
    expected = auto(vectors, mask)
    monkeypatch.setattr(biaffine, "CHUNK", 2 * 2 * 7 * 2)  # two rows of two records, two classes
    torch.testing.assert_close(auto(vectors, mask), expected)
    monkeypatch.setattr(biaffine, "CHUNK", 1)
    torch.testing.assert_close(auto(vectors, mask), expected)
    assert seen == [7, 2, 2, 2, 1, *[1] * 7]
