"""The CRF is what all paths, written out one by one, say it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torchcrf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from dlk.nlp.module import _scan
from dlk.nlp.module import crf as crf_module
from dlk.nlp.module._chains import Chains
from dlk.nlp.module.crf import CRF, IGNORED, NOT_KEPT
from dlk.nlp.tags import Transitions, decode, encode, tag_set, transitions

NEGATIVE = -math.inf


@dataclass
class Case:
    """A CRF in float64 and a batch for it."""

    crf: CRF
    emissions: Tensor
    tags: Tensor
    mask: Tensor

    @property
    def kept(self) -> list[list[int]]:
        return [row.nonzero().flatten().tolist() for row in self.mask]


def random_rules(size: int) -> Transitions:
    """Return random constraints, but tag 0 may always follow, begin and end."""
    allowed = torch.rand(size, size) < 0.6
    start, end = torch.rand(size) < 0.6, torch.rand(size) < 0.6
    allowed[0, 0] = start[0] = end[0] = True
    return Transitions(allowed.tolist(), start.tolist(), end.tolist())


@st.composite
def cases(draw: st.DrawFn, scales: tuple[float, ...] = (0.0, 1.0, 10.0, 300.0)) -> Case:
    """Draw sizes and a seed; the numbers come from the seed. Scale 0 makes all paths equal."""
    size, batch, time = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    scale, spread = draw(st.sampled_from(scales)), draw(st.sampled_from([0.1, 2.0]))
    constrained = draw(st.booleans())
    torch.manual_seed(draw(st.integers(0, 2**31)))
    crf = CRF(size, constraints=random_rules(size) if constrained else None).double()
    for parameter in crf.parameters():
        torch.nn.init.uniform_(parameter, -spread, spread)
    emissions = torch.randn(batch, time, size, dtype=torch.double) * scale
    mask = torch.rand(batch, time) < draw(st.sampled_from([0.0, 0.7, 1.0]))
    tags = torch.randint(size, (batch, time))
    return Case(crf, emissions, tags, mask)


def path_score(
    crf: CRF,
    emissions: Tensor,
    path: tuple[int, ...],
    *,
    free_start: bool = False,
    free_end: bool = False,
) -> float:
    """Return the score of one path over (L, K) emissions, in a plain loop; -inf if forbidden."""
    score = 0.0
    if not free_start:
        if crf.allowed_start is not None and not crf.allowed_start[path[0]]:
            return NEGATIVE
        score += float(crf.start[path[0]].detach())
    if not free_end:
        if crf.allowed_end is not None and not crf.allowed_end[path[-1]]:
            return NEGATIVE
        score += float(crf.end[path[-1]].detach())
    for emission, tag in zip(emissions, path, strict=True):
        score += float(emission[tag])
    for one, two in itertools.pairwise(path):
        if crf.allowed is not None and not crf.allowed[one, two]:
            return NEGATIVE
        score += float(crf.transitions[one, two].detach())
    return score


def all_paths(crf: CRF, emissions: Tensor) -> dict[tuple[int, ...], float]:
    """Return the score of each allowed path over (L, K) emissions."""
    every = itertools.product(range(crf.num_tags), repeat=len(emissions))
    scores = {path: path_score(crf, emissions, path) for path in every}
    return {path: score for path, score in scores.items() if score > NEGATIVE}


def log_sum(scores: list[float]) -> float:
    top = max(scores)
    return top + math.log(sum(math.exp(score - top) for score in scores))


def stretches(crf: CRF, path: list[int]) -> list[tuple[int, int, bool, bool]]:
    """Return (start, end, free start, free end) of the chains that a path is cut into."""
    cuts = [0]
    for place, (one, two) in enumerate(itertools.pairwise(path), 1):
        if crf.allowed is not None and not crf.allowed[one, two]:
            cuts.append(place)
    cuts.append(len(path))
    found = []
    for start, end in itertools.pairwise(cuts):
        free_start, free_end = start > 0, end < len(path)
        if crf.allowed_start is not None and not crf.allowed_start[path[start]]:
            free_start = True
        if crf.allowed_end is not None and not crf.allowed_end[path[end - 1]]:
            free_end = True
        found.append((start, end, free_start, free_end))
    return found


def loss_by_hand(crf: CRF, emissions: Tensor, path: list[int]) -> float:
    """Return the negative log-likelihood of a path over (L, K) emissions, from all paths."""
    loss = 0.0
    for start, end, free_start, free_end in stretches(crf, path) if path else []:
        part = emissions[start:end]
        scores = {
            other: path_score(crf, part, other, free_start=free_start, free_end=free_end)
            for other in itertools.product(range(crf.num_tags), repeat=end - start)
        }
        possible = [score for score in scores.values() if score > NEGATIVE]
        loss += log_sum(possible) - scores[tuple(path[start:end])]
    return loss


@settings(deadline=None, max_examples=30)
@given(case=cases())
def test_the_loss_is_that_of_all_paths_written_out(case: Case) -> None:
    loss = case.crf(case.emissions, case.tags, case.mask)
    expected = [
        loss_by_hand(case.crf, case.emissions[row, kept], case.tags[row, kept].tolist())
        for row, kept in enumerate(case.kept)
    ]
    assert_close(loss, torch.tensor(expected, dtype=torch.double), rtol=1e-9, atol=1e-8)
    assert (loss >= -1e-9).all()


@settings(deadline=None, max_examples=30)
@given(case=cases(), k=st.integers(1, 6))
def test_the_best_paths_come_out_in_order(case: Case, k: int) -> None:
    found = case.crf.k_best(case.emissions, case.mask, k=k)
    best = case.crf.viterbi(case.emissions, case.mask)
    assert found.tags.shape == (*case.mask.shape[:1], k, case.mask.shape[1])
    assert (found.tags.transpose(1, 2)[~case.mask] == NOT_KEPT).all()
    for row, kept in enumerate(case.kept):
        if not kept:
            assert found.score[row].tolist() == [0.0] + [NEGATIVE] * (k - 1)
            assert best.score[row] == 0.0
            continue
        scores = all_paths(case.crf, case.emissions[row, kept])
        top = sorted(scores.values(), reverse=True)[:k]
        paths = [tuple(path) for path in found.tags[row][:, kept].tolist()]
        assert len(set(paths[: len(top)])) == len(top)
        for path, score, expected in zip(paths, found.score[row].tolist(), top, strict=False):
            assert math.isclose(score, expected, rel_tol=1e-9, abs_tol=1e-8)
            assert math.isclose(scores[path], expected, rel_tol=1e-9, abs_tol=1e-8)
        assert found.score[row, len(top) :].tolist() == [NEGATIVE] * (k - len(top))
        assert (found.tags[row, len(top) :] == NOT_KEPT).all()
        single = tuple(best.tags[row, kept].tolist())
        assert math.isclose(scores[single], top[0], rel_tol=1e-9, abs_tol=1e-8)
        assert math.isclose(float(best.score[row]), top[0], rel_tol=1e-9, abs_tol=1e-8)


@settings(deadline=None, max_examples=30)
@given(case=cases(), data=st.data())
def test_marginals_and_conditionals_are_shares_of_all_paths(
    case: Case, data: st.DataObject
) -> None:
    marginals = case.crf.marginals(case.emissions, case.mask)
    tags = case.crf.viterbi(case.emissions, case.mask).tags
    along = case.crf.path_probabilities(case.emissions, tags, case.mask)
    assert (marginals[~case.mask] == 0).all()
    assert (marginals <= 1).all()
    assert (along.marginal[~case.mask] == 0).all()
    assert (along.conditional[~case.mask] == 0).all()
    for row, kept in enumerate(case.kept):
        if not kept:
            continue
        scores = all_paths(case.crf, case.emissions[row, kept])
        total = log_sum(list(scores.values()))
        shares = {path: math.exp(score - total) for path, score in scores.items()}
        for place, position in enumerate(kept):
            expected = [
                sum(share for path, share in shares.items() if path[place] == tag)
                for tag in range(case.crf.num_tags)
            ]
            got = marginals[row, position]
            assert_close(got, torch.tensor(expected, dtype=torch.double), rtol=1e-9, atol=1e-9)
        # The probability of a stretch of the path is the product that the docstring promises.
        first = data.draw(st.integers(0, len(kept) - 1))
        last = data.draw(st.integers(first, len(kept) - 1))
        stretch = tuple(tags[row, kept[first : last + 1]].tolist())
        expected_share = sum(
            share for path, share in shares.items() if path[first : last + 1] == stretch
        )
        product = along.marginal[row, kept[first]] * along.conditional[row, kept[first + 1 :]][
            : last - first
        ].prod(0)
        assert_close(float(product), expected_share, rtol=1e-7, atol=1e-9)
        assert float(along.conditional[row, kept[0]]) == float(along.marginal[row, kept[0]])


@settings(deadline=None, max_examples=10)
@given(case=cases(scales=(1.0, 10.0)))
def test_the_gradient_is_that_of_finite_differences(case: Case) -> None:
    if not case.mask.any():
        return
    emissions = case.emissions.requires_grad_()
    weights = tuple(case.crf.parameters())
    row = torch.rand(len(case.mask), dtype=torch.double)  # each row's gradient has its own weight

    def loss(*_: Tensor) -> Tensor:
        return case.crf(emissions, case.tags, case.mask) * row

    assert torch.autograd.gradcheck(loss, (emissions, *weights), atol=1e-4)


def same_weights(crf: CRF) -> torchcrf.CRF:
    peer = torchcrf.CRF(crf.num_tags, batch_first=True)
    with torch.no_grad():
        peer.transitions.copy_(crf.transitions)
        peer.start_transitions.copy_(crf.start)
        peer.end_transitions.copy_(crf.end)
    return peer


@pytest.mark.parametrize("lengths", [(40, 40, 40), (40, 1, 17), tuple(range(40, 16, -1))])
def test_equals_pytorch_crf(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    crf = CRF(7)
    peer = same_weights(crf)
    mask = torch.arange(40) < torch.tensor(lengths).unsqueeze(1)
    ours = torch.randn(len(lengths), 40, 7, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    tags = torch.randint(7, (len(lengths), 40))
    for name in ("none", "sum", "mean", "token_mean"):
        loss = crf(ours, tags, mask, reduction=name)
        expected = -peer(theirs, tags, mask, reduction=name)
        assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for one, two in zip(
            torch.autograd.grad(loss.sum(), (ours, crf.transitions, crf.start, crf.end)),
            torch.autograd.grad(
                expected.sum(),
                (theirs, peer.transitions, peer.start_transitions, peer.end_transitions),
            ),
            strict=True,
        ):
            assert_close(one, two, rtol=1e-4, atol=1e-5)
    found = crf.viterbi(ours, mask).tags
    for row, path in enumerate(peer.decode(theirs, mask)):
        assert found[row, : len(path)].tolist() == path


class Calls(TorchDispatchMode):
    """Counts the calls of operators."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("constrained", [False, True])
def test_more_rows_are_no_more_calls_of_torch(constrained: bool) -> None:
    """There is no loop over rows: of rows of one length, any number takes as many calls."""
    rules = transitions(tag_set("ab", "BIO"), "BIO") if constrained else None
    crf = CRF(5, constraints=rules)
    counts = []
    for rows in (2, 50):
        torch.manual_seed(0)
        emissions = torch.randn(rows, 30, 5, requires_grad=True)
        tags = crf.viterbi(emissions).tags
        mine = []
        for call in (
            lambda e=emissions, t=tags: crf(e, t).sum().backward(),
            lambda e=emissions: crf.viterbi(e),
            lambda e=emissions: crf.k_best(e, k=4),
            lambda e=emissions, t=tags: crf.path_probabilities(e, t),
        ):
            with Calls() as calls:
                call()
            mine.append(calls.count)
        counts.append(mine)
    assert counts[0] == counts[1]
    assert all(30 < count < 30 * 20 for count in counts[0][:2])


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("constrained", [False, True])
def test_float32_is_as_good_as_float64_over_long_rows(scale: float, constrained: bool) -> None:
    """Also where scaled floats give up, which hard constraints against strong emissions do."""
    torch.manual_seed(1)
    rules = transitions(tag_set("abcde", "BIO"), "BIO") if constrained else None
    crf = CRF(11, constraints=rules)
    emissions = torch.randn(4, 300, 11) * scale
    tags = crf.viterbi(torch.randn(4, 300, 11)).tags
    single = emissions.clone().requires_grad_()
    loss = crf(single, tags)
    loss.sum().backward()
    crf.double()
    double = emissions.double().requires_grad_()
    exact = crf(double, tags)
    exact.sum().backward()
    assert_close(loss, exact.float(), rtol=1e-5, atol=1e-3)
    assert single.grad is not None
    assert double.grad is not None
    assert_close(single.grad, double.grad.float(), rtol=1e-4, atol=2e-5)


def test_the_slow_way_is_taken_where_the_fast_one_fails_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[int] = []

    class Watched(_scan._LogScan):
        def __init__(self, potentials: _scan.Potentials, chains: Chains) -> None:
            rows.append(len(potentials.begin))
            super().__init__(potentials, chains)

    monkeypatch.setattr(_scan, "_LogScan", Watched)
    crf = CRF(3, constraints=transitions(["O", "B-x", "I-x"], "BIO"))
    emissions = torch.randn(3, 6, 3)
    crf.marginals(emissions)
    assert rows == []
    emissions[1, 2] = torch.tensor([-2000.0, -2000.0, 0.0])  # I-x, but after O
    emissions[1, 1] = torch.tensor([0.0, -2000.0, -2000.0])
    assert_close(crf.marginals(emissions).sum(-1), torch.ones(3, 6))
    assert rows == [1]
    emissions[1] /= 5
    found = crf.marginals(emissions)
    assert rows == [1]  # float64 has the range
    exact = crf.double().marginals(emissions.double())
    assert_close(found, exact.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_only_what_the_scheme_writes_comes_out(scheme: str) -> None:
    tags = tag_set(["x", "y"], scheme)[::-1]  # O last: the first tag is no way out
    crf = CRF(len(tags), constraints=transitions(tags, scheme))
    torch.manual_seed(3)
    emissions, mask = torch.randn(64, 8, len(tags)) * 20, torch.rand(64, 8) < 0.8
    emissions[0] = math.nan
    emissions[1] = -math.inf
    emissions[2, 3, 0] = math.inf
    for path in crf.k_best(emissions, mask, k=3).tags.flatten(0, 1).tolist():
        said = [tags[tag] for tag in path if tag != NOT_KEPT]
        assert encode(decode(said, scheme, strict=True), len(said), scheme) == said


def test_the_only_allowed_path_comes_out_whatever_speaks_against_it() -> None:
    by_turns = Transitions([[False, True], [True, False]], [False, True], [True, True])
    crf, lowest = CRF(2, constraints=by_turns), torch.finfo(torch.float32).min
    against = torch.tensor([[0.0, lowest], [lowest, 0.0]]).repeat(1, 3, 1)  # (1, 6, 2)
    for emissions in (against, against.clamp(min=-1e4), torch.full((1, 6, 2), NEGATIVE)):
        assert crf.viterbi(emissions).tags.tolist() == [[1, 0, 1, 0, 1, 0]]
        assert crf.k_best(emissions, k=2).tags[:, 0].tolist() == [[1, 0, 1, 0, 1, 0]]


def test_forbidden_pairs_learn_nothing_and_have_no_share() -> None:
    crf = CRF(3, constraints=transitions(["O", "B-x", "I-x"], "BIO"))
    tags = torch.tensor([[0, 1, 2, 2, 0]])
    crf(torch.randn(1, 5, 3), tags).sum().backward()
    assert crf.transitions.grad is not None
    assert crf.start.grad is not None
    assert crf.transitions.grad[0, 2] == 0.0  # O, I-x
    assert crf.start.grad[2] == 0.0
    assert (crf.transitions.grad != 0).sum() == 8
    assert crf.marginals(torch.randn(1, 5, 3))[0, 0, 2] == 0.0


def test_a_target_that_is_forbidden_still_teaches() -> None:
    crf = CRF(3, constraints=transitions(["O", "B-x", "I-x"], "BIO"))
    tags = torch.tensor([[2, 0, 2, 0], [0, 1, 2, 0]])  # I-x first, and after O; the second is fine
    emissions = torch.zeros(2, 4, 3, requires_grad=True)
    optimizer = torch.optim.SGD([emissions], lr=2.0)
    for _ in range(40):
        optimizer.zero_grad()
        loss = crf(emissions, tags)
        loss.sum().backward()
        optimizer.step()
    assert loss.isfinite().all()
    assert (loss.detach() > 0).all()
    assert (loss.detach() < 0.2).all()
    assert torch.equal(emissions.argmax(-1), tags)


def test_positions_without_a_target_are_no_part_of_the_chain() -> None:
    torch.manual_seed(4)
    crf = CRF(4)
    emissions, tags = torch.randn(1, 6, 4), torch.tensor([[1, IGNORED, 2, 3, IGNORED, 0]])
    kept = [0, 2, 3, 5]
    expected = crf(emissions[:, kept], tags[:, kept])
    assert_close(crf(emissions, tags), expected)
    masked = crf(emissions, tags.clamp(min=0), tags != IGNORED)
    assert_close(masked, expected)
    both = crf(emissions, tags, torch.tensor([[True, True, True, True, True, False]]))
    assert_close(both, crf(emissions[:, [0, 2, 3]], tags[:, [0, 2, 3]]))


@settings(deadline=None, max_examples=30)
@given(case=cases(), data=st.data())
def test_holes_padding_and_neighbours_change_nothing(case: Case, data: st.DataObject) -> None:
    """Rows with noise put in anywhere give what each gives alone, compacted."""
    batch, time = case.mask.shape
    width = time + data.draw(st.integers(0, 3))
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    emissions = torch.randn(batch, width, case.crf.num_tags, dtype=torch.double) * 50
    tags = torch.full((batch, width), IGNORED)
    mask = torch.zeros(batch, width, dtype=torch.bool)
    places = [torch.randperm(width)[: len(kept)].sort()[0] for kept in case.kept]
    for row, (kept, place) in enumerate(zip(case.kept, places, strict=True)):
        emissions[row, place], tags[row, place] = case.emissions[row, kept], case.tags[row, kept]
        mask[row, place] = True
    losses = case.crf(emissions, tags, mask)
    found, shares = case.crf.viterbi(emissions, mask), case.crf.marginals(emissions, mask)
    for row, (kept, place) in enumerate(zip(case.kept, places, strict=True)):
        alone = case.emissions[row : row + 1, kept]
        assert_close(losses[row : row + 1], case.crf(alone, case.tags[row : row + 1, kept]))
        assert torch.equal(found.tags[row, place], case.crf.viterbi(alone).tags[0])
        assert_close(shares[row, place], case.crf.marginals(alone)[0], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_lifted(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    crf, tags = CRF(5), torch.randint(5, (2, 200))
    low = (torch.randn(2, 200, 5) * 3).to(dtype).requires_grad_()
    high = low.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = crf(low, tags)
        loss.sum().backward()
        path = crf.viterbi(low)
        shares = crf.marginals(low)
    expected = crf(high, tags)
    expected.sum().backward()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert low.grad is not None
    assert high.grad is not None
    assert low.grad.dtype == dtype
    assert torch.equal(low.grad, high.grad.to(dtype))
    assert torch.equal(path.tags, crf.viterbi(high).tags)
    assert torch.equal(shares, crf.marginals(high))


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The types that scans are computed in, filled as they are."""
    found: list[torch.dtype] = []

    class Watched(_scan._Scan):
        def __init__(self, potentials: _scan.Potentials, chains: Chains) -> None:
            found.append(potentials.emissions.dtype)
            super().__init__(potentials, chains)

    monkeypatch.setattr(_scan, "_Scan", Watched)
    return found


def test_matrix_products_that_may_be_inexact_are_made_in_float64(
    types: list[torch.dtype],
) -> None:
    torch.manual_seed(6)
    crf, emissions, tags = CRF(9), torch.randn(3, 100, 9) * 3, torch.randint(9, (3, 100))
    exact = crf(emissions, tags)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        loss = crf(emissions, tags)
        loss.sum().backward()
    finally:
        torch.set_float32_matmul_precision(before)
    assert types == [torch.float32, torch.float64]
    assert loss.dtype == torch.float32
    assert_close(loss, exact, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("tags", [2, 20, 300])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_long_rows_stay_within_float32(tags: int, scale: float, types: list[torch.dtype]) -> None:
    CRF(tags).marginals(torch.randn(2, 500, tags) * scale)
    assert types == [torch.float32]


def test_rows_that_keep_nothing_cost_nothing_and_let_the_rest_learn() -> None:
    crf, emissions = CRF(3), torch.randn(2, 4, 3, requires_grad=True)
    mask = torch.tensor([[False] * 4, [True] * 4])
    tags = torch.zeros(2, 4, dtype=torch.long)
    loss = crf(emissions, tags, mask)
    assert loss[0] == 0
    assert loss[1] > 0
    nothing = crf(emissions, tags, torch.zeros_like(mask), reduction="token_mean")
    nothing.backward()
    assert nothing == 0
    assert emissions.grad is not None
    assert (emissions.grad == 0).all()
    assert crf.start.grad is not None
    empty = crf.viterbi(emissions, torch.zeros_like(mask))
    assert (empty.tags == NOT_KEPT).all()
    assert crf(torch.zeros(0, 4, 3), torch.zeros(0, 4, dtype=torch.long)).shape == (0,)
    assert crf(torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.long)).tolist() == [0.0, 0.0]


def test_one_tag_and_one_position_work() -> None:
    single = CRF(1)
    assert_close(single(torch.randn(2, 5, 1), torch.zeros(2, 5, dtype=torch.long)), torch.zeros(2))
    assert single.viterbi(torch.randn(2, 5, 1)).tags.tolist() == [[0] * 5] * 2
    crf = CRF(4)
    emissions, tags = torch.randn(3, 1, 4), torch.tensor([[0], [1], [3]])
    scores = emissions[:, 0] + crf.start + crf.end
    assert_close(
        crf(emissions, tags),
        torch.nn.functional.cross_entropy(scores, tags[:, 0], reduction="none"),
    )


@pytest.mark.parametrize("block", [1, 50, 1 << 24])
def test_many_tags_are_taken_in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    crf, emissions = CRF(12).double(), torch.randn(3, 6, 12, dtype=torch.double) * 200
    tags = torch.randint(12, (3, 6))
    emissions[0, 2:4, 1:] = -1e5  # the slow way, too
    expected = crf.k_best(emissions, k=4), crf(emissions, tags)
    monkeypatch.setattr(crf_module, "BLOCK", block)
    monkeypatch.setattr(_scan, "BLOCK", block)
    found = crf.k_best(emissions, k=4), crf(emissions, tags)
    assert torch.equal(found[0].tags, expected[0].tags)
    assert_close(found[1], expected[1])
    assert torch.equal(crf.viterbi(emissions).tags, expected[0].tags[:, 0])


def test_thousands_of_tags_work() -> None:
    torch.manual_seed(8)
    crf, emissions = CRF(2000), torch.randn(2, 4, 2000)
    tags = torch.randint(2000, (2, 4))
    loss = crf(emissions, tags)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert crf.transitions.grad is not None
    assert_close(crf.transitions.grad.sum(), torch.tensor(0.0), rtol=0, atol=1e-5)
    best = crf.viterbi(emissions)
    assert (crf(emissions, best.tags) < loss).all()


def test_minus_infinity_forbids_a_tag_at_a_position() -> None:
    torch.manual_seed(9)
    crf, tags = CRF(3), torch.tensor([[0, 1, 0, 1]])
    emissions = torch.randn(1, 4, 3)
    emissions[0, 1:, 2] = NEGATIVE
    leaf = emissions.clone().requires_grad_()
    loss = crf(leaf, tags)
    loss.sum().backward()
    low = emissions.clone()
    low[0, 1:, 2] = -1e4
    assert_close(loss, crf(low, tags))
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not (crf.viterbi(emissions).tags[0, 1:] == 2).any()
    assert crf(emissions, torch.tensor([[0, 2, 0, 1]])).item() == math.inf


def test_a_row_without_any_path_is_named() -> None:
    crf, emissions = CRF(3), torch.randn(2, 4, 3)
    emissions[1, 2] = NEGATIVE
    with pytest.raises(ValueError, match="row 1: no sequence of tags is possible"):
        crf(emissions, torch.zeros(2, 4, dtype=torch.long))


def test_nan_is_not_hidden() -> None:
    """A diverged network has a loss of NaN, and probabilities of NaN where its scores are."""
    crf, emissions = CRF(3), torch.randn(2, 4, 3)
    emissions[1, 2, 0] = math.nan
    loss = crf(emissions, torch.zeros(2, 4, dtype=torch.long))
    assert loss.isnan().tolist() == [False, True]
    tags = crf.viterbi(emissions).tags
    assert (tags >= 0).all()
    along = crf.path_probabilities(emissions, tags)
    assert along.marginal.isnan().any(1).tolist() == [False, True]
    assert along.conditional.isnan().any(1).tolist() == [False, True]
    assert crf.marginals(emissions).isnan().flatten(1).all(1).tolist() == [False, True]


def test_a_second_derivative_is_refused() -> None:
    crf, emissions = CRF(3), torch.randn(1, 4, 3, requires_grad=True)
    loss = crf(emissions, torch.zeros(1, 4, dtype=torch.long)).sum()
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        torch.autograd.grad(loss, emissions, create_graph=True)


def test_constraints_stay_out_of_the_state() -> None:
    crf = CRF(3, constraints=transitions(["O", "B-x", "I-x"], "BIO"))
    assert set(crf.state_dict()) == {"transitions", "start", "end"}
    free = CRF(3)
    free.load_state_dict(crf.state_dict())
    assert "3, constrained=True" in repr(crf)


def test_wrong_calls_are_told_apart() -> None:
    crf, emissions = CRF(3), torch.randn(2, 4, 3)
    tags = torch.zeros(2, 4, dtype=torch.long)
    with pytest.raises(ValueError, match=r"emissions must be \(B, T, 3\), got \(2, 4, 5\)"):
        crf(torch.randn(2, 4, 5), tags)
    with pytest.raises(ValueError, match=r"tags must be \(B, T\) like emissions \(2, 4, 3\)"):
        crf(emissions, tags[:, :3])
    with pytest.raises(ValueError, match=r"mask must be .*got \(2, 3\)"):
        crf.viterbi(emissions, torch.ones(2, 3, dtype=torch.bool))
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=rf"tags must lie in \[0, 3\) .*got {wrong}"):
            crf(emissions, tags.index_fill(1, torch.tensor([2]), wrong))
    with pytest.raises(ValueError, match="k must be at least 1"):
        crf.k_best(emissions, k=0)
    with pytest.raises(ValueError, match=r"constraints are of \[2\] tags, emissions of 3"):
        CRF(3, constraints=transitions(["O", "B-x"], "BIO"))
    with pytest.raises(ValueError, match="leave no sequence of 1 tags"):
        CRF(2, constraints=transitions(["B-x", "E-x"], "BIOES"))
