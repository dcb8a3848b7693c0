"""Reading a bundle: checked before anything of it is used, built without parser, expression or pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.bundle import schema
from dlk.errors import BundleError, ConfigError, DlkError
from dlk.io import sha256_of

if TYPE_CHECKING:
    import torch

    from dlk.config._intc import IntcBase
    from dlk.inference import Engine

__all__ = ["Bundle"]


class Bundle:
    """A bundle on disk, its manifest and digests checked.

    Args:
        path: the folder.
        src: folders with project-local components that it needs.

    Raises:
        BundleError: it is no bundle, was changed or cut, is newer than this dlk, or needs what is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, src: Sequence[str] = ()) -> None:
        self.path = Path(path).absolute()
        self.manifest = self._read_manifest()
        self._check_files()
        if src:
            from dlk.registry import register

            register.add_local([os.path.abspath(folder) for folder in src])
        self._check_needs()

    @property
    def metrics(self) -> dict[str, float]:
        """The final metrics of the run that made it."""
        return dict(self.manifest.get("metrics", {}))

    @property
    def task(self) -> str:
        """Name of the postprocessor: what kind of predictions it gives."""
        return str(self.manifest.get("task", ""))

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The raw columns that a request must bring."""
        return list(self.manifest.get("inputs", []))

    def configs(self) -> tuple[IntcBase, IntcBase]:
        """Return the config objects of the processor and of the fit root."""
        from dlk.config import assets, from_resolved, node_of

        found = []
        for name in (schema.PROCESS, schema.FIT):
            try:
                made = from_resolved(self._json(name), folder=str(self.path))
            except ConfigError as error:
                raise BundleError(f"{self.path / name} cannot be used: {error}") from error
            if len(made) != 1:
                raise BundleError(f"{self.path / name}: expected one component at the top, got {len(made)}")
            config = next(iter(made.values()))
            for owner, field, asset in assets(config):
                value = Path(str(getattr(owner, field)))
                if asset["bundle"] and not value.resolve().is_relative_to(self.path.resolve()):
                    raise BundleError(f"{self.path / name}: {node_of(owner).path}.{field} leaves the bundle: {value}")
            found.append(config)
        return found[0], found[1]

    def engine(self, *, device: str | torch.device = "cpu", batch_size: int | None = None) -> Engine:
        """Build what predicts: preprocessing, model with its weights, postprocessor."""
        from dlk.bundle.weights import load_state
        from dlk.context import Setup
        from dlk.data.meta import Meta
        from dlk.inference import Engine

        process, fit = self.configs()
        setup = Setup(meta=Meta.load(self.path / schema.META), pretrained=False)
        state = load_state(self.path / schema.WEIGHTS)
        try:
            return Engine.build(process, fit, state, setup, device=device, batch_size=batch_size)
        except BundleError:
            raise
        except DlkError as error:
            raise BundleError(f"{self.path} cannot be loaded: {error}") from error

    def golden(self) -> list[dict[str, Any]]:
        """Return the inputs and predictions that were kept when it was written."""
        path = self.path / schema.GOLDEN
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]

    def _read_manifest(self) -> dict[str, Any]:
        if not (self.path / schema.MANIFEST).is_file():
            hint = "it is a run; its bundle is in the folder bundle" if (self.path / "bundle").is_dir() else "expected a folder with bundle.json"
            raise BundleError(f"{self.path} is no bundle: {hint}")
        manifest = self._json(schema.MANIFEST)
        version = manifest.get("schema")
        if not isinstance(version, int) or version < 1:
            raise BundleError(f"{self.path}: bundle.json has no schema version")
        if version > schema.SCHEMA:
            raise BundleError(f"{self.path} has schema {version}, this dlk reads up to {schema.SCHEMA}: pip install -U dlk-core")
        return manifest

    def _check_files(self) -> None:
        digests = self.manifest.get("digests")
        if not isinstance(digests, Mapping):
            raise BundleError(f"{self.path}: bundle.json has no digests")
        root = self.path.resolve()
        for name, digest in digests.items():
            file = self.path / name
            if Path(name).is_absolute() or not file.resolve().is_relative_to(root):
                raise BundleError(f"{self.path}: the file name {name!r} leaves the bundle")
            if file.is_symlink() or not file.is_file():
                raise BundleError(f"{self.path}: {name} is missing or no plain file")
            if sha256_of(file) != digest:
                raise BundleError(f"{self.path}: {name} is not what was written (its SHA-256 differs)")
        extra = [
            p.relative_to(self.path).as_posix()
            for p in sorted(self.path.rglob("*"))
            if (p.is_file() or p.is_symlink()) and p.name != schema.MANIFEST
        ]
        unknown = [name for name in extra if name not in digests]
        if unknown:
            raise BundleError(f"{self.path}: {unknown[0]} is not listed in bundle.json")
        for name in (schema.PROCESS, schema.FIT, schema.WEIGHTS):
            if name not in digests:
                raise BundleError(f"{self.path}: {name} is missing")

    def _check_needs(self) -> None:
        from dlk.registry import register

        problems = []
        for need in self.manifest.get("needs", []):
            if (need["type"], need["name"]) in register:
                continue
            origin = need.get("distribution", "")
            if origin == "local":
                problems.append(f'{need["type"]} "{need["name"]}", a component of the project that made it ({need.get("file", "?")}): name its folder with src (--src DIR)')
            else:
                version = f'=={need["version"]}' if need.get("version") else ""
                problems.append(f'{need["type"]} "{need["name"]}": pip install {origin}{version}')
        if problems:
            raise BundleError(f"{self.path} needs what is not installed here: {'; '.join(problems)}")

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{self.path / name} cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise BundleError(f"{self.path / name}: expected an object")
        return value
