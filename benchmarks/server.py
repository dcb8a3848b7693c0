"""`Server.fit` of one short row beside tokenising, the bare forward pass and argmax.

    python -m benchmarks.server [--rounds 60]

Both run in one process and one thread, by turns, over the same real questions; the peer has the
same tokenizer, model and weights, and nothing else: no check of the row, no named columns, no
probabilities. Medians of CPU milliseconds.

Then the same questions by `submit`, with 8 and 32 of them waiting at any time, beside one after the
other by `fit`: what joining the rows of concurrent callers saves. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from benchmarks.bundles import ENCODERS, classifier, texts
from dlk import hf
from dlk.bundle.read import Bundle
from dlk.server import Server
from examples.data import minilm

GOAL = 1.3
CLIENTS = (8, 32)


def bare(bundle: Path) -> Callable[[str], int]:
    """Return what tokenises a text, runs the model and takes the most likely class."""
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model: Any = Bundle(bundle).engine().model
    encoder, head = model.embedding.bert, model.decoder.linear

    def answer(text: str) -> int:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            states = hf.encode(encoder, ids, torch.ones_like(ids, dtype=torch.bool))
            return int(head(states.mean(dim=1)).argmax(dim=-1))

    return answer


def by_turns(
    calls: Sequence[Callable[[str], object]], asked: Sequence[str], rounds: int
) -> list[float]:
    """Return the median CPU milliseconds of a call of each; every text goes to each in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 10):
        text = asked[number % len(asked)]
        for call, found in zip(calls, times, strict=True):
            start = time.process_time()
            for _ in range(5):
                call(text)
            found.append((time.process_time() - start) / 5 * 1000)
    return [statistics.median(found[10:]) for found in times]


def waiting(server: Server, asked: Sequence[str], clients: int) -> None:
    """Ask everything by `submit`, so many requests under way at any time."""
    under_way: deque[Future[Any]] = deque()
    for text in asked:
        if len(under_way) == clients:
            under_way.popleft().result()
        under_way.append(server.submit({"sentence": text}))
    for each in under_way:
        each.result()


def joined(server: Server, asked: Sequence[str], rounds: int) -> dict[int, float]:
    """Return, by clients, how many times the answers per CPU second are those of `fit` alone."""

    def alone() -> None:
        for text in asked:
            server.fit({"sentence": text})

    calls: dict[int, Callable[[], None]] = {1: alone}
    for clients in CLIENTS:
        calls[clients] = lambda clients=clients: waiting(server, asked, clients)  # type: ignore[misc]  # bound now
    times: dict[int, list[float]] = {clients: [] for clients in calls}
    for _ in range(rounds):
        for clients, call in calls.items():
            start = time.process_time()
            call()
            times[clients].append(time.process_time() - start)
    medians = {clients: statistics.median(found) for clients, found in times.items()}
    return {clients: medians[1] / medians[clients] for clients in CLIENTS}


def run(*, rounds: int = 60) -> dict[str, float]:
    """Measure all encoders, print them, and return the ratios."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    asked = texts()[:200]
    results: dict[str, float] = {}
    print(f"one question, one thread, median CPU ms of {rounds} turns\n")
    print(f"{'':14} {'bare':>8} {'Server.fit':>12} {'ratio':>7} {'goal':>6}")
    for encoder in ENCODERS:
        with tempfile.TemporaryDirectory() as folder:
            bundle = classifier(Path(folder), encoder)
            server = Server(bundle)
            peer = bare(bundle)
            for text in asked[:20]:  # the same answers
                best = server.fit({"sentence": text})["label"]
                assert best == server.engine.postprocessor.words[peer(text)]  # type: ignore[attr-defined]  # of txt_cls
            theirs, mine = by_turns(
                [peer, lambda text, server=server: server.fit({"sentence": text})],  # type: ignore[misc]  # bound now
                asked,
                rounds,
            )
            gains = joined(server, asked, max(3, rounds // 20))
            server.close()
        ratio = mine / theirs
        results[encoder] = round(ratio, 3)
        print(
            f"{encoder:14} {theirs:8.2f} {mine:12.2f} {ratio:6.2f}x {GOAL:5.1f}x"
            f"{'' if ratio <= GOAL else '  MISSED'}"
        )
        for clients, gain in gains.items():
            results[f"{encoder}, {clients} waiting"] = round(gain, 2)
            print(f"{'':14} {clients:3} requests waiting: {gain:.2f}x the answers of one by one")
    print(json.dumps(results))
    return results


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60, help="turns that the medians are of")
    run(rounds=parser.parse_args().rounds)


if __name__ == "__main__":
    main()
