"""From nothing to `Server(bundle)`: what a bundle's imports cost, and what dlk adds to them.

    python -m benchmarks.startup [--rounds 5]

Each case is a fresh Python process with warm files, one thread; CPU seconds, medians, cases by
turns. The peer is the import of what the bundle cannot do without: torch, and for an encoder of
transformers its class. dlk's process imports the same first, then gets the server ready: digests,
configs, model with its weights, preprocessing. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bundles import classifier

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "packages" / "dlk-core" / "tests" / "bundle" / "fixtures" / "schema-2"
BERT = "from transformers import BertModel"

PROCESS = """
import json, sys, time
import torch
{needs}
imported = time.process_time()
modules = []
if len(sys.argv) > 1:
    from dlk.server import Server
    server = Server(sys.argv[1])
    modules = [name for name in ("lightning", "datasets", "pandas") if name in sys.modules]
print(json.dumps([imported, time.process_time(), modules]))
"""


def seconds(needs: str, bundle: Path | None, cache: Path) -> tuple[float, float]:
    """Return CPU seconds of a fresh process until its imports are done, and until it ends."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPYCACHEPREFIX": str(cache),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as it is for a user
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(needs=needs), *([str(bundle)] if bundle else [])],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    imported, ready, modules = json.loads(done.stdout.splitlines()[-1])
    if modules:
        raise SystemExit(f"the server imported {', '.join(modules)}, which it does not need")
    return float(imported), float(ready)


def measured(needs: str, bundle: Path, rounds: int, cache: Path) -> dict[str, float]:
    """Return medians of the imports alone, and of dlk until it is ready."""
    imports: list[float] = []
    totals: list[float] = []
    added: list[float] = []
    for number in range(rounds + 1):
        alone, _ = seconds(needs, None, cache)
        begun, ready = seconds(needs, bundle, cache)
        if number:  # the first round compiles and warms the file cache
            imports.append(alone)
            totals.append(ready)
            added.append(ready - begun)
    found = {
        "imports_s": statistics.median(imports),
        "ready_s": statistics.median(totals),
        "added_s": statistics.median(added),
    }
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    print(f"{'bundle':<24}{'imports':>9}{'ready':>9}{'dlk adds':>10}{'ratio':>8}   goal: 0.7 s")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        cases = {"toy, 203 weights": ("", TINY)}
        for name in ("small", "minilm"):
            made = classifier(Path(folder, name), name)
            cases[f"classifier on {name}"] = (BERT, made)
        for name, (needs, bundle) in cases.items():
            found = results[name] = measured(needs, bundle, args.rounds, cache)
            found["ratio"] = round(found["ready_s"] / found["imports_s"], 3)
            print(
                f"{name:<24}{found['imports_s']:>8.2f}s{found['ready_s']:>8.2f}s"
                f"{found['added_s']:>9.2f}s{found['ratio']:>8.2f}",
                flush=True,
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
