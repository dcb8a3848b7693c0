"""`dlk export`: a bundle's model as a graph that runs without dlk."""

from __future__ import annotations

import argparse

from dlk.cli._arguments import add_components
from dlk.cli._terminal import Terminal

FORMATS = ("onnx", "torch_export")
QUANTIZED = ("int8",)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="onnx: for ONNX Runtime and others; torch_export: for PyTorch without dlk",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="DIR",
        help="folder to write: the graph, what its inputs are made with, and export.json",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZED,
        help="with --format onnx: weights of eight bits, a quarter of the size and faster on CPUs; "
        "answers change a little, and how much is checked and written down",
    )
    add_components(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> None:
    from dlk.export.write import export_bundle

    done = export_bundle(
        args.bundle,
        args.out,
        format=args.format,
        quantize=args.quantize,
        src=args.src,
        trust_code=args.trust_code,
    )
    manifest = done.manifest
    for end in ("inputs", "outputs"):
        for each in manifest[end]:
            sizes = ", ".join(str(axis or "fixed") for axis in each["axes"])
            terminal.result(f"{end[:-1]:6} {each['name']} ({sizes}) {each['dtype']}")
    parity = manifest["parity"]
    whole = "the float32 graph" if manifest["quantized"] else manifest["model"]
    terminal.note(
        f"{done.path}: {whole} gives the model's outputs on {len(parity['shapes'])} "
        f"shapes, off by {parity['largest_difference']:.0e} at most"
    )
    if refused := parity["refused"]:
        terminal.note(f"warning: it refuses the sizes {refused[0]}, which the model takes")
    if quantized := manifest["quantized"]:
        share = quantized["bytes"] / quantized["bytes_float32"]
        same, rows = quantized["golden"]["same"], quantized["golden"]["rows"]
        terminal.note(
            f"{manifest['model']} in {quantized['to']}: {share:.0%} of its size, outputs off by "
            f"{quantized['difference']['noise']:.1%}, {same} of {rows} golden rows answered alike"
        )
    if left_out := manifest["not_exported"]:
        terminal.note(
            f"warning: {', '.join(left_out['outputs'])} are not part of the graph, what decodes "
            f"them is left to you: {left_out['reason']}"
        )
