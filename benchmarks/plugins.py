"""What hundreds of installed plugins cost ``dlk list``: ``python -m benchmarks.plugins``.

Makes 300 distributions in a temporary folder, each a package with a plugin module and one component
in its table, as an installer leaves them. Measured are CPU seconds of whole processes, their own
start included: without them, with them when their tables are read for the first time after an
installation, and with them from then on. The smallest of a few runs counts, taken in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TABLE = '''"""What dlk asks this distribution."""

from dlk.plugin import Component, hookimpl

API = 1


@hookimpl
def dlk_components():
    return [
        Component(
            "embedding",
            "dummy_{number}",
            config="dummy_{number}.configs:DummyConfig",
            cls="dummy_{number}.dummy:Dummy",
            help="stands for a component",
            needs=("torch",),
        )
    ]
'''


def install(folder: Path, number: int) -> None:
    """Write one distribution: metadata and package."""
    package = folder / f"dummy_{number}"
    package.mkdir()
    (package / "__init__.py").write_text('"""A plugin."""\n')
    (package / "plugin.py").write_text(TABLE.format(number=number))
    info = folder / f"dummy_{number}-1.0.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.4\nName: dummy-{number}\nVersion: 1.0\nSummary: a plugin\n"
    (info / "METADATA").write_text(f"{head}Requires-Dist: dlk-core\n\n# A plugin\n")
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(f"[dlk]\ndummy = dummy_{number}.plugin\n")


def seconds(folder: Path | None, cache: Path, expected: int) -> float:
    """Return the CPU seconds of one ``dlk list``; its output is checked."""
    path = [str(folder)] if folder else []
    path += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "dlk.cli", "list", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = sum(row["name"].startswith("dummy_") for row in json.loads(done.stdout))
    if found != expected:
        raise RuntimeError(f"dlk list shows {found} of {expected} dummies: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(count: int, runs: int) -> dict[str, float]:
    """Return CPU seconds without plugins, with them at first, and with them from then on."""
    with tempfile.TemporaryDirectory(prefix="dlk-plugins-") as folder:
        site, cache = Path(folder) / "site", Path(folder) / "cache"
        site.mkdir()
        for number in range(count):
            install(site, number)
        seconds(site, cache, count)  # writes the byte code, as installers do

        def first() -> float:
            for file in cache.rglob("*.json"):
                file.unlink()
            return seconds(site, cache, count)

        ways: dict[str, Callable[[], float]] = {
            "without": lambda: seconds(None, cache, 0),
            "first": first,
            "then": lambda: seconds(site, cache, count),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, way in ways.items():
                found[name].append(way())
    return {name: min(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=300, help="plugins (default: 300)")
    parser.add_argument("--runs", type=int, default=9, help="runs of each (default: 9)")
    arguments = parser.parse_args()
    found = measure(arguments.count, arguments.runs)
    plain = found["without"]
    print(f"dlk list, CPU seconds of the process, smallest of {arguments.runs} runs")
    print(f"  no further plugins                 {plain:.3f}")
    for name, about in (("first", "read for the first time"), ("then", "from then on")):
        more, ratio = found[name] - plain, found[name] / plain
        label = f"{arguments.count} more, {about}"
        print(f"  {label:<34} {found[name]:.3f}  +{1000 * more:.0f} ms, {ratio:.2f} times")


if __name__ == "__main__":
    main()
