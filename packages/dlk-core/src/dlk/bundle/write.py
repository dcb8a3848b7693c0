"""Writing a bundle: everything that predicting needs, and nothing that points outside."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from dlk.bundle import describe, schema
from dlk.bundle.pack import seal
from dlk.bundle.weights import save_state
from dlk.config import assets, node_of, to_dict
from dlk.errors import BundleError, PluginError
from dlk.io import atomic_dir, is_remote, sha256_of
from dlk.postprocessor import plain

if TYPE_CHECKING:
    from dlk.data.store import Split

__all__ = ["write_bundle"]

_GOLDEN_ROWS = 8


def write_bundle(
    path: str | os.PathLike[str],
    *,
    fit: Any,
    model: nn.Module,
    processed_data_dir: str,
    metrics: Mapping[str, float],
) -> None:
    """Write a bundle; the folder appears whole or not at all.

    Args:
        path: folder to write.
        fit: config object of the fit root.
        model: the trained model, wherever it is.
        processed_data_dir: what Process wrote: its config, its meta, and the rows for the golden
            predictions.
        metrics: the final metrics of the run.
    """
    from dlk.bundle.read import Bundle
    from dlk.config import from_resolved
    from dlk.inference import Parts, answer_of, raw_inputs

    with open(os.path.join(processed_data_dir, schema.PROCESS), encoding="utf-8") as handle:
        resolved = json.load(handle)
    (process,) = from_resolved(resolved, folder=processed_data_dir).values()
    parts = Parts.of(process, fit)
    names = raw_inputs(process, fit)
    with atomic_dir(path) as folder:
        shutil.copytree(
            os.path.join(processed_data_dir, schema.META),
            folder / schema.META,
            ignore=shutil.ignore_patterns(*map(glob.escape, _start_files(processed_data_dir))),
        )
        taken: set[str] = set()
        _dump(folder / schema.PROCESS, _portable(process, folder, taken))
        _dump(folder / schema.FIT, _portable(fit, folder, taken))
        save_state(model.state_dict(), folder / schema.WEIGHTS)
        needs = _needs(parts)
        manifest: dict[str, Any] = {
            "schema": schema.SCHEMA,
            "task": node_of(parts.postprocessor).name,
            "needs": needs,
            "distributions": describe.locked(needs, _modules(needs)),
            "environment": describe.environment(),
            "inputs": _described(names, processed_data_dir),
            "prediction": {},
            "metrics": plain(dict(metrics)),
            "tolerance": schema.TOLERANCE,
        }
        seal(folder, manifest)
        # Read back as any server would: a bundle that cannot be loaded is never left behind.
        rows = _golden_rows(processed_data_dir, names)
        columns = {name: [row[name] for row in rows] for name in names} if rows else {}
        engine = Bundle(folder).engine(device="cpu")
        predictions = [plain(answer_of(answer)) for answer in engine.predict(columns)]
        with open(folder / schema.GOLDEN, "w", encoding="utf-8") as handle:
            for row, prediction in zip(rows, predictions, strict=True):
                line = {"input": row, "prediction": prediction}
                handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        for described in manifest["inputs"]:
            if rows:
                described["nullable"] = describe.nullable(engine, rows[0], described["name"])
        manifest["prediction"] = _prediction(engine.postprocessor, predictions)
        seal(folder, manifest)


def _prediction(postprocessor: Any, predictions: Sequence[Any]) -> dict[str, Any]:
    """Return the form of a prediction as a JSON Schema, and where it is known from."""
    declared = postprocessor.prediction_schema()
    if declared is not None:
        return {"from": "declared", "schema": plain(declared)}
    good = [each for each in predictions if not _is_error(each)]
    return {"from": "golden", "schema": describe.schema_of(good)}


def _is_error(prediction: Any) -> bool:
    return isinstance(prediction, dict) and prediction.keys() == {"error"}


def _modules(needs: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the modules that the needed components import, as their tables say."""
    from dlk.registry import register

    chosen = (register.chosen(need["type"], need["name"]) for need in needs)
    return {module for entry in chosen if entry is not None for module in entry.component.needs}


def _start_files(processed_data_dir: str) -> tuple[str, ...]:
    """Return the files of start values, in whose place the bundle has the trained weights."""
    from dlk.data.meta import Meta

    return Meta.load(processed_data_dir).start_files


def _portable(config: Any, folder: Path, taken: set[str]) -> dict[str, Any]:
    """Copy a config's files into the bundle; return its values, which name them relative to it."""
    resolved = to_dict(config)
    for owner, name, asset in assets(config):
        value = str(getattr(owner, name))
        replacement = value
        if asset["bundle"]:
            if os.path.exists(value):
                replacement = _copy(value, asset["include"], folder, taken)
            elif not asset["hub"]:
                raise BundleError(
                    f"{node_of(owner).path}.{name}: there is no {value} to take into the bundle"
                )
            else:
                replacement = _copy_hub(value, folder, taken)
        elif os.path.isabs(value) or is_remote(value):
            replacement = os.path.basename(value.rstrip("/")) or "."
        _replace(resolved, config, owner, name, replacement)
    return resolved


def _replace(resolved: dict[str, Any], root: Any, owner: Any, name: str, value: str) -> None:
    def find(config: Any, values: dict[str, Any]) -> bool:
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
    """Keep the description of a model on a hub, so that the hub is not asked again."""
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


def _needs(parts: Iterable[Any]) -> list[dict[str, str]]:
    """Return every component that loading needs, and who brings it."""
    from dlk.registry import register

    entries = {(e.component.type, e.component.name): e for e in register.entries()}
    found: dict[tuple[str, str], dict[str, str]] = {}

    def walk(config: Any) -> None:
        node = node_of(config)
        need = {"type": node.type, "name": node.name}
        entry = entries.get((node.type, register.primary(node.type, node.name)))
        if entry is None or entry.origin == "local":
            need |= {"distribution": "local", **_source_of(node.type, node.name)}
        else:
            need |= {"distribution": entry.origin, "version": entry.version}
        found[node.type, node.name] = need
        for made in node.children.values():
            walk(made)

    for config in parts:
        walk(config)
    return [found[key] for key in sorted(found)]


def _source_of(type_name: str, name: str) -> dict[str, str]:
    import inspect

    from dlk.registry import register

    try:
        file = inspect.getsourcefile(register.get(type_name, name))
    except (TypeError, OSError, PluginError):  # made in a notebook, or a config without a class
        return {}
    if not file or not os.path.exists(file):
        return {}
    return {"file": os.path.basename(file), "sha256": sha256_of(file)}


def _described(names: Iterable[str], processed_data_dir: str) -> list[dict[str, Any]]:
    """Return the raw columns that a request must bring, with their types.

    Whether they may be null is not known (None) until it was tried.
    """
    types: dict[str, str] = {}
    for opened in _splits(processed_data_dir, ("predict", "test", "valid", "train")):
        types.update((field.name, str(field.type)) for field in opened.table.schema)
    return [
        {"name": name, "type": describe.input_type(types.get(name, "")), "nullable": None}
        for name in names
    ]


def _splits(processed_data_dir: str, names: Iterable[str]) -> Iterator[Split]:
    from dlk.data.store import is_split, open_split

    for name in names:
        folder = os.path.join(processed_data_dir, name)
        if is_split(folder):
            yield open_split(folder)


def _golden_rows(processed_data_dir: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the first raw rows of the data, as JSON can hold them."""
    for opened in _splits(processed_data_dir, ("test", "valid", "train")):
        if not names or not len(opened) or not set(names) <= set(opened.column_names):
            continue
        # records of the first rows; of windows perhaps of fewer rows
        count = min(len(opened), 4 * _GOLDEN_ROWS)
        seen: dict[int, dict[str, Any]] = {}
        for row in opened.rows(range(count), ["_row", *names]):
            seen.setdefault(int(row.pop("_row")), {name: plain(row[name]) for name in names})
        return list(seen.values())[:_GOLDEN_ROWS]
    return []


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
