"""CPU seconds of commands that only look at configs, each in a process of its own.

`dlk --help`, `dlk list`, `dlk check` of both configs of every example (copies with a few rows, so
that columns are known); reading and checking a generated config of 2,000 lines; the first point of
a grid of 100,000.

    python -m benchmarks.check [--repeat 5]

Of several runs the least counts: nothing makes a process take less than it needs. The last line is
one JSON object with all seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.example_copies import PAIRS, copy_of

LINES = 2_000
GRID = {
    "imodel.optimizer.lr": [k / 1e4 for k in range(1, 101)],
    "imodel.model.decoder.dropout": [k / 100 for k in range(100)],
    "seed": list(range(10)),
}
FIRST_POINT = """
from dlk.cli._configs import read
loaded = read("fit.jsonc").loaded
assert len(loaded) == 100_000
assert loaded[0].choice
"""


def seconds_of(command: Sequence[str], folder: Path, repeat: int) -> float:
    """Return the CPU seconds, user and system, of a command that must succeed."""
    best = float("inf")
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, spent)
    return best


def experiment(decoders: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a process config and a fit config with so many decoders, each with its own labels."""
    names = [f"label{k}" for k in range(decoders)]
    process: dict[str, Any] = {
        "processed_data_dir": "processed",
        "@subprocessor@token_gather#words": {"gather_columns": ["tokens"]},
        "@subprocessor@token2id#ids": {"output_map": {"token_ids": "input_ids"}},
    }
    for name in names:
        process[f"@subprocessor@token_gather#{name}"] = {
            "gather_columns": [name],
            "token_vocab": f"{name}.json",
        }
        process[f"@subprocessor@token2id-label#{name}_ids"] = {
            "vocab": f"{name}.json",
            "input_map": {"tokens": name},
            "output_map": {"token_ids": f"{name}_ids"},
        }
    heads = {
        f"@decoder@linear#{name}": {
            "input_size": "@lambda @$$$.@embedding.embedding_dim",
            "output_size": f"@lambda @_G.meta.{name}.size",
            "pool": "mean",
            "output_map": {"logits": f"{name}_logits"},
        }
        for name in names
    }
    losses = {
        f"@loss@cross_entropy#{name}": {"pred_truth_pair": {f"{name}_logits": f"{name}_ids"}}
        for name in names
    }
    columns = {"input_ids": "long", **{f"{name}_ids": "long" for name in names}}
    fit = {
        "processed_data_dir": "processed",
        "@datamodule@default": {
            "@dataset@default": {"key_type_pairs": columns},
            "@data_collate@default": {
                "key_padding_pairs": {"input_ids": 0},
                "gen_mask": {"input_ids": "attention_mask"},
            },
        },
        "@imodel@default": {
            "@model@basic": {
                "@embedding@random": {
                    "vocab_size": "@lambda @_G.meta.token_vocab.size",
                    "embedding_dim": 64,
                },
                "@decoder@multi_decoder": heads,
            },
            "@loss@multi_loss": losses,
            "@postprocessor@identity": {"outputs": [f"{name}_logits" for name in names]},
        },
    }
    return {"@processor@default": process}, {"@fit": fit}


def laid(folder: Path, configs: tuple[dict[str, Any], dict[str, Any]]) -> int:
    """Write both configs; return how many lines they have together."""
    lines = 0
    for name, config in zip(("process", "fit"), configs, strict=True):
        text = json.dumps(config, indent=2)
        (folder / f"{name}.jsonc").write_text(text)
        lines += text.count("\n") + 1
    return lines


def measured(folder: Path, repeat: int) -> dict[str, float]:
    """Return the CPU seconds of everything, by what was done."""
    dlk = [sys.executable, "-m", "dlk.cli"]
    found = {
        "python -c pass": seconds_of([sys.executable, "-c", "pass"], folder, repeat),
        "dlk --help": seconds_of([*dlk, "--help"], folder, repeat),
        "dlk list": seconds_of([*dlk, "list"], folder, repeat),
    }
    for number, (example, process, fit) in enumerate(PAIRS):
        (folder / str(number)).mkdir()
        at = copy_of(example, folder / str(number))
        command = [*dlk, "check", process, fit]
        found[f"dlk check {example}: {process} {fit}"] = seconds_of(command, at, repeat)
    large = folder / "large"
    large.mkdir()
    decoders = 1
    while (lines := laid(large, experiment(decoders))) < LINES:
        decoders += 1
    found[f"dlk check, {lines} lines"] = seconds_of(
        [*dlk, "check", "process.jsonc", "fit.jsonc"], large, repeat
    )
    grid = folder / "grid"
    grid.mkdir()
    process_config, fit_config = experiment(1)
    head = fit_config["@fit"]["@imodel@default"]["@model@basic"]["@decoder@multi_decoder"]
    fit_config["@fit"]["@imodel@default"]["@model@basic"]["@decoder@linear"] = {
        **head["@decoder@linear#label0"],
        "input_size": 64,
    }
    del fit_config["@fit"]["@imodel@default"]["@model@basic"]["@decoder@multi_decoder"]
    fit_config["@fit"]["_search"] = GRID
    laid(grid, (process_config, fit_config))
    first = [sys.executable, "-c", FIRST_POINT]
    found["first point of 100,000"] = seconds_of(first, grid, repeat)
    check = [*dlk, "check", "process.jsonc", "fit.jsonc"]
    found["dlk check, 100 of 100,000 points"] = seconds_of(check, grid, repeat)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="runs of each (default: 5)")
    repeat = parser.parse_args().repeat
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), repeat)
    for name, spent in found.items():
        print(f"{spent:6.3f} s  {name}")
    print(json.dumps({name: round(spent, 3) for name, spent in found.items()}))


if __name__ == "__main__":
    main()
