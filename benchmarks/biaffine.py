"""Peak memory and time of all-pairs scores: dlk's biaffine and the usual way with full tensors.

The usual way projects, activates, makes ``s'Ue`` by one product over all pairs, moves the classes
to the end and masks the copy. Then each takes the cross entropy of the kept pairs, torch's or
dlk's, and goes backward.
Each case is a process of its own, since a peak is a process's; what is printed is the peak above
what the process held before the first step. Both have the same weights, and their gradients are
compared.

    python -m benchmarks.biaffine

The last line is one JSON object with the ratios (usual / dlk; more is better).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlk.config import make
from dlk.nlp.module.biaffine import Biaffine
from dlk.registry import register

WIDTH = 384


class Usual(nn.Module):
    """Projections, activation, one product over all pairs, classes moved to the end, mask."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(WIDTH, hidden), nn.Linear(WIDTH, hidden)
        self.weight = nn.Parameter(torch.empty(classes, hidden + 1, hidden + 1))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L, L, C) from (B, L, D) and (B, L)."""
        ones = vectors.new_ones(*vectors.shape[:2], 1)
        start = torch.cat((functional.leaky_relu(self.start(vectors)), ones), dim=-1)
        end = torch.cat((functional.leaky_relu(self.end(vectors)), ones), dim=-1)
        left = torch.einsum("bih,chk->bcik", start, self.weight)
        scores = torch.einsum("bcik,bjk->bcij", left, end)  # (B, C, L, L)
        scores = scores.permute(0, 2, 3, 1).contiguous()  # (B, L, L, C)
        pair = mask.unsqueeze(2) & mask.unsqueeze(1)
        return scores.masked_fill(~pair.unsqueeze(-1), -1e4)


def torch_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross entropy of scores (..., C) and targets (...)."""
    return functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), target.reshape(-1))


def peak() -> float:
    """Return the most memory that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Run one case in this process."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    ours = Biaffine(WIDTH, args.hidden, args.classes)
    usual = Usual(args.hidden, args.classes)
    with torch.no_grad():
        usual.weight.copy_(ours.form["weight"].permute(1, 0, 2))
    for name in ("start", "end"):
        getattr(usual, name).load_state_dict(getattr(ours, name).state_dict())
    module = cast(Callable[[Tensor, Tensor], Tensor], usual if args.case == "usual" else ours)
    pair = {"pred_truth_pair": {"logits": "label_ids"}}
    own_loss = register.build(make("loss", "cross_entropy", pair))
    loss = torch_loss if args.case == "usual" else own_loss
    vectors = torch.randn(args.batch, args.length, WIDTH, requires_grad=True)
    lengths = torch.linspace(args.length, args.length // 2, args.batch).long()
    mask = torch.arange(args.length) < lengths.unsqueeze(1)
    target = torch.randint(0, args.classes, (args.batch, args.length, args.length))
    target[~(mask.unsqueeze(2) & mask.unsqueeze(1))] = -100

    def step(length: int) -> float:
        start = time.process_time()
        scores = module(vectors[:, :length], mask[:, :length])
        if args.loss == "cross_entropy":
            torch.autograd.backward(loss(scores, target[:, :length, :length]))
        else:  # the scores and their gradient alone
            torch.autograd.backward(scores, weights[:, :length, :length])
        return time.process_time() - start

    weights = torch.randn(args.batch, args.length, args.length, args.classes)
    weights *= (target >= 0).unsqueeze(-1)
    step(16)  # what libraries set up once
    before = peak()
    first = torch.zeros_like(vectors) if vectors.grad is None else vectors.grad.clone()
    seconds = [step(args.length)]
    above = peak() - before
    after = first if vectors.grad is None else vectors.grad - first
    gradient = float(after.double().norm())
    seconds += [step(args.length) for _ in range(args.repeat - 1)]
    return {"MiB": above, "seconds": statistics.median(seconds), "gradient": gradient}


def main() -> None:
    """Measure each case in its own process and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=150)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--case", choices=["usual", "dlk"], help="measure one case here")
    parser.add_argument("--loss", choices=["cross_entropy", "none"], default="cross_entropy")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args)))
        return
    cells = args.batch * args.length**2 * args.classes * 4 / 2**20
    print(f"one tensor of all scores: {cells:.0f} MiB")
    ratios: dict[str, float] = {}
    for loss in ("none", "cross_entropy"):
        found: dict[str, dict[str, float]] = {}
        for case in ("usual", "dlk"):
            settings = {
                "case": case,
                "loss": loss,
                **{k: getattr(args, k) for k in ("batch", "length", "hidden", "classes", "repeat")},
            }
            flags = [f"--{key}={value}" for key, value in settings.items()]
            command = [sys.executable, "-m", "benchmarks.biaffine", *flags]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[case] = json.loads(done.stdout.splitlines()[-1])
            one = found[case]
            print(
                f"{loss:14} {case:5} peak +{one['MiB']:6.0f} MiB ({one['MiB'] / cells:.2f} x the "
                f"scores)  {one['seconds']:.2f} CPU s  |gradient| {one['gradient']:.6g}",
                flush=True,
            )
        usual, ours = found.values()
        if abs(usual["gradient"] - ours["gradient"]) > 1e-4 * usual["gradient"]:
            raise SystemExit("the gradients differ: the comparison means nothing")
        ratios[f"memory, {loss}"] = round(usual["MiB"] / ours["MiB"], 2)
        ratios[f"time, {loss}"] = round(usual["seconds"] / ours["seconds"], 2)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
