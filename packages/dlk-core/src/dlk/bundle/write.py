"""Writing a bundle: everything that predicting needs, and nothing that points outside."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dlk.bundle import schema
from dlk.bundle.weights import save_state
from dlk.config import assets, child, children, node_of, to_dict
from dlk.config._intc import IntcBase, fields_of
from dlk.errors import BundleError
from dlk.io import atomic_dir, sha256_of

__all__ = ["write_bundle"]

_GOLDEN_ROWS = 8


def write_bundle(
    path: str | os.PathLike[str],
    *,
    fit: IntcBase,
    model: nn.Module,
    processed_data_dir: str,
    metrics: Mapping[str, float],
) -> None:
    """Write a bundle; the folder appears whole or not at all.

    Args:
        path: folder to write.
        fit: config object of the fit root.
        model: the trained model, wherever it is.
        processed_data_dir: what Process wrote: its config, its meta, and the rows for the golden predictions.
        metrics: the final metrics of the run.
    """
    from dlk.bundle.read import Bundle
    from dlk.config import from_resolved

    with open(os.path.join(processed_data_dir, schema.PROCESS), encoding="utf-8") as handle:
        processor = next(iter(from_resolved(json.load(handle), folder=processed_data_dir).values()))
    with atomic_dir(path) as folder:
        shutil.copytree(os.path.join(processed_data_dir, schema.META), folder / schema.META)
        taken: set[str] = set()
        _dump(folder / schema.PROCESS, _portable(processor, folder, taken))
        _dump(folder / schema.FIT, _portable(fit, folder, taken))
        save_state(model.state_dict(), folder / schema.WEIGHTS)
        manifest: dict[str, Any] = {
            "schema": schema.SCHEMA,
            "task": node_of(child(child(fit, "imodel"), "postprocessor")).name,
            "needs": _needs([processor, fit]),
            "inputs": _inputs(processor, processed_data_dir),
            "prediction": {},
            "metrics": dict(metrics),
            "tolerance": schema.TOLERANCE,
        }
        manifest["digests"] = _digests(folder)
        _dump(folder / schema.MANIFEST, manifest)
        # What was written is read back as any server would, so a bundle that cannot be loaded is never left behind.
        rows = _golden_rows(processed_data_dir, [i["name"] for i in manifest["inputs"]])
        engine = Bundle(folder).engine(device="cpu")
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        predictions = engine.predict(columns) if rows else []
        with open(folder / schema.GOLDEN, "w", encoding="utf-8") as handle:
            for row, prediction in zip(rows, predictions, strict=True):
                if isinstance(prediction, dict):
                    handle.write(json.dumps({"input": row, "prediction": prediction}, ensure_ascii=False) + "\n")
        manifest["prediction"] = _shape_of(predictions)
        manifest["digests"] = _digests(folder)
        _dump(folder / schema.MANIFEST, manifest)


def _portable(config: IntcBase, folder: Path, taken: set[str]) -> dict[str, Any]:
    """Return a config's resolved values with its files copied into the bundle and named relative to it."""
    resolved = to_dict(config)
    for owner, name, asset in assets(config):
        value = str(getattr(owner, name))
        replacement = value
        if asset["bundle"]:
            if os.path.exists(value):
                replacement = _copy(value, asset["include"], folder, taken)
            elif not asset["hub"]:
                raise BundleError(f"{node_of(owner).path}.{name}: there is no {value} to take into the bundle")
            else:
                replacement = _copy_hub(value, folder, taken)
        elif os.path.isabs(value):
            replacement = os.path.basename(value.rstrip("/")) or "."
        _replace(resolved, config, owner, name, replacement)
    return resolved


def _replace(resolved: dict[str, Any], root: IntcBase, owner: IntcBase, name: str, value: str) -> None:
    def find(config: IntcBase, values: dict[str, Any]) -> bool:
        if config is owner:
            values[name] = value
            return True
        return any(find(made, values[key]) for key, made in node_of(config).children.items())

    find(root, resolved[node_of(root).key])


def _copy(source: str, include: tuple[str, ...], folder: Path, taken: set[str]) -> str:
    name = _free(re.sub(r"[^\w.-]+", "_", os.path.basename(source.rstrip("/"))) or "asset", taken)
    target = folder / schema.ASSETS / name
    target.parent.mkdir(exist_ok=True)
    if os.path.isfile(source):
        shutil.copyfile(source, target)
    else:
        target.mkdir()
        for pattern in include:
            for file in sorted(glob.glob(os.path.join(glob.escape(source), pattern))):
                if os.path.isfile(file):
                    shutil.copyfile(file, target / os.path.basename(file))
    return f"{schema.ASSETS}/{name}"


def _copy_hub(name: str, folder: Path, taken: set[str]) -> str:
    """Keep the description of a model that a hub name stands for, so that the hub is not asked again."""
    from dlk.hf import load_config

    target = folder / schema.ASSETS / _free(re.sub(r"[^\w.-]+", "_", name), taken)
    target.mkdir(parents=True)
    load_config(name).save_pretrained(target)
    return f"{schema.ASSETS}/{target.name}"


def _free(name: str, taken: set[str]) -> str:
    stem, ending = os.path.splitext(name)
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{stem}-{number}{ending}"
    taken.add(free)
    return free


def _needs(configs: list[IntcBase]) -> list[dict[str, str]]:
    """Return every component that loading needs, and who brings it."""
    from dlk.registry import register

    entries = {(e.component.type, e.component.name): e for e in register.entries()}
    found: dict[tuple[str, str], dict[str, str]] = {}
    skip = {"trainer", "callback", "optimizer", "scheduler", "loss", "initmethod"}

    def walk(config: IntcBase) -> None:
        node = node_of(config)
        if node.type in skip:
            return
        entry = entries.get((node.type, node.name))
        need = {"type": node.type, "name": node.name, "distribution": entry.origin if entry else "", "version": entry.version if entry else ""}
        if entry is None or entry.origin == "local":
            need |= {"distribution": "local", **_source_of(node.type, node.name)}
        found[node.type, node.name] = need
        for made in node.children.values():
            walk(made)

    for config in configs:
        walk(config)
    return [found[key] for key in sorted(found)]


def _source_of(type_name: str, name: str) -> dict[str, str]:
    import inspect

    from dlk.registry import register

    try:
        file = inspect.getsourcefile(register.get(type_name, name))
    except (TypeError, OSError):
        return {}
    return {"file": os.path.basename(file), "sha256": sha256_of(file)} if file and os.path.exists(file) else {}


def _inputs(processor: IntcBase, processed_data_dir: str) -> list[dict[str, Any]]:
    """Return the raw columns that a request must bring, with their types in the processed data."""
    from dlk.data.store import open_split

    written: set[str] = set()
    wanted: dict[str, None] = {}
    steps = children(processor, "subprocessor")
    if not steps:  # a processor of its own kind: its signature is all that is known
        wanted.update(dict.fromkeys(processor.signature().reads))
    for name in processor.order() if hasattr(processor, "order") else steps:
        step = steps[name]
        if "online" not in getattr(step, "online_data_set", ["online"]):
            continue
        signature = step.signature()
        wanted.update(dict.fromkeys(c for c in signature.reads if c not in written))
        written.update(signature.writes)
    types: dict[str, str] = {}
    for split in ("train", "valid", "test", "predict"):
        folder = os.path.join(processed_data_dir, split)
        if os.path.isdir(folder):
            types = {**{f.name: str(f.type) for f in open_split(folder).table.schema}, **types}
    return [{"name": name, "type": types.get(name, ""), "nullable": False} for name in wanted]


def _golden_rows(processed_data_dir: str, names: list[str]) -> list[dict[str, Any]]:
    from dlk.data.store import open_split

    for split in ("test", "valid", "train"):
        folder = os.path.join(processed_data_dir, split)
        if not os.path.isdir(folder):
            continue
        opened = open_split(folder)
        if not len(opened) or not set(names) <= set(opened.column_names):
            continue
        count = min(len(opened), 4 * _GOLDEN_ROWS)
        seen: dict[int, dict[str, Any]] = {}
        for row in opened.rows(list(range(count)), ["_row", *names]):
            seen.setdefault(int(row.pop("_row")), row)
        return list(seen.values())[:_GOLDEN_ROWS]
    return []


def _shape_of(predictions: list[Any]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for prediction in predictions:
        if isinstance(prediction, dict):
            kinds.update({k: type(v).__name__ for k, v in prediction.items() if v is not None})
    return kinds


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != schema.MANIFEST)
    return {p.relative_to(folder).as_posix(): sha256_of(p) for p in files}


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
