"""dlk's CRF beside pytorch-crf: time of loss and backward, of Viterbi, and error of the gradient.

    python -m benchmarks.crf [--rounds 15]

Both compute the same thing from the same numbers in one process and one thread, by turns; the
medians of CPU seconds are compared, so a busy machine moves both alike. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchcrf
from torch import Tensor

from dlk.nlp.module.crf import CRF

BATCH, TAGS = 32, 20


@dataclass(frozen=True)
class Case:
    """One shape, and the ratios to reach."""

    name: str
    time: int
    ragged: bool
    loss_goal: float
    viterbi_goal: float


CASES = (
    Case("T=128", 128, ragged=False, loss_goal=7.0, viterbi_goal=2.7),
    Case("T=512", 512, ragged=False, loss_goal=12.0, viterbi_goal=2.7),
    Case("T=128 ragged", 128, ragged=True, loss_goal=4.5, viterbi_goal=1.8),
)


@dataclass(frozen=True)
class Problem:
    """The same weights on both sides, and a batch."""

    ours: CRF
    peer: torchcrf.CRF
    emissions: Tensor
    tags: Tensor
    mask: Tensor


def problem(case: Case, *, scale: float = 1.0) -> Problem:
    """Return random weights, emissions from N(0, scale²), tags, and lengths uniform if ragged."""
    torch.manual_seed(7)
    ours, peer = CRF(TAGS), torchcrf.CRF(TAGS, batch_first=True)
    with torch.no_grad():
        peer.transitions.copy_(ours.transitions)
        peer.start_transitions.copy_(ours.start)
        peer.end_transitions.copy_(ours.end)
    shape = (BATCH, case.time)
    lengths = torch.full((BATCH,), case.time)
    if case.ragged:
        lengths = torch.randint(case.time // 16, case.time + 1, (BATCH,))
        lengths[0] = case.time
    mask = torch.arange(case.time) < lengths.unsqueeze(1)
    emissions = torch.randn(*shape, TAGS) * scale
    return Problem(ours, peer, emissions, torch.randint(TAGS, shape), mask)


def our_loss(p: Problem, emissions: Tensor) -> Tensor:
    loss: Tensor = p.ours(emissions, p.tags, p.mask, reduction="mean")
    return loss


def peer_loss(p: Problem, emissions: Tensor) -> Tensor:
    loss: Tensor = -p.peer(emissions, p.tags, p.mask, reduction="mean")
    return loss


def train(loss: Callable[[Problem, Tensor], Tensor], p: Problem) -> Callable[[], None]:
    """Return a call of loss and backward to emissions and weights."""
    emissions = p.emissions.clone().requires_grad_()

    def step() -> None:
        emissions.grad = None
        p.ours.zero_grad()
        p.peer.zero_grad()
        loss(p, emissions).backward()  # type: ignore[no-untyped-call]  # torch types it not

    return step


def by_turns(one: Callable[[], object], two: Callable[[], object], rounds: int) -> list[float]:
    """Return the median CPU milliseconds of a call of each, taken by turns."""
    calls = [(call, _repeats(call)) for call in (one, two)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for (call, repeats), found in zip(calls, times, strict=True):
            start = time.process_time()
            for _ in range(repeats):
                call()
            found.append((time.process_time() - start) / repeats * 1000)
    return [statistics.median(found) for found in times]


def _repeats(call: Callable[[], object]) -> int:
    """Return how many calls take about 30 ms, after three to warm up."""
    for _ in range(2):
        call()
    start = time.process_time()
    call()
    return max(1, int(0.03 / max(time.process_time() - start, 1e-6)))


def gradient_errors(case: Case, scale: float) -> tuple[float, float]:
    """Return the greatest error of the emissions' gradient of each, against float64."""
    p = problem(case, scale=scale)
    emissions = p.emissions.requires_grad_()
    found = [
        torch.autograd.grad(loss(p, emissions), emissions)[0] for loss in (our_loss, peer_loss)
    ]
    p.peer.double()
    exact = p.emissions.detach().double().requires_grad_()
    (truth,) = torch.autograd.grad(peer_loss(p, exact), exact)
    ours, peer = (float((gradient - truth).abs().max()) * BATCH for gradient in found)
    return ours, peer


def run(*, rounds: int = 15) -> dict[str, float]:
    """Measure all cases, print them, and return the ratios and errors."""
    torch.set_num_threads(1)
    results: dict[str, float] = {}
    print(f"B={BATCH} K={TAGS}, one thread, median CPU ms of {rounds} turns\n")
    print(f"{'':14} {'':16} {'pytorch-crf':>12} {'dlk':>8} {'ratio':>7} {'goal':>6}")
    for case in CASES:
        p = problem(case)
        kinds: list[tuple[str, Callable[[], object], Callable[[], object], float]] = [
            ("loss + backward", train(peer_loss, p), train(our_loss, p), case.loss_goal),
            (
                "Viterbi",
                lambda p=p: p.peer.decode(p.emissions, p.mask),  # type: ignore[misc]  # bound now
                lambda p=p: p.ours.viterbi(p.emissions, p.mask),  # type: ignore[misc]  # bound now
                case.viterbi_goal,
            ),
        ]
        for kind, theirs, mine, goal in kinds:
            peer, ours = by_turns(theirs, mine, rounds)
            ratio = peer / ours
            results[f"{kind}, {case.name}"] = round(ratio, 2)
            print(
                f"{case.name:14} {kind:16} {peer:12.2f} {ours:8.2f} {ratio:6.1f}x {goal:5.1f}x"
                f"{'' if ratio >= goal else '  MISSED'}"
            )
    print("\ngreatest error of a row's gradient against float64 (goal: no more than pytorch-crf's)")
    for scale in (1.0, 10.0, 100.0):
        for case in CASES:
            ours, peer = gradient_errors(case, scale)
            results[f"error, {case.name}, x{scale:g}"] = ours
            results[f"error of pytorch-crf, {case.name}, x{scale:g}"] = peer
            print(
                f"{case.name:14} emissions x{scale:<5g} {peer:12.1e} {ours:8.1e}"
                f"{'' if ours <= peer else '  MISSED'}"
            )
    print(json.dumps(results))
    return results


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="turns that the medians are of")
    run(rounds=parser.parse_args().rounds)


if __name__ == "__main__":
    main()
