"""How long training stands still while a checkpoint is kept.

A checkpoint of a model with AdamW's two moments, as Lightning hands it over, is kept in turn by:

- Lightning: `TorchCheckpointIO`, which training waits for. It does not flush the disk's cache.
- waiting: what dlk writes (aside, flushed, renamed), with ``in_background: false``.
- dlk: copied at once, written by a thread. What is timed is the call; the thread ends before the
  next one begins, as it does where checkpoints are further apart than writing takes.

The wall time of the call is what training misses, so this is the one benchmark in wall time:
medians of interleaved rounds. Run from the root: python -m benchmarks.checkpoint
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from dlk.trainer._writer import Writer


def checkpoint(million: float) -> dict[str, Any]:
    """A model of so many million weights in layers of a transformer's size, and its moments."""
    size = 512
    layers = max(1, round(million * 1e6 / (12 * size * size)))
    model = torch.nn.Sequential(
        *(
            torch.nn.Sequential(torch.nn.Linear(size, 6 * size), torch.nn.Linear(6 * size, size))
            for _ in range(2 * layers)
        )
    )
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}


def measure(million: float, rounds: int) -> dict[str, float]:
    """Return the median seconds that each way holds training up."""
    saved = checkpoint(million)
    plain, waiting, beside = TorchCheckpointIO(), Writer(in_background=False), Writer()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "x.ckpt"))
        ways: dict[str, Callable[[], None]] = {
            "Lightning": lambda: plain.save_checkpoint(saved, path),
            "waiting": lambda: waiting.write(path, saved),
            "dlk": lambda: beside.write(path, saved),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                took = time.perf_counter() - start
                beside.wait()
                if number:  # the first round warms up
                    times[name].append(took)
        beside.check()
        beside.close()
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", type=float, nargs="+", default=[4.0, 16.0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| million weights | with moments | way | training waits, ms | of Lightning's |")
    print("| --- | --- | --- | --- | --- |")
    for million in args.million:
        found = measure(million, args.rounds)
        for name, seconds in found.items():
            share = seconds / found["Lightning"]
            size = f"{million * 12:.0f} MB"
            print(f"| {million:g} | {size} | {name} | {seconds * 1000:.0f} | {share:.2f} |")


if __name__ == "__main__":
    main()
