"""``dlk info``: what a bug report needs. Imports torch only for ``--devices``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys

from dlk.cli._terminal import Terminal

# What decides how a run behaves, beside dlk's own distributions.
PACKAGES = (
    "torch",
    "lightning",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "intc",
    "numpy",
    "pyarrow",
    "pandas",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", action="store_true", help="list devices, too (imports torch)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    facts: dict[str, object] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] or ""
        if name == "dlk" or name.startswith("dlk-"):
            facts[name] = distribution.version
    facts = dict(sorted(facts.items()))
    facts["python"] = f"{platform.python_version()} ({sys.executable})"
    facts["platform"] = platform.platform()
    facts["cpu cores"] = _cores()
    facts |= {name: _version(name) for name in PACKAGES}
    if args.devices:
        facts |= _devices()
    if args.json:
        terminal.json(facts)
    else:
        terminal.table(("what", "value"), facts.items())


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, object]:
    import torch

    found: dict[str, object] = {"torch threads": torch.get_num_threads()}
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    if len(found) == 1:
        found["accelerators"] = "none"
    return found
