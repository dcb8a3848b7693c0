"""Packed weights beside plain ones: CPU time of the forward pass, and how far the numbers differ.

    python -m benchmarks.packed [--rounds 15]

The same model, once as it is and once with packed linear layers, by turns in one process and one
thread; medians of CPU milliseconds. "as chosen" uses the packed product where timing found it
faster, which is what `Server(bundle, packed=True)` does; "always" uses it everywhere. What there is
to gain depends on the CPU: the last line says which instructions PyTorch uses here. It is one JSON
object.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.bundles import ENCODERS, classifier
from dlk.bundle.read import Bundle
from dlk.inference import infer
from dlk.nn.module.packed_linear import pack

GOAL = 1.5
BATCHES = (1, 8, 32)
LENGTHS = (24, 64)


def batch(size: int, length: int) -> dict[str, Tensor]:
    """Return random ids, all kept."""
    ids = torch.randint(1000, 30000, (size, length), generator=torch.Generator().manual_seed(0))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids, dtype=torch.bool),
        "_index": torch.arange(size),
    }


def logits(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return infer(model, given)["logits"]


def by_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median CPU milliseconds of a call of each, taken by turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 2):
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            found.append((time.process_time() - start) * 1000)
    return [statistics.median(found[2:]) for found in times]


def run(*, rounds: int = 15) -> dict[str, object]:
    """Measure all encoders and shapes, print them, and return the ratios."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    cpu = torch.backends.cpu.get_cpu_capability()
    results: dict[str, object] = {"instructions": cpu}
    print(f"one thread, median CPU ms of {rounds} turns, instructions {cpu}\n")
    print(
        f"{'':16} {'plain':>8} {'as chosen':>10} {'ratio':>7} {'always':>8} {'ratio':>7} "
        f"{'diff':>8}"
    )
    for encoder in ENCODERS:
        with tempfile.TemporaryDirectory() as folder:
            plain = Bundle(classifier(Path(folder), encoder)).engine().model
        chosen, always = copy.deepcopy(plain), copy.deepcopy(plain)
        packing = pack(chosen)
        pack(always, always=True)
        for size in BATCHES:
            for length in LENGTHS:
                given = batch(size, length)
                models = (plain, chosen, always)
                one, two, three = by_turns(
                    [lambda m=m, g=given: logits(m, g) for m in models],  # type: ignore[misc]  # bound now
                    rounds,
                )
                far = float((logits(always, given) - logits(plain, given)).abs().max())
                name = f"{encoder} {size} x {length}"
                results[name] = round(one / two, 2)
                print(
                    f"{name:16} {one:8.1f} {two:10.1f} {one / two:6.2f}x {three:8.1f} "
                    f"{one / three:6.2f}x {far:8.0e}"
                )
        print(f"{'':16} {packing.layers} of {packing.considered} layers packed {packing.reason}")
    print(f"goal at 8 rows: {GOAL}x")
    print(json.dumps(results))
    return results


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="turns that the medians are of")
    run(rounds=parser.parse_args().rounds)


if __name__ == "__main__":
    main()
