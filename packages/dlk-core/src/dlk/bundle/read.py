"""Reading a bundle: checked before anything is used, built without parser or pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.bundle import schema
from dlk.errors import BundleError, ConfigError, DlkError
from dlk.io import sha256_of

if TYPE_CHECKING:
    import torch

    from dlk.inference import Engine, Parts

__all__ = ["Bundle"]


class Bundle:
    """A bundle on disk, its manifest and digests checked.

    Args:
        path: the folder.
        src: folders with project-local components that it needs.

    Attributes:
        path: the folder, absolute.
        manifest: what ``bundle.json`` holds.

    Raises:
        BundleError: it is no bundle, was changed or cut, is newer than this dlk, or needs what is
            not installed.
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

    @property
    def meta_dir(self) -> str:
        """Folder of what Process learnt."""
        return str(self.path / schema.META)

    def parts(self) -> Parts:
        """Return the config objects of what predicting needs.

        How the model was trained stands in ``fit.json`` for the reader; it is not built, so its
        components need not be installed.

        Raises:
            BundleError: a config holds what would have to be computed, names a file outside, or
                does not fit the installed components.
        """
        from dlk.inference import Parts

        process, fit = self._json(schema.PROCESS), self._json(schema.FIT)
        for name, config in ((schema.PROCESS, process), (schema.FIT, fit)):
            for path, reason in _computed(config, ""):
                raise BundleError(f"{self.path / name} cannot be used: {path}: {reason}")
        root = _below(fit, "fit", self.path / schema.FIT)
        imodel = _below(root, "imodel", self.path / schema.FIT)
        return Parts(
            process=self._made(schema.PROCESS, process, "processor"),
            datamodule=self._made(schema.FIT, root, "datamodule"),
            model=self._made(schema.FIT, imodel, "model"),
            postprocessor=self._made(schema.FIT, imodel, "postprocessor"),
        )

    def engine(
        self, *, device: str | torch.device = "cpu", batch_size: int | None = None
    ) -> Engine:
        """Build what predicts: preprocessing, model with its weights, postprocessor."""
        from dlk.bundle.weights import load_state
        from dlk.context import Setup
        from dlk.data.meta import Meta
        from dlk.inference import Engine

        parts = self.parts()
        state = load_state(self.path / schema.WEIGHTS)
        inputs = [str(column.get("name")) for column in self.inputs]
        try:
            return Engine.build(
                parts,
                state,
                Setup(meta=Meta.load(self.meta_dir), pretrained=False),
                inputs=inputs,
                device=device,
                batch_size=batch_size,
            )
        except BundleError:
            raise
        except DlkError as error:
            raise BundleError(f"{self.path} cannot be loaded: {error}") from error

    def golden(self) -> list[dict[str, Any]]:
        """Return the inputs and predictions that were kept when it was written.

        Raises:
            BundleError: they cannot be read.
        """
        path = self.path / schema.GOLDEN
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"{path} cannot be read: {error}") from None

    def _read_manifest(self) -> dict[str, Any]:
        path = self.path / schema.MANIFEST
        if not path.is_file():
            hint = "expected a folder with bundle.json"
            if (self.path / "bundle").is_dir():
                hint = "it is a run; its bundle is in the folder bundle"
            raise BundleError(f"{self.path} is no bundle: {hint}")
        manifest = self._json(schema.MANIFEST)
        version = manifest.get("schema")
        if type(version) is not int or version < 1:
            raise BundleError(f"{self.path}: bundle.json has no schema version")
        if version > schema.SCHEMA:
            raise BundleError(
                f"{self.path} has schema {version}, this dlk reads up to {schema.SCHEMA}: "
                "pip install -U dlk-core"
            )
        if not schema.is_whole(path.read_bytes().decode(), manifest):
            raise BundleError(
                f"{self.path}: bundle.json is not what was written (its own digest differs)"
            )
        for field, texts in (("needs", ("type", "name")), ("inputs", ("name",))):
            given = manifest.get(field, [])
            if not isinstance(given, list) or not all(_has(entry, texts) for entry in given):
                raise BundleError(f'{self.path}: bundle.json holds no proper "{field}"')
        return manifest

    def _check_files(self) -> None:
        digests = self.manifest.get("digests")
        if not isinstance(digests, Mapping):
            raise BundleError(f"{self.path}: bundle.json has no digests")
        root = self.path.resolve()
        for name, digest in digests.items():
            file = self.path / name
            if not name or "\0" in name or not file.resolve().is_relative_to(root):
                raise BundleError(f"{self.path}: the file name {name!r} leaves the bundle")
            if file.is_symlink() or not file.is_file():
                raise BundleError(f"{self.path}: {name} is missing or no plain file")
            if sha256_of(file) != digest:
                raise BundleError(
                    f"{self.path}: {name} is not what was written (its SHA-256 differs)"
                )
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            plain_folder = path.is_dir() and not path.is_symlink()
            if name not in digests and name != schema.MANIFEST and not plain_folder:
                raise BundleError(f"{self.path}: {name} is not listed in bundle.json")
        for name in (schema.PROCESS, schema.FIT, schema.WEIGHTS):
            if name not in digests:
                raise BundleError(f"{self.path}: {name} is missing")

    def _check_needs(self) -> None:
        from dlk.registry import register

        problems, others = [], []
        for need in self.manifest.get("needs", []):
            what = f'{need["type"]} "{need["name"]}"'
            origin = need.get("distribution", "")
            other = _supplied_by_another(need["type"], need["name"], origin)
            if other:
                others.append(other)
            elif (need["type"], need["name"]) in register:
                continue
            elif origin == "local":
                file = need.get("file", "?")
                problems.append(
                    f"{what}, a component of the project that made it ({file}): "
                    "name its folder with src (--src DIR)"
                )
            else:
                version = f"=={need['version']}" if need.get("version") else ""
                problems.append(f"{what}: pip install {origin}{version}")
        if problems:
            raise BundleError(
                f"{self.path} needs what is not installed here: {'; '.join(problems)}"
            )
        if others:
            raise BundleError(f"{self.path} was made with other components: {'; '.join(others)}")

    def _made(self, file: str, values: Mapping[str, Any], type_name: str) -> Any:
        """Return the config object of the one component of a type, its files inside the bundle."""
        from dlk.config import assets, from_resolved, node_of

        key = _key(values, type_name, self.path / file)
        try:
            (config,) = from_resolved({key: values[key]}, folder=str(self.path)).values()
        except ConfigError as error:
            raise BundleError(f"{self.path / file} cannot be used: {error}") from error
        for owner, field, _ in assets(config):
            value = Path(str(getattr(owner, field)))
            inside = value.resolve().is_relative_to(self.path.resolve())
            if not inside:  # one that is not kept is not to be read from elsewhere either
                raise BundleError(
                    f"{self.path / file}: {node_of(owner).path}.{field} leaves the bundle: {value}"
                )
        return config

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(f"{self.path / name} cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise BundleError(f"{self.path / name}: expected an object")
        return value


def _supplied_by_another(type_name: str, name: str, origin: str) -> str:
    """Return what to do where the distribution that a bundle needs is there, and another is used.

    "" where there is nothing to do. A component that moved to another distribution is no problem.
    """
    from dlk._override import canonical
    from dlk.registry import register

    claims = register.claims(type_name, name)
    chosen = register.chosen(type_name, name)
    mine = [claim for claim in claims if canonical(claim.origin) == canonical(origin)]
    if not mine or chosen in mine:
        return ""
    if len(mine) > 1:
        return register.refusal(type_name, name)
    now = f"here it is that of {chosen}"
    if chosen is None:
        now = f"here it is claimed by {' and '.join(map(str, claims))}"
    way_out = f'DLK_OVERRIDE="{type_name}.{name}={canonical(origin)}" chooses it'
    return f'{type_name} "{name}" of {mine[0]}, {now}: {way_out}'


def _has(entry: object, texts: Sequence[str]) -> bool:
    """Return whether an entry of the manifest is an object with these texts in it."""
    return isinstance(entry, Mapping) and all(isinstance(entry.get(name), str) for name in texts)


def _key(values: Mapping[str, Any], type_name: str, file: Path) -> str:
    """Return the key of the one component of a type."""
    from dlk.config.keys import parse_key

    found = [key for key in values if key.startswith("@") and parse_key(key).type == type_name]
    if len(found) != 1:
        raise BundleError(f'{file}: expected one "@{type_name}", got {len(found)}')
    return found[0]


def _below(values: Mapping[str, Any], type_name: str, file: Path) -> Mapping[str, Any]:
    found = values[_key(values, type_name, file)]
    if not isinstance(found, Mapping):
        raise BundleError(f'{file}: "@{type_name}" should be an object')
    return found


def _computed(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield where something would have to be computed: a bundle holds resolved values only."""
    if isinstance(value, str) and "@lambda" in value:
        yield path, "an expression; only resolved values are allowed here"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            here = f"{path}.{key}" if path else key
            if key in ("_search", "_anchor", "_G", "_base"):
                yield here, f'"{key}" is not allowed here; only resolved values are'
            yield from _computed(part, here)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _computed(part, f"{path}.{number}")
