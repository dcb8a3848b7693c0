"""Sums over all paths of a chain: the partition function, its gradient, and marginals.

The forward and backward recursions (Lafferty et al. 2001, "Conditional Random Fields", §3; Rabiner
1989, "A Tutorial on Hidden Markov Models", §III.A and V.A on scaling) run at once: step t takes the
chains read forward and the chains read backward one position on, by one batched product with
exp(transitions) and one multiplication by exp(emissions). Both keep scaled probabilities, not
logarithms. What is kept of the scan gives the gradient without a second one: marginals of positions
are products of two messages, those of pairs sum up in one matrix product.

A chain whose numbers leave the range of float32 (hard constraints against emissions of dozens of
nats) is computed again in float64, and with logarithms if it leaves that range, too; see
`_Scan.failed` for how it is found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.autograd.function import FunctionCtx

    from dlk.nlp.module._chains import Chains

BLOCK = 1 << 24
"""Most numbers in one temporary tensor of pairs of tags."""


@dataclass(frozen=True)
class Potentials:
    """What paths are scored with, in nats; forbidden is -inf.

    Attributes:
        emissions: (N, K), the greatest of a position is 0 (what was taken off is the same for all).
        transitions: (K, K), from and to.
        begin: (S, K), for each chain.
        finish: (S, K).
    """

    emissions: Tensor
    transitions: Tensor
    begin: Tensor
    finish: Tensor

    def to(self, dtype: torch.dtype) -> Potentials:
        return Potentials(
            self.emissions.to(dtype),
            self.transitions.to(dtype),
            self.begin.to(dtype),
            self.finish.to(dtype),
        )


class Posterior:
    """Probabilities of tags and of pairs of tags, given a batch's potentials.

    Attributes:
        log_partition: (S,), the logarithm of the sum over all paths.
    """

    def __init__(self, potentials: Potentials, chains: Chains) -> None:
        self.chains = chains
        self._scan = _Scan(potentials.to(_precise(potentials.emissions)), chains)
        self.log_partition = self._scan.log_partition
        self._rescued: Posterior | _LogScan | None = None
        failed = self._scan.failed  # (S,) bool
        if failed.any():
            some, self._number = chains.only(failed)
            emissions = potentials.emissions.index_select(0, self._number)
            begin, finish = potentials.begin[failed], potentials.finish[failed]
            part = Potentials(emissions, potentials.transitions, begin, finish)
            wide = _widest(emissions)
            if self.log_partition.dtype == wide:
                self._rescued = _LogScan(part.to(wide), some)
            else:
                self._rescued = Posterior(part.to(wide), some)
            self.log_partition = self.log_partition.masked_scatter(
                failed, self._rescued.log_partition.to(self.log_partition.dtype)
            )

    def marginals(self) -> Tensor:
        """Return p(tag) at each position, (N, K)."""
        found = self._scan.marginals()
        if self._rescued is not None:
            found[self._number] = self._rescued.marginals().to(found.dtype)
        return found

    def pairs(self, weight: Tensor) -> Tensor:
        """Return the sum of p(tag, next tag) over neighbours, (K, K).

        Args:
            weight: (N,), of each position's pair with the one before it; the first of a chain has
                none, whatever its weight.
        """
        weight = weight.index_fill(0, self.chains.first, 0.0)
        if self._rescued is None:
            return self._scan.pairs(weight)
        total = self._scan.pairs(weight.index_fill(0, self._number, 0.0))
        rescued = weight.index_select(0, self._number).to(self._rescued.log_partition.dtype)
        return total + self._rescued.pairs(rescued).to(total.dtype)

    def conditionals(self, tags: Tensor) -> Tensor:
        """Return p(tag | tag before) along paths, (N,), at a chain's first position p(tag).

        Args:
            tags: (N,) int64.
        """
        first = self._scan.marginals(self.chains.first)
        first = first.gather(1, tags.index_select(0, self.chains.first).unsqueeze(1)).squeeze(1)
        found = self._scan.conditionals(tags).index_copy(0, self.chains.first, first)
        if self._rescued is not None:
            rescued = self._rescued.conditionals(tags.index_select(0, self._number))
            found[self._number] = rescued.to(found.dtype)
        return found.clamp(0.0, 1.0)


def log_partition(potentials: Potentials, chains: Chains) -> Tensor:
    """Return the logarithm of the sum over all paths, (S,), differentiable once."""
    p = potentials
    result = LogPartition.apply(p.emissions, p.transitions, p.begin, p.finish, chains)
    return cast(Tensor, result)


class LogPartition(torch.autograd.Function):
    """The log-partition function; its gradient are the marginals."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        emissions: Tensor,
        transitions: Tensor,
        begin: Tensor,
        finish: Tensor,
        chains: Chains,
    ) -> Tensor:
        with torch.autocast(emissions.device.type, enabled=False):
            posterior = Posterior(Potentials(emissions, transitions, begin, finish), chains)
        ctx.posterior = posterior  # type: ignore[attr-defined]  # what a context is for
        # A copy: the context must not hold the result, which holds the context.
        return posterior.log_partition.to(emissions.dtype, copy=True)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the CRF's loss can be differentiated once: its gradient is computed outside of "
                "autograd, so create_graph=True would leave out what depends on it"
            )
        posterior: Posterior = ctx.posterior  # type: ignore[attr-defined]  # see forward
        chains = posterior.chains
        needs: tuple[bool, ...] = ctx.needs_input_grad  # type: ignore[attr-defined]  # torch's
        with torch.autocast(grad.device.type, enabled=False):
            marginals = posterior.marginals()
            weight = grad.to(marginals.dtype).index_select(0, chains.chain)  # (N,)
            marginals.mul_(weight.unsqueeze(1))
            found = (
                marginals if needs[0] else None,
                posterior.pairs(weight) if needs[1] else None,
                marginals.index_select(0, chains.first) if needs[2] else None,
                marginals.index_select(0, chains.last) if needs[3] else None,
            )
        one, two, three, four = (None if g is None else g.to(grad.dtype) for g in found)
        return one, two, three, four, None


class _Scan:
    """Both recursions in scaled probabilities.

    A message is a row of K numbers that sum to at most 1, known up to a factor. `into` holds them
    as they arrive at a position, `upto` with the position's emission; those read forward in the
    rows `forward`, those read backward in the rows `backward`. `joint` (N, K) are the products of
    both sides' messages, whose shares of their sum `mass` are the marginals.
    """

    def __init__(self, potentials: Potentials, chains: Chains) -> None:
        self.chains = chains
        emissions = potentials.emissions
        number, tags = emissions.shape
        self.forward, self.backward = chains.slots
        weights = torch.empty(2 * number, tags, dtype=emissions.dtype, device=emissions.device)
        local = emissions.exp()
        weights.index_copy_(0, self.forward, local).index_copy_(0, self.backward, local)
        # With the greatest sum of a row or column at 1, no step lets a message grow.
        top = potentials.transitions.amax()
        steps = (potentials.transitions - top).exp()
        most = torch.maximum(steps.sum(0).amax(), steps.sum(1).amax())
        self.steps = steps / most
        into, self.upto = torch.empty_like(weights), torch.empty_like(weights)
        begin, finish = potentials.begin, potentials.finish
        tops = begin.amax(1, keepdim=True), finish.amax(1, keepdim=True)
        ends = torch.stack([(begin - tops[0]).exp(), (finish - tops[1]).exp()])
        ends = ends / ends.sum(2, keepdim=True).clamp(min=1.0)
        scales = self._run(weights, into, ends.index_select(1, chains.order))
        wide = _widest(emissions)  # for sums of many logarithms
        total = torch.empty(len(chains.order), dtype=wide, device=emissions.device)
        total[chains.order] = scales.to(wide).log().sum(0)
        last = self.forward.index_select(0, chains.last)
        finish = (finish - tops[1]).exp()
        total += (self.upto.index_select(0, last) * finish).sum(1).to(wide).log()
        first_sum = (begin - tops[0]).exp().sum(1).clamp(min=1.0)
        total += (tops[0] + tops[1]).squeeze(1).to(wide) + first_sum.to(wide).log()
        total += (chains.length - 1) * (top.to(wide) + most.to(wide).log())
        self.log_partition = total.to(emissions.dtype)
        self.joint = into.index_select(0, self.forward)
        self.joint *= self.upto.index_select(0, self.backward)  # (N, K)
        self.mass = self.joint.sum(1)  # (N,)

    def _run(self, weights: Tensor, messages: Tensor, ends: Tensor) -> Tensor:
        """Fill `messages` as they arrive and `upto`; return what the forward ones were divided by.

        Args:
            weights: (2N, K), exp(emissions) in the order of the scan.
            messages: (2N, K), empty.
            ends: (2, S, K), what arrives at the chains' ends, chains in order.

        Returns:
            (rescalings, S), 1 where a chain had ended.
        """
        tags = weights.shape[1]
        both = torch.stack([self.steps, self.steps.t()])  # (2, K, K)
        every = _rescale_every(tags)
        scales = torch.ones(
            1 + (len(self.chains.sizes) - 1) // every,
            len(self.chains.order),
            dtype=weights.dtype,
            device=weights.device,
        )
        used, step, row = 0, 0, 0
        before = ends
        for size, count in self.chains.runs:
            end = row + 2 * size * count
            shape = (count, 2, size, tags)
            into = messages[row:end].view(shape).unbind(0)
            upto = self.upto[row:end].view(shape).unbind(0)
            local = weights[row:end].view(shape).unbind(0)
            before = before[:, :size]
            for arriving, leaving, weight in zip(into, upto, local, strict=True):
                if step == 0:
                    arriving.copy_(before)
                else:
                    torch.bmm(before, both, out=arriving)
                torch.mul(arriving, weight, out=leaving)
                step += 1
                if step % every == 0:
                    scale = leaving.sum(2, keepdim=True)
                    leaving.div_(scale)
                    scales[used, :size] = scale[0, :, 0]
                    used += 1
                before = leaving
            row = end
        return scales

    @property
    def failed(self) -> Tensor:
        """Return for which chains a path that counts may have been lost, (S,) bool.

        Numbers below the smallest normal one are lost. At a position the messages from both sides
        multiply and sum up to `mass`; messages sum to at most 1, so lost numbers can change `mass`
        by K times the smallest normal number from either side. Where that is less than the
        rounding of `mass` at every position of a chain, nothing was lost. Where everything was
        lost, `mass` is 0 or NaN, which fails, too.
        """
        kind = torch.finfo(self.mass.dtype)
        least = 2 * self.steps.shape[0] * kind.tiny / kind.eps
        lost = ~(self.mass >= least)
        failed = torch.zeros_like(self.chains.first, dtype=torch.bool)
        if lost.any():
            failed[self.chains.chain[lost]] = True
        return failed

    def marginals(self, number: Tensor | None = None) -> Tensor:
        if number is None:
            return self.joint / self.mass.unsqueeze(1)
        joint = self.joint.index_select(0, number)
        return joint / self.mass.index_select(0, number).unsqueeze(1)

    def pairs(self, weight: Tensor) -> Tensor:
        # p(i, j) = upto[i] step[i, j] upto'[j] / mass, where upto' is read backward.
        weight = (weight / self.mass).where(weight != 0, 0.0)
        after = self.upto.index_select(0, self.backward) * weight.unsqueeze(1)
        before = self.upto.index_select(0, self.forward)
        return self.steps * (before[:-1].t() @ after[1:])

    def conditionals(self, tags: Tensor) -> Tensor:
        """Return p(tag | tag before); what the first of a chain gets means nothing."""
        after = self.upto.index_select(0, self.backward)
        after *= self.steps.index_select(0, tags.roll(1))
        total = after.sum(1).clamp(min=torch.finfo(after.dtype).tiny)
        return after.gather(1, tags.unsqueeze(1)).squeeze(1) / total


class _LogScan:
    """The same with logarithms: slower, for chains that leave the range of scaled floats.

    `ahead` holds the messages read forward, with the position's emission; `behind` those read
    backward, as they arrive. (N, K) each.
    """

    def __init__(self, potentials: Potentials, chains: Chains) -> None:
        self.chains = chains
        self.potentials = potentials
        emissions = potentials.emissions
        self.ahead, self.behind = torch.empty_like(emissions), torch.empty_like(emissions)
        first, last = chains.first, chains.last
        self.ahead[first] = emissions[first] + potentials.begin
        self.behind[last] = potentials.finish
        steps = potentials.transitions
        back = steps.t().contiguous()
        for step in range(1, len(chains.sizes)):
            on = chains.length > step
            here = first[on] + step
            self.ahead[here] = _log_product(self.ahead[here - 1], steps) + emissions[here]
            here = last[on] - step
            self.behind[here] = _log_product(self.behind[here + 1] + emissions[here + 1], back)
        self.log_partition = (self.ahead[last] + potentials.finish).logsumexp(1)
        impossible = self.log_partition == -math.inf
        if impossible.any():
            raise ValueError(
                f"row {int(chains.row[impossible][0])}: no sequence of tags is possible, so none "
                "has a probability: emissions of -inf and the constraints leave none"
            )
        self.total = self.log_partition.index_select(0, chains.chain).unsqueeze(1)  # (N, 1)

    def marginals(self) -> Tensor:
        return (self.ahead + self.behind).softmax(1)

    def pairs(self, weight: Tensor) -> Tensor:
        """Return the weighted sum of p(i, j), position by position in blocks."""
        steps = self.potentials.transitions
        found = torch.zeros_like(steps)
        after = self.behind + self.potentials.emissions - self.total
        (number,) = weight.nonzero(as_tuple=True)
        for some in torch.split(number, max(1, BLOCK // steps.numel())):
            joint = self.ahead[some - 1].unsqueeze(2) + steps + after[some].unsqueeze(1)
            found += torch.einsum("n,nij->ij", weight[some], joint.exp())
        return found

    def conditionals(self, tags: Tensor) -> Tensor:
        steps = self.potentials.transitions[tags.roll(1), tags]
        behind = self.behind.gather(1, tags.unsqueeze(1)).squeeze(1)
        here = behind + self.potentials.emissions.gather(1, tags.unsqueeze(1)).squeeze(1)
        found = (steps + here - behind.roll(1)).exp()
        first = self.chains.first
        return found.index_copy(0, first, self.marginals()[first, tags[first]])


def _log_product(messages: Tensor, steps: Tensor) -> Tensor:
    """Return logsumexp over i of messages[n, i] + steps[i, j], (n, K), in blocks."""
    rows = max(1, BLOCK // steps.numel())
    parts = [(part.unsqueeze(2) + steps).logsumexp(1) for part in torch.split(messages, rows)]
    return torch.cat(parts)


def _rescale_every(tags: int) -> int:
    """Return after how many steps messages are scaled to sum to 1 again.

    Emissions that leave one tag let a message fall to 1/K in a step, and e-10 in all is well inside
    of a float's range, with room left for transitions and constraints.
    """
    return max(1, min(8, int(24 / math.log(max(tags, 2)))))


def _widest(like: Tensor) -> torch.dtype:
    """Return float64, where the device has it."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def _precise(like: Tensor) -> torch.dtype:
    """Return a type whose products are exact: float32's are not where the user allows less."""
    if like.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        return torch.float64
    return like.dtype
