"""An ONNX graph with weights of eight bits, and how near its outputs and answers come.

ONNX Runtime quantises: weights to 8 bits, one scale per output channel; what they are multiplied
with to 8 bits at run time, one scale per tensor. Everything else stays float32.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlk.export.graph import ExportError, Graph
from dlk.inference import Columns, Engine, add_prediction, infer, outputs_for
from dlk.nn.base import Batch, merge

__all__ = ["LIMIT", "QUANTIZED", "compared", "golden_answers", "quantize_onnx"]

QUANTIZED = ("int8",)
LIMIT = 0.1
"""How far outputs may be off, by their root mean square: MiniLM on questions came to 0.05.

The greatest difference, which holds a float32 graph to 1e-4, says little here: a quarter of the
greatest score on one question of 500, and 498 answered the same.
"""
OTHERWISE = 8
"""One golden row in so many may be answered otherwise, and one in any case (a near tie)."""

Call = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def quantize_onnx(source: Path, target: Path) -> dict[str, int]:
    """Write a graph with its products of weights, and its tables of vectors, in eight bits.

    Weights keep seven of the bits: x86 processors without VNNI add pairs of products of 8 by 8 bits
    in 16, which overflows. So the numbers that were compared here are those of other machines too.

    Returns:
        How many products and tables were quantised.

    Raises:
        ExportError: there is nothing to quantise, or ONNX Runtime cannot.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    try:
        with _quiet_root():
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=["MatMul", "Gather"],  # a Gemm is made a MatMul before
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=len(list(source.parent.iterdir())) > 1,
            )
    except Exception as error:
        kind = type(error).__name__
        reason = f"ONNX Runtime cannot quantise the graph: {kind}: {error}"
        raise ExportError(reason[:400]) from error
    nodes = onnx.load(os.fspath(target), load_external_data=False).graph.node
    kinds = Counter(node.op_type for node in nodes)
    done = {"products": kinds["MatMulInteger"], "tables": kinds["DequantizeLinear"]}
    if not any(done.values()):
        raise ExportError(
            "there is nothing to quantise: the graph multiplies nothing with weights. "
            "Export it without --quantize"
        )
    return done


def compared(graph: Graph, call: Call, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return how far the outputs of a quantised graph are off, over all batches.

    ``noise`` is the root mean square of the differences by that of the outputs, of the output where
    it is greatest; ``largest_difference`` the greatest one, by the size of the greatest value.
    Whole numbers are left to `golden_answers`.

    Raises:
        ExportError: an output has other sizes or another type, is not finite where the model's is,
            or is too far off; or the graph refuses a size.
    """
    mine: dict[str, list[Tensor]] = {}
    differences: dict[str, list[Tensor]] = {}
    for batch in batches:
        tensors = [batch[name].clone() for name in graph.inputs]
        with torch.no_grad():
            expected = graph(*tensors)
        for name, one, other in zip(graph.outputs, expected, _run(call, tensors), strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise ExportError(
                    f'the quantised graph gives "{name}" as {other.dtype} {tuple(other.shape)}, '
                    f"the model as {one.dtype} {tuple(one.shape)}"
                )
            if not one.is_floating_point():
                continue
            kept = torch.isfinite(one)
            if not torch.equal(kept, torch.isfinite(other)):
                raise ExportError(f'"{name}" of the quantised graph is not finite where it should')
            mine.setdefault(name, []).append(one[kept].double())
            differences.setdefault(name, []).append((other[kept] - one[kept]).double())
    noise = largest = 0.0
    for name, parts in mine.items():
        values, far = torch.cat(parts), torch.cat(differences[name])
        if not far.any():
            continue
        largest = max(largest, float(far.abs().max()) / max(1.0, float(values.abs().max())))
        off = float(far.square().mean().sqrt()) / max(float(values.square().mean().sqrt()), 1e-12)
        if off > LIMIT:
            raise ExportError(
                f'int8 changes "{name}" by {off:.0%} of its root mean square, {LIMIT:.0%} may be: '
                "export this model without --quantize"
            )
        noise = max(noise, off)
    return {"limit": LIMIT, "noise": noise, "largest_difference": largest}


def golden_answers(
    engine: Engine, graph: Graph, call: Call, rows: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Return how many golden rows there are, and how many are answered as by the model.

    Answered the same is a row whose prediction differs in fractions (scores) only, as far as
    metrics read it: a list of all labels by score is not compared.

    Raises:
        ExportError: too many are answered otherwise.
    """
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in rows[0]}
    prepared = engine.prepare(columns)
    same = total = 0
    for positions in prepared.groups():
        taken: Columns = {
            name: [values[at] for at in positions] for name, values in prepared.records.items()
        }
        batch = engine.datamodule.batch(taken)
        made = _run(call, [batch[name] for name in graph.inputs])
        out: Batch = merge(batch, dict(zip(graph.outputs, made, strict=True)), writer=engine.model)
        with torch.inference_mode():
            if not set(engine.signature.reads) <= set(out):  # decoding is not part of the graph
                out = add_prediction(engine.model, out)
            plain = _answer(engine, infer(engine.model, batch), taken)
            same += _without_fractions(_answer(engine, out, taken)) == _without_fractions(plain)
        total += 1
    if total - same > max(1, total // OTHERWISE):
        raise ExportError(
            f"int8 changes the answers of {total - same} of {total} golden rows: "
            "export this model without --quantize"
        )
    return {"rows": total, "same": same}


def _run(call: Call, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    try:
        return call(tensors)
    except Exception as error:
        sizes = [tuple(tensor.shape) for tensor in tensors]
        reason = f"the quantised graph fails on sizes {sizes}: {type(error).__name__}: {error}"
        raise ExportError(reason[:400]) from error


def _answer(engine: Engine, out: Batch, records: Columns) -> Any:
    """Return what the postprocessor's metrics would read of one row's records."""
    wanted = outputs_for(engine.postprocessor, out, engine.signature)
    there = [name for name in ("_row", "_part", *engine.signature.columns) if name in records]
    rows = [
        {"_part": 0, **{name: records[name][at] for name in there}}
        for at in range(len(records["_row"]))
    ]
    return engine.postprocessor.measured(wanted, rows)


def _without_fractions(value: Any) -> Any:
    """Return a prediction with every fraction replaced by None."""
    if isinstance(value, Mapping):
        return {name: _without_fractions(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_fractions(each) for each in value]
    return None if isinstance(value, float) else value


@contextlib.contextmanager
def _quiet_root() -> Iterator[None]:
    """Keep ONNX Runtime's advice to the root logger off the screen, and its handler off the logger.

    `logging.warning` gives a root logger without handlers one, for good.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in [each for each in root.handlers if each not in handlers]:
            root.removeHandler(handler)
