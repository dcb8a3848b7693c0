"""Linear-chain conditional random field: scores of tag sequences by emissions and transitions.

Source: Lafferty, McCallum and Pereira 2001, "Conditional Random Fields", §3; Collobert et al. 2011,
"Natural Language Processing (Almost) from Scratch", §3.3.2 (over a network's scores); Forney 1973,
"The Viterbi Algorithm"; Seshadri and Sundberg 1994, "List Viterbi Decoding Algorithms" (k best).
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dlk.nlp.module._chains import Chains
from dlk.nlp.module._scan import BLOCK, Posterior, Potentials, log_partition

if TYPE_CHECKING:
    from dlk.nlp.tags import Transitions

Reduction = Literal["none", "mean", "sum", "token_mean"]

IGNORED = -100
"""A target that is left out of its chain."""

NOT_KEPT = -1
"""The tag of a position that is in no chain."""

_LOWEST = 1e9
"""In decoding, what -inf counts as: a path that the constraints allow always comes out."""

_NEVER = 1e30
"""Further from 0 than any score of a path can get."""


class Paths(NamedTuple):
    """Sequences of tags with their scores.

    Attributes:
        tags: (B, T) int64, or (B, k, T); `NOT_KEPT` where the mask is false.
        score: (B,) or (B, k), emissions and transitions summed up, in nats; -inf for a path that
            there is not (its tags are `NOT_KEPT`).
    """

    tags: Tensor
    score: Tensor


class PathProbabilities(NamedTuple):
    """Probabilities along a path, 0 where the mask is false.

    The probability of a stretch i..j is ``marginal[i] * conditional[i + 1 : j + 1].prod()``.

    Attributes:
        marginal: (B, T), p(tag) at each position.
        conditional: (B, T), p(tag | tag before); p(tag) at the first of a chain.
    """

    marginal: Tensor
    conditional: Tensor


class CRF(nn.Module):
    """Transitions between K tags, and what follows from them for a batch of emissions.

    Emissions are (B, T, K); a mask (B, T), true where kept, may have holes and padding anywhere:
    the kept positions of a row form its chain, and a row that keeps nothing has loss 0 and an empty
    path. All is computed in float32, or float64 if the emissions are; autocast does not reach in.

    Forbidden transitions have probability 0. A target that uses one cuts its chain in two there,
    each scored by itself, and a forbidden first or last tag leaves out that end's score and
    constraint; so the loss stays finite and above 0 whatever the annotation.

    Scores of transitions, of first and of last tags start uniform in ±0.1; init methods leave them.

    Args:
        num_tags: K.
        constraints: what may follow what, for each pair of tags; None: everything.

    Raises:
        ValueError: the constraints are of another number of tags, or leave no sequence at all of
            some length.
    """

    allowed: Tensor | None
    allowed_start: Tensor | None
    allowed_end: Tensor | None

    def __init__(self, num_tags: int, *, constraints: Transitions | None = None) -> None:
        super().__init__()
        self.num_tags = num_tags
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))  # from, to
        self.start = nn.Parameter(torch.empty(num_tags))
        self.end = nn.Parameter(torch.empty(num_tags))
        masks: tuple[Tensor | None, ...] = (None, None, None)
        if constraints is not None:
            _check(constraints, num_tags)
            given = constraints.allowed, constraints.start, constraints.end
            masks = tuple(torch.tensor(part, dtype=torch.bool) for part in given)
        for name, mask in zip(("allowed", "allowed_start", "allowed_end"), masks, strict=True):
            self.register_buffer(name, mask, persistent=False)  # the scheme says them again
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all scores uniformly from ±0.1."""
        for scores in (self.transitions, self.start, self.end):
            nn.init.uniform_(scores, -0.1, 0.1)

    def forward(
        self,
        emissions: Tensor,
        tags: Tensor,
        mask: Tensor | None = None,
        *,
        reduction: Reduction = "none",
    ) -> Tensor:
        """Return the negative log-likelihood of `tags`, in nats.

        Args:
            emissions: (B, T, K) float. -inf forbids a tag; a target so forbidden has loss inf.
            tags: (B, T) int64 in [0, K), or `IGNORED`, which leaves the position out; anything
                where `mask` is false.
            mask: (B, T), true where kept; None: everywhere.
            reduction: "none": (B,), a number per row; "mean" and "sum" over rows; "token_mean":
                the sum divided by the number of positions kept (0 where there is none).

        Raises:
            ValueError: shapes disagree, a tag is out of range, or a row has no possible path.
        """
        self._check(emissions, mask)
        if tags.shape != emissions.shape[:2]:
            raise ValueError(
                f"tags must be (B, T) like emissions {tuple(emissions.shape)}, "
                f"got {tuple(tags.shape)}"
            )
        scored = tags != IGNORED
        if mask is not None:
            scored &= mask.bool()
        chains = Chains.of(scored, (tags.shape[0], tags.shape[1]), emissions.device)
        gold = chains.gather(tags)  # (N,)
        if gold.numel():
            self._check_tags(gold)
        with torch.autocast(emissions.device.type, enabled=False):
            rows = self._losses(emissions, gold, chains)
        if reduction == "none":
            return rows
        if reduction == "token_mean":
            return rows.sum() / max(1, gold.numel())
        return rows.sum() if reduction == "sum" else rows.mean()

    def viterbi(self, emissions: Tensor, mask: Tensor | None = None) -> Paths:
        """Return the best path of each row: tags (B, T) and score (B,).

        Args:
            emissions: (B, T, K) float; they count as at most 1e9 and at least -1e9, NaN as that.
            mask: (B, T), true where kept; None: everywhere.
        """
        best = self.k_best(emissions, mask, k=1)
        return Paths(best.tags[:, 0], best.score[:, 0])

    @torch.no_grad()
    def k_best(self, emissions: Tensor, mask: Tensor | None = None, *, k: int) -> Paths:
        """Return the `k` best paths of each row, best first: tags (B, k, T) and scores (B, k).

        Args:
            emissions: as in `viterbi`.
            mask: (B, T), true where kept; None: everywhere.
            k: how many; rows with fewer paths get -inf and `NOT_KEPT` behind those they have. A row
                that keeps nothing has one path, the empty one.
        """
        self._check(emissions, mask)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        batch, time = emissions.shape[:2]
        chains = Chains.of(_bool(mask), (batch, time), emissions.device)
        with torch.autocast(emissions.device.type, enabled=False):
            potentials, taken = self._potentials(chains.gather(_finite(emissions)), chains)
            scores = taken.new_full((batch, k), -math.inf)
            scores[:, 0] = 0.0  # the empty path
            tags = torch.full((batch, k, time), NOT_KEPT, device=emissions.device)
            if chains.sizes:
                search = _best(potentials, chains) if k == 1 else _k_best(potentials, chains, k)
                found, best = search
                for rank in range(k):
                    tags[:, rank] = chains.scatter(found[rank], NOT_KEPT)
                base = taken.new_zeros(len(chains.row)).index_add_(0, chains.chain, taken)
                scores[chains.row] = best + base.unsqueeze(1)
        return Paths(tags, scores)

    @torch.no_grad()
    def marginals(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return p(tag) at each position given the whole row, (B, T, K); 0 where not kept.

        Args:
            emissions: as in `viterbi`; a row with a NaN has NaN for all its probabilities.
            mask: (B, T), true where kept; None: everywhere.
        """
        self._check(emissions, mask)
        chains, posterior = self._posterior(emissions, mask)
        if posterior is None:
            return _lift(emissions).new_zeros(emissions.shape)
        unknown = _unknown(emissions, chains).unsqueeze(1)
        found = posterior.marginals().masked_fill(unknown, math.nan)
        return chains.scatter(found.to(_lift(emissions).dtype), 0.0)

    @torch.no_grad()
    def path_probabilities(
        self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None
    ) -> PathProbabilities:
        """Return how probable each tag of a path is, alone and after the one before.

        Args:
            emissions: as in `marginals`.
            tags: (B, T) int64, a path; anything where `mask` is false.
            mask: (B, T), true where kept; None: everywhere.
        """
        self._check(emissions, mask)
        chains, posterior = self._posterior(emissions, mask)
        dtype = _lift(emissions).dtype
        if posterior is None:
            nothing = torch.zeros(tags.shape, dtype=dtype, device=emissions.device)
            return PathProbabilities(nothing, nothing)
        path = chains.gather(tags)
        self._check_tags(path)
        unknown = _unknown(emissions, chains)
        marginal = posterior.marginals().gather(1, path.unsqueeze(1)).squeeze(1)
        marginal, conditional = (
            chains.scatter(found.masked_fill(unknown, math.nan).to(dtype), 0.0)
            for found in (marginal, posterior.conditionals(path))
        )
        return PathProbabilities(marginal, conditional)

    def extra_repr(self) -> str:
        return f"{self.num_tags}, constrained={self.allowed is not None}"

    # Parts -------------------------------------------------------------------------------------

    def _losses(self, emissions: Tensor, gold: Tensor, chains: Chains) -> Tensor:
        """Return the loss of each row, (B,)."""
        scores = _lift(chains.gather(emissions))
        free: tuple[Tensor, Tensor] | None = None
        if self.allowed is not None and chains.sizes:
            chains, *ends = self._cut(gold, chains)
            free = (ends[0], ends[1])
        potentials, _ = self._potentials(scores, chains, free=free)
        zero = scores.new_zeros(emissions.shape[0])
        if not chains.sizes:  # nothing is kept: 0, and a gradient of 0 for everything that learns
            every = (scores, self.transitions, self.start, self.end)
            return zero + sum((part.sum() * 0.0 for part in every), zero)
        loss = log_partition(potentials, chains) - _score(potentials, gold, chains)
        return zero.index_add(0, chains.row, loss)

    def _cut(self, gold: Tensor, chains: Chains) -> tuple[Chains, Tensor, Tensor]:
        """Return the chains cut where `gold` does what is forbidden; which begin and end freely."""
        allowed, start, end = self.allowed, self.allowed_start, self.allowed_end
        assert allowed is not None
        assert start is not None
        assert end is not None
        begins = chains.begins
        stops = torch.zeros_like(begins).index_fill_(0, chains.last, True)
        free_begin, free_end = begins & ~start[gold], stops & ~end[gold]
        forbidden = ~allowed[gold[:-1], gold[1:]] & ~begins[1:]
        if forbidden.any():
            free_begin[1:] |= forbidden
            free_end[:-1] |= forbidden
            begins[1:] |= forbidden
            chains = chains.cut_at(begins)
        return chains, free_begin[chains.first], free_end[chains.last]

    def _potentials(
        self, scores: Tensor, chains: Chains, *, free: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Potentials, Tensor]:
        """Return what paths are scored with, and what was taken off each position (N,).

        Args:
            scores: (N, K), the emissions of the kept positions.
            chains: S of them.
            free: for each chain (S,) whether its first tag is free, and whether its last is.
        """
        scores = _lift(scores)
        kind, chain_count = scores.dtype, len(chains.row)
        top = scores.detach().amax(1)
        top = top.masked_fill(top == -math.inf, 0.0)
        transitions, ends = self.transitions.to(kind), [self.start.to(kind), self.end.to(kind)]
        if self.allowed is not None:
            transitions = transitions.masked_fill(~self.allowed, -math.inf)
            for place, allowed in enumerate((self.allowed_start, self.allowed_end)):
                assert allowed is not None
                ends[place] = ends[place].masked_fill(~allowed, -math.inf)
        begin, finish = (part.expand(chain_count, -1) for part in ends)
        if free is not None:
            begin = begin.masked_fill(free[0].unsqueeze(1), 0.0)
            finish = finish.masked_fill(free[1].unsqueeze(1), 0.0)
        return Potentials(scores - top.unsqueeze(1), transitions, begin, finish), top

    def _posterior(self, emissions: Tensor, mask: Tensor | None) -> tuple[Chains, Posterior | None]:
        batch, time = emissions.shape[:2]
        chains = Chains.of(_bool(mask), (batch, time), emissions.device)
        if not chains.sizes:
            return chains, None
        with torch.autocast(emissions.device.type, enabled=False):
            potentials, _ = self._potentials(chains.gather(_finite(emissions)), chains)
            return chains, Posterior(potentials, chains)

    def _check(self, emissions: Tensor, mask: Tensor | None) -> None:
        if emissions.ndim != 3 or emissions.shape[2] != self.num_tags:
            raise ValueError(
                f"emissions must be (B, T, {self.num_tags}), got {tuple(emissions.shape)}"
            )
        if mask is not None and mask.shape != emissions.shape[:2]:
            raise ValueError(
                f"mask must be (B, T) like emissions {tuple(emissions.shape)}, "
                f"got {tuple(mask.shape)}"
            )

    def _check_tags(self, tags: Tensor) -> None:
        low, high = (int(end) for end in tags.aminmax())
        if low < 0 or high >= self.num_tags:
            wrong = low if low < 0 else high
            raise ValueError(
                f"tags must lie in [0, {self.num_tags}) or be {IGNORED} (left out), got {wrong}"
            )


def _score(potentials: Potentials, gold: Tensor, chains: Chains) -> Tensor:
    """Return the score of each chain's path, (S,).

    Args:
        potentials: of all paths.
        gold: (N,) int64.
        chains: S of them.
    """
    p = potentials
    first, last = _pick(p.begin, gold[chains.first]), _pick(p.finish, gold[chains.last])
    here = _pick(p.emissions, gold)  # (N,)
    steps = p.transitions.flatten().index_select(0, gold[:-1] * p.transitions.shape[0] + gold[1:])
    steps = steps.masked_fill(chains.begins[1:], 0.0)  # (N - 1,)
    score = (first + last).index_add(0, chains.chain, here)
    return score.index_add(0, chains.chain[1:], steps)


def _pick(values: Tensor, tags: Tensor) -> Tensor:
    """Return values[n, tags[n]], (n,); unlike `gather` its gradient can be made deterministic."""
    row = torch.arange(len(tags), device=tags.device) * values.shape[1]
    return values.flatten().index_select(0, row + tags)


def _best(potentials: Potentials, chains: Chains) -> tuple[Tensor, Tensor]:
    """Return the best path of each chain, (1, N) int64, and its score, (S, 1).

    Chains are innermost in the scan forward, so that the maximum over the tag before is one over
    whole vectors. What led to the best is found again on the way back, for the best path alone,
    from the very numbers that were compared.
    """
    p, order = potentials, chains.order
    length, count, tags = len(chains.sizes), len(order), p.emissions.shape[1]
    index = chains.over_time()  # (L, S)
    local = p.emissions.index_select(0, index.flatten()).view(length, count, tags)
    local = local.transpose(1, 2).contiguous()  # (L, K, S)
    scores = torch.empty_like(local)
    scores[0] = p.begin.index_select(0, order).t() + local[0]
    steps = p.transitions.unsqueeze(2)  # (K from, K to, 1)
    block = max(1, BLOCK // (tags * count))
    room = local.new_empty(tags * min(tags, block) * count)
    runs = _after_first(chains.runs)
    for size, start, stop in runs:
        parts = []
        for low in range(0, tags, block):
            step = steps[:, low : low + block]
            pair = room[: tags * step.shape[1] * size].view(tags, step.shape[1], size)
            parts.append((step, pair, slice(low, low + block)))
        before = scores[start - 1 : stop - 1, :, :size].unsqueeze(2).unbind(0)  # (K from, 1, n)
        now = scores[start:stop, :, :size].unbind(0)
        emitted = local[start:stop, :, :size].unbind(0)
        for source, here, emission in zip(before, now, emitted, strict=True):
            for step, pair, some in parts:
                torch.add(source, step, out=pair)
                torch.amax(pair, 0, out=here if len(parts) == 1 else here[some])
            here.add_(emission)
    upto = scores.transpose(1, 2).contiguous()  # (L, S, K)
    final = chains.length.index_select(0, order) - 1
    ends = upto.view(-1, tags).index_select(
        0, final * count + torch.arange(count, device=final.device)
    )
    best, last = (ends + p.finish.index_select(0, order)).max(1)
    path = last.repeat(length, 1)  # (L, S)
    into = p.transitions.t().clamp(min=-_NEVER)  # (K to, K from)
    if len(chains.runs) > 1:
        # From its last position on, a chain stays at its last tag, so that steps take all chains.
        over = torch.arange(length, device=final.device).unsqueeze(1) >= final  # (L, S)
        fixed = torch.full_like(upto, -_NEVER).scatter_(2, path.unsqueeze(2), 1e4 * _NEVER)
        upto = torch.where(over.unsqueeze(2), fixed, upto)
    room = upto.new_empty(count, tags)
    for size, start, stop in reversed(runs):
        part = room[:size]
        found = path[start - 1 : stop, :size].unbind(0)
        came_from = upto[start - 1 : stop - 1, :size].unbind(0)
        for time in range(stop - start - 1, -1, -1):
            torch.index_select(into, 0, found[time + 1], out=part)
            torch.argmax(part.add_(came_from[time]), 1, out=found[time])
    return _unsort(path.unsqueeze(0), best.unsqueeze(1), chains)


def _k_best(potentials: Potentials, chains: Chains, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best paths of each chain, (k, N) int64, and their scores, (S, k)."""
    p, order = potentials, chains.order
    index = chains.over_time()  # (L, S)
    length, count = index.shape
    tags = p.emissions.shape[1]
    local = p.emissions.index_select(0, index.flatten()).view(length, count, tags)
    into = p.transitions.t().unsqueeze(2)  # (K to, K from, 1)
    block = max(1, BLOCK // (tags * k * count))
    # State (S, K, k): the k best scores of paths that end in a tag, -inf where there are fewer.
    state = local.new_full((count, tags, k), -math.inf)
    state[:, :, 0] = p.begin.index_select(0, order) + local[0]
    pointers = torch.zeros(length, count, tags, k, dtype=torch.int64, device=local.device)
    for time in range(1, length):
        size = chains.sizes[time]
        before = state[:size].unsqueeze(1)  # (n, 1, K from, k)
        found, came = [], []
        for step in torch.split(into, block):
            pairs = (before + step).flatten(2)  # (n, some K to, K from * k)
            top = pairs.topk(k, 2) if pairs.shape[2] >= k else _padded_top(pairs, k)
            found.append(top[0])
            came.append(top[1])
        new = torch.cat(found, 1) + local[time, :size].unsqueeze(2)
        state = torch.cat([new, state[size:]])
        pointers[time, :size] = torch.cat(came, 1)
    ends = (state + p.finish.index_select(0, order).unsqueeze(2)).flatten(1)
    best, place = ends.topk(k, 1) if ends.shape[1] >= k else _padded_top(ends, k)
    path = torch.empty(length, count, k, dtype=torch.int64, device=local.device)
    for time in range(length - 1, -1, -1):
        path[time] = place.div(k, rounding_mode="floor")
        size = chains.sizes[time]
        came_from = pointers[time, :size].flatten(1).gather(1, place[:size])
        if time:  # a chain that ended before keeps its place until its last position comes up
            place = torch.cat([came_from, place[size:]])
    path = path.masked_fill(best == -math.inf, NOT_KEPT)
    return _unsort(path.permute(2, 0, 1), best, chains)


def _padded_top(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k greatest along the last axis, -inf behind where there are fewer than k."""
    room = values.new_full((*values.shape[:-1], k - values.shape[-1]), -math.inf)
    top = torch.cat([values, room], -1).sort(-1, descending=True)
    return top[0], top[1].clamp(max=values.shape[-1] - 1)


def _unsort(path: Tensor, score: Tensor, chains: Chains) -> tuple[Tensor, Tensor]:
    """Return paths (k, L, S) as (k, N), and scores (S, k), from the scan's order to the chains'."""
    found = path.flatten(1).index_select(1, chains.grid)
    return found, torch.empty_like(score).index_copy_(0, chains.order, score)


def _after_first(runs: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return runs without the first step, as (chains, first step, step behind the last).

    Runs of about as many chains are taken together, with the most that one has: a few chains too
    many cost less than another run.
    """
    found: list[tuple[int, int, int]] = []
    start = 0
    for size, steps in runs:
        stop = start + steps
        if found and size > 0.75 * found[-1][0]:
            found[-1] = (*found[-1][:2], stop)
        elif stop > 1:
            found.append((size, max(start, 1), stop))
        start = stop
    return found


def _check(constraints: Transitions, num_tags: int) -> None:
    """See that the constraints fit, and leave a sequence of every length."""
    allowed, start, end = constraints.allowed, constraints.start, constraints.end
    sizes = {len(start), len(end), len(allowed), *map(len, allowed)}
    if sizes != {num_tags}:
        raise ValueError(f"constraints are of {sorted(sizes)} tags, emissions of {num_tags}")
    reached = frozenset(tag for tag in range(num_tags) if start[tag])
    follow = [frozenset(tag for tag in range(num_tags) if row[tag]) for row in allowed]
    seen: set[frozenset[int]] = set()
    while reached not in seen:
        seen.add(reached)
        if not any(end[tag] for tag in reached):
            raise ValueError(
                f"the constraints leave no sequence of {len(seen)} tags: each that may begin one "
                "leads nowhere (is O among the tags?)"
            )
        reached = frozenset(chain.from_iterable(follow[tag] for tag in reached))


def _unknown(emissions: Tensor, chains: Chains) -> Tensor:
    """Return the positions (N,) whose chain holds a NaN."""
    nan = chains.gather(emissions).isnan().any(1)
    found = torch.zeros_like(chains.first, dtype=torch.int64).index_add_(
        0, chains.chain, nan.long()
    )
    return found.index_select(0, chains.chain) > 0


def _bool(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.bool()


def _lift(scores: Tensor) -> Tensor:
    """Return the scores in float32 at least."""
    return scores if scores.dtype == torch.float64 else scores.float()


def _finite(emissions: Tensor) -> Tensor:
    """Return emissions to decode: lifted, and none so large that their sum would be infinite."""
    known = torch.nan_to_num(_lift(emissions), nan=-_LOWEST, posinf=_LOWEST, neginf=-_LOWEST)
    return known.clamp(-_LOWEST, _LOWEST)
