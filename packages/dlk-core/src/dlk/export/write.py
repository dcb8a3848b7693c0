"""Writing a bundle's model as a graph, and reading it back to see that it computes the same."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlk.bundle import schema
from dlk.bundle.read import Bundle
from dlk.errors import redact
from dlk.export.graph import ExportError, Graph, Seen, batches_of, edges_of, look
from dlk.export.quantize import QUANTIZED, compared, golden_answers, quantize_onnx
from dlk.inference import Engine
from dlk.io import atomic_dir, is_remote, local_path, sha256_of

__all__ = ["FORMATS", "Exported", "export_bundle"]

FORMATS = {"onnx": "model.onnx", "torch_export": "model.pt2"}
MANIFEST = "export.json"
SCHEMA = 1
TOLERANCE = 1e-4
"""How far an output may be from the model's own, by the size of the greatest (other kernels)."""

Call = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        manifest: what its ``export.json`` holds.
    """

    path: str
    manifest: dict[str, Any]


def export_bundle(
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    format: str,
    quantize: str | None = None,
    src: Sequence[str] = (),
    trust_code: bool = False,
) -> Exported:
    """Write a bundle's model as a graph beside what its inputs are made with.

    The folder appears whole or not at all: only once the graph was read back and gave the model's
    outputs on batches of several sizes and lengths. Where decoding cannot be part of a graph (a
    search for the best path, say), the scores that it starts from are exported, and the manifest
    says so.

    Args:
        bundle: the bundle.
        out: folder to write.
        format: "onnx" or "torch_export".
        quantize: "int8": the graph with weights of eight bits, once the one of float32 gave the
            model's outputs. Only for "onnx". None: float32.
        src: folders with project-local components that the bundle needs.
        trust_code: run the copy of such components that the bundle brings: code of its maker.

    Raises:
        ExportError: the model cannot be a graph, the graph computes something else, eight bits are
            too few for it, or `out` holds what no export made.
        BundleError: the bundle is damaged, or needs what is not installed.
    """
    if format not in FORMATS:
        raise ValueError(f"formats are {', '.join(FORMATS)}, got {format!r}")
    if quantize is not None and quantize not in QUANTIZED:
        raise ValueError(f"graphs can be quantised to {', '.join(QUANTIZED)}, got {quantize!r}")
    if quantize and format != "onnx":
        raise ExportError(
            f"--quantize {quantize} is for --format onnx: ONNX Runtime quantises the graph, and "
            f"{format} has no such step"
        )
    bundle, out = local_path(bundle), local_path(out)
    _refuse_place(bundle, out)
    _refuse_foreign(Path(out))
    if format == "onnx":
        _need("onnx", "onnxscript", "onnxruntime")
    opened = Bundle(bundle, src=src, trust_code=trust_code)
    engine = opened.engine()
    rows = [each["input"] for each in opened.golden() if "input" in each]
    if not rows:
        raise ExportError(
            f"{opened.path} keeps no golden rows, and a graph is traced with examples: "
            "make the bundle from data with a test, valid or train split"
        )
    batches, edges = batches_of(engine, rows), edges_of(engine, rows)
    seen = look(engine, batches)
    with atomic_dir(out) as folder:
        started = time.monotonic()
        graph, left_out, parity = _written(engine.model, seen, batches, edges, folder, format)
        quantized = _quantized(engine, graph, batches, rows, folder) if quantize else {}
        for name in (schema.PROCESS, schema.META, schema.ASSETS):
            _copy(opened.path / name, folder / name)
        opened.contents.check_unchanged()
        taken, opset = _of_file(folder / FORMATS[format], graph)
        manifest = {
            "schema": SCHEMA,
            "format": format,
            "model": FORMATS[format],
            "task": opened.task,
            "bundle": opened.manifest.get("digest", ""),
            "inputs": [_described(name, seen) for name in taken],
            "outputs": [_described(name, seen) for name in graph.outputs],
            "read_from_inputs": list(seen.passed),
            "not_exported": left_out,
            "parity": parity,
            "quantized": {"to": quantize, **quantized} if quantize else {},
            "opset": opset,
            "versions": _versions(format),
            "seconds": round(time.monotonic() - started, 1),
        }
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest["digests"] = {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return Exported(os.fspath(out), manifest)


def _written(
    model: torch.nn.Module,
    seen: Seen,
    batches: Sequence[Mapping[str, Tensor]],
    edges: Sequence[Mapping[str, Tensor]],
    folder: Path,
    format: str,
) -> tuple[Graph, dict[str, Any], dict[str, Any]]:
    """Write the graph whole, or without decoding; return it, what is left out and why, and parity.

    Raises:
        ExportError: neither can be done.
    """
    whole = Graph(model, seen.inputs, seen.outputs, predicts=bool(seen.decoded))
    try:
        return whole, {}, _exported(whole, seen, batches, edges, folder, format)
    except ExportError as error:
        if not seen.decoded or not seen.emitted:
            raise
        reason = str(error)
    for path in folder.iterdir():
        path.unlink()
    part = Graph(model, seen.to_emit, seen.emitted, predicts=False)
    left_out = {"outputs": list(seen.decoded), "reason": reason}
    return part, left_out, _exported(part, seen, batches, edges, folder, format)


def _exported(
    graph: Graph,
    seen: Seen,
    batches: Sequence[Mapping[str, Tensor]],
    edges: Sequence[Mapping[str, Tensor]],
    folder: Path,
    format: str,
) -> dict[str, Any]:
    """Write one graph and compare it with the model; return how near it came."""
    graph.eval()
    file = folder / FORMATS[format]
    program = _traced(graph, seen, batches)
    if format == "onnx":
        _save_onnx(program, graph, file)
        call = _read_onnx(graph, file)
    else:
        _save_program(program, file)
        call = _read_program(file)
    return _compared(graph, call, batches, edges)


def _quantized(
    engine: Engine,
    graph: Graph,
    batches: Sequence[Mapping[str, Tensor]],
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """Put the quantised graph in place of the one that is there; return what became of it."""
    file = folder / FORMATS["onnx"]
    aside = folder / "float32"
    there = list(folder.iterdir())
    aside.mkdir()
    for path in there:
        path.rename(aside / path.name)  # of a large model, the file with its weights too
    size = sum(path.stat().st_size for path in aside.iterdir())
    done = quantize_onnx(aside / file.name, file)
    shutil.rmtree(aside)
    call = _read_onnx(graph, file)
    return {
        **done,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "bytes_float32": size,
        "difference": compared(graph, call, batches),
        "golden": golden_answers(engine, graph, call, rows),
    }


def _traced(
    graph: Graph, seen: Seen, batches: Sequence[Mapping[str, Tensor]]
) -> torch.export.ExportedProgram:
    """Return the exported program, its sizes free where they changed."""
    # sizes of 0 and 1 may be taken for constants, so the largest batch is the example
    example = max(batches, key=lambda batch: sum(batch[name].numel() for name in graph.inputs))
    free = tuple(
        {place: torch.export.Dim.DYNAMIC for place, axis in enumerate(seen.axes[name]) if axis}
        for name in graph.inputs
    )
    args = tuple(example[name].clone() for name in graph.inputs)
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(graph, args, dynamic_shapes=(free,))
    except Exception as error:
        raise ExportError(f"the model cannot be traced as a graph: {_shortly(error)}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # files and lines of this machine
    return program


def _save_program(program: torch.export.ExportedProgram, file: Path) -> None:
    """Write the program without its example inputs, which PyTorch keeps as a pickle."""
    whole = file.with_name(f"{file.name}.whole")
    with _quiet():
        torch.export.save(program, whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(file, "w") as other:
        for member in archive.infolist():
            if "/sample_inputs/" in member.filename:  # read as "none" where it is empty
                other.writestr(member.filename, b"")
                continue
            if member.filename.endswith((".pt", ".pkl")):
                raise ExportError(
                    f"PyTorch {torch.__version__} keeps {member.filename} as a pickle, which may "
                    "run code where it is read: use --format onnx"
                )
            with archive.open(member) as source, other.open(member.filename, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    whole.unlink()


def _read_program(file: Path) -> Call:
    with _quiet():
        module = torch.export.load(file).module()
    return lambda tensors: tuple(module(*tensors))


def _save_onnx(program: torch.export.ExportedProgram, graph: Graph, file: Path) -> None:
    try:
        with torch.no_grad(), _quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
            )
            assert made is not None
            made.save(file)
    except Exception as error:
        raise ExportError(f"the model cannot be written as ONNX: {_shortly(error)}") from error


def _read_onnx(graph: Graph, file: Path) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(
            os.fspath(file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ExportError(f"ONNX Runtime refuses the graph: {_shortly(error)}") from error
    there = {each.name for each in session.get_inputs()}

    def call(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        named = zip(graph.inputs, tensors, strict=True)
        given = {name: tensor.numpy() for name, tensor in named if name in there}
        return [torch.from_numpy(made) for made in session.run(list(graph.outputs), given)]

    return call


def _compared(
    graph: Graph,
    call: Call,
    batches: Sequence[Mapping[str, Tensor]],
    edges: Sequence[Mapping[str, Tensor]] = (),
) -> dict[str, Any]:
    """Return how near the graph comes to the model, by shape, and which of the edges it refuses.

    Raises:
        ExportError: it refuses a shape that is not at the edge, or is too far off.
    """
    worst = 0.0
    shapes: list[list[list[int]]] = []
    refused: list[list[list[int]]] = []
    for number, batch in enumerate((*batches, *edges)):
        tensors = [batch[name].clone() for name in graph.inputs]
        sizes = [tuple(tensor.shape) for tensor in tensors]
        with torch.no_grad():
            expected = graph(*tensors)
        try:
            with torch.no_grad():
                found = call(tensors)
        except Exception as error:
            if number >= len(batches):
                refused.append([list(size) for size in sizes])
                continue
            raise ExportError(f"the graph fails on sizes {sizes}: {_shortly(error)}") from error
        for name, mine, other in zip(graph.outputs, expected, found, strict=True):
            far = _distance(mine, other)
            if not far <= TOLERANCE:
                raise ExportError(
                    f'the graph computes another "{name}" on sizes {sizes}: off by {far:.1e} of '
                    f"the greatest value, {TOLERANCE:.0e} may be"
                )
            worst = max(worst, far)
        shapes.append([list(size) for size in sizes])
    return {
        "tolerance": TOLERANCE,
        "largest_difference": worst,
        "shapes": shapes[: len(batches)],
        "edges": shapes[len(batches) :],
        "refused": refused,
    }


def _distance(mine: Tensor, other: Tensor) -> float:
    """Return the greatest difference by the size of the greatest finite value; inf if they misfit.

    What is not finite (scores of what is forbidden) must be the same in both.
    """
    if mine.shape != other.shape or mine.dtype != other.dtype:
        return float("inf")
    if not mine.is_floating_point():
        return 0.0 if torch.equal(mine, other) else float("inf")
    kept = torch.isfinite(mine)
    if not torch.equal(kept, torch.isfinite(other)):
        return float("inf")
    if not torch.equal(mine[~kept].nan_to_num(), other[~kept].nan_to_num()):
        return float("inf")
    if not kept.any():
        return 0.0
    mine, other = mine[kept], other[kept]
    return float((mine - other).abs().max()) / max(1.0, float(mine.abs().max()))


def _described(name: str, seen: Seen) -> dict[str, Any]:
    return {
        "name": name,
        "dtype": str(seen.dtypes[name]).removeprefix("torch."),
        "axes": [axis or None for axis in seen.axes[name]],
    }


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)


def _of_file(file: Path, graph: Graph) -> tuple[list[str], int | None]:
    """Return the inputs that a graph kept, and the opset it is written in; None: not of ONNX."""
    if file.suffix != ".onnx":
        return list(graph.inputs), None
    import onnx

    model = onnx.load(os.fspath(file), load_external_data=False)
    kept = {each.name for each in model.graph.input}
    (opset,) = {each.version for each in model.opset_import if each.domain in ("", "ai.onnx")}
    return [name for name in graph.inputs if name in kept], int(opset)


def _refuse_place(bundle: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Refuse to write where no folder can be, or into the bundle, which holds nothing else."""
    if is_remote(out):
        raise ExportError(f"{redact(os.fspath(out))} is a URL: name a local folder for --out")
    target = os.path.realpath(out)
    if os.path.isfile(target):
        raise ExportError(f"{target} is a file: name a folder for --out")
    inside = not is_remote(bundle) and target.startswith(os.path.realpath(bundle) + os.sep)
    if inside:
        raise ExportError(f"{target} is in the bundle: name a folder elsewhere for --out")


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that holds anything which no export made."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise ExportError(
            f"{folder} would be replaced, and holds no {MANIFEST}: choose another folder for --out"
        )


def _need(*modules: str) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ExportError(
                f'--format onnx needs {name}, which is missing: pip install "dlk-core[export]"'
            ) from error


def _versions(format: str) -> dict[str, str]:
    from importlib.metadata import version

    names = ["dlk-core", "torch", *(("onnx", "onnxruntime") if format == "onnx" else ())]
    return {name: version(name) for name in names}


def _shortly(error: Exception) -> str:
    """Return the first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text[:300]}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress and advice of PyTorch's exporters off the screen; failures are raised."""
    names = ("torch", "torch.onnx", "torch.export", "torch.fx", "onnxscript")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
