"""A bundle's graph in int8 beside float32 and the bundle itself: accuracy, CPU time, file size.

    python -m benchmarks.int8 BUNDLE TEST.jsonl [--truth labels] [--rounds 7]

Exports the bundle twice with `dlk export --format onnx`, once with `--quantize int8`, and answers
the rows of a JSONL file three ways: the bundle's model in PyTorch, and both graphs in ONNX Runtime,
each with one thread. The bundle's own preprocessing makes the batches of all three, and its own
postprocessor their answers. CPU milliseconds are medians of batches of real rows, taken by turns.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlk.bundle.read import Bundle
from dlk.export.write import Exported, export_bundle
from dlk.inference import Columns, Engine, infer
from dlk.nn.base import Batch, merge

BATCHES = (1, 8, 32)
Infer = Callable[[Mapping[str, Tensor]], Batch]


def runtime(exported: Exported) -> Infer:
    """Return what computes a batch with an exported graph, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        os.path.join(exported.path, exported.manifest["model"]),
        options,
        providers=["CPUExecutionProvider"],
    )
    inputs = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def compute(batch: Mapping[str, Tensor]) -> Batch:
        made = session.run(outputs, {name: batch[name].numpy() for name in inputs})
        found = dict(zip(outputs, map(torch.from_numpy, made), strict=True))
        return merge(batch, found, writer=torch.nn.Identity())

    return compute


def answers(engine: Engine, compute: Infer, records: Columns, size: int) -> list[dict[str, Any]]:
    """Return the answers of all records, in order."""
    found: list[dict[str, Any]] = []
    for batch, rows in cut(engine, records, size):
        with torch.inference_mode():
            found += engine.postprocessor.measured(compute(batch), rows)
    return found


def cut(
    engine: Engine, records: Columns, size: int
) -> list[tuple[dict[str, Tensor], list[dict[str, Any]]]]:
    """Return batches of so many records, and their rows."""
    total = len(records["_row"])
    parts = [range(start, min(start + size, total)) for start in range(0, total, size)]
    return [
        (
            engine.datamodule.batch({k: [v[at] for at in part] for k, v in records.items()}),
            [{"_part": 0, **{k: v[at] for k, v in records.items()}} for at in part],
        )
        for part in parts
    ]


def by_turns(
    calls: Mapping[str, Infer], batches: Sequence[Mapping[str, Tensor]], rounds: int
) -> dict[str, float]:
    """Return the median CPU milliseconds of a batch; each batch goes to each call in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for batch in batches:
            for name, call in calls.items():
                start = time.process_time()
                with torch.inference_mode():
                    call(batch)
                if number >= 2:
                    times[name].append((time.process_time() - start) * 1000)
    return {name: statistics.median(found) for name, found in times.items()}


def run(bundle: Path, test: Path, *, truth: str = "labels", rounds: int = 7) -> dict[str, object]:
    """Export, measure, print, and return the figures."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    engine = Bundle(bundle).engine()
    rows = [json.loads(line) for line in test.read_text(encoding="utf-8").splitlines()]
    columns = {name: [row.get(name) for row in rows] for name in engine.inputs}
    records = engine.prepare(columns).records
    records |= {
        name: [columns[name][row] for row in records["_row"]]
        for name in engine.signature.columns
        if name in columns
    }
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = export_bundle(bundle, Path(folder, "plain"), format="onnx")
        small = export_bundle(bundle, Path(folder, "small"), format="onnx", quantize="int8")
        calls: dict[str, Infer] = {
            "PyTorch": lambda batch: infer(engine.model, batch),
            "ONNX": runtime(plain),
            "ONNX int8": runtime(small),
        }
        quantized = small.manifest["quantized"]
        sizes = {
            "PyTorch": (bundle / "model.safetensors").stat().st_size,
            "ONNX": quantized["bytes_float32"],
            "ONNX int8": quantized["bytes"],
        }
        wanted = [rows[row][truth] for row in dict.fromkeys(records["_row"])]
        given = {name: answers(engine, call, records, 32) for name, call in calls.items()}
        times = {
            size: by_turns(calls, [batch for batch, _ in cut(engine, records, size)[:4]], rounds)
            for size in BATCHES
        }
    cpu = torch.backends.cpu.get_cpu_capability()
    print(f"{len(wanted)} rows, one thread, median CPU ms of a batch, instructions {cpu}\n")
    print(f"{'':10} {'right':>7} {'as PyTorch':>11} {'MB':>7}", end="")
    print("".join(f"{f'{size} rows':>11} {'ratio':>6}" for size in BATCHES))
    for name in calls:
        labels = [each["label"] for each in given[name]]
        right = sum(one == other for one, other in zip(labels, wanted, strict=True)) / len(wanted)
        agreed = sum(
            one["label"] == other["label"]
            for one, other in zip(given[name], given["PyTorch"], strict=True)
        )
        print(f"{name:10} {right:7.3f} {agreed:11} {sizes[name] / 1e6:7.1f}", end="")
        ms = {size: times[size][name] for size in BATCHES}
        ratios = {size: times[size]["ONNX"] / ms[size] for size in BATCHES}
        print("".join(f"{ms[size]:11.1f} {ratios[size]:5.2f}x" for size in BATCHES))
        results[name] = {
            "accuracy": right,
            "as_pytorch": agreed,
            "bytes": sizes[name],
            "ms": {size: round(value, 2) for size, value in ms.items()},
        }
    print("ratio: times as fast as the float32 graph")
    results["difference"] = quantized["difference"]
    print(json.dumps(results))
    return results


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a text classifier's bundle")
    parser.add_argument("test", type=Path, metavar="TEST", help="JSONL with its inputs and truth")
    parser.add_argument("--truth", default="labels", help="column of the right label")
    parser.add_argument("--rounds", type=int, default=7, help="turns that the medians are of")
    args = parser.parse_args()
    run(args.bundle, args.test, truth=args.truth, rounds=args.rounds)


if __name__ == "__main__":
    main()
