"""Reading a bundle: checked before anything is used, built without parser or pickle."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.bundle import schema
from dlk.bundle.contents import Contents
from dlk.errors import BundleError, ConfigError, DlkError

if TYPE_CHECKING:
    import torch

    from dlk.inference import Engine, Parts

__all__ = ["Bundle"]


class Bundle:
    """A bundle on disk, its manifest and digests checked.

    Args:
        path: the folder, or its zip; or what is in it, once that was looked at.
        src: folders with project-local components that it needs.
        trust_code: run the copy of the project's own components that the bundle brings. That is
            code of whoever made the bundle, and may do whatever you may do.

    Attributes:
        path: the folder, absolute; of a zip a private one, which is removed once neither this
            object nor an engine of it is held.
        manifest: what ``bundle.json`` holds.

    Raises:
        BundleError: it is no bundle, was changed or cut, holds what a bundle may not hold, is newer
            than this dlk, or needs what is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Contents,
        *,
        src: Sequence[str] = (),
        trust_code: bool = False,
    ) -> None:
        if isinstance(src, str | os.PathLike):
            raise TypeError(f"src is a list of folders, got {src!r}: src=[{os.fspath(src)!r}]")
        self.contents = path if isinstance(path, Contents) else Contents(path)
        self.path = self.contents.folder
        self.manifest = self.contents.manifest
        folders = [os.path.abspath(folder) for folder in src]
        if trust_code:
            folders += _copied_code(self.contents)
        if folders:
            from dlk.registry import register

            register.add_local(folders)
        with self._named():
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
        """The raw columns that a request must bring: name, type, and whether they may be null.

        ``nullable`` is None where it is not known: no row was there to try it with.
        """
        return list(self.manifest.get("inputs", []))

    @property
    def prediction(self) -> dict[str, Any]:
        """The form of a prediction as a JSON Schema; {} where nothing is known of it."""
        return schema.prediction_of(self.manifest)

    @property
    def meta_dir(self) -> str:
        """Folder of what Process learnt."""
        return str(self.path / schema.META)

    def parts(self) -> Parts:
        """Return the config objects of what predicting needs.

        How the model was trained stands in ``fit.json`` for the reader; it is not built, so its
        components need not be installed.

        Raises:
            BundleError: a config names a file outside, or does not fit the installed components.
        """
        from dlk.inference import Parts

        process, fit = self.contents.process, self.contents.fit
        with self._named():
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
        """Build what predicts: preprocessing, model with its weights, postprocessor.

        Raises:
            BundleError: its files and configs do not fit one another or what is installed, or a
                file was changed since it was checked.
        """
        with self._named():
            return self._engine(device, batch_size)

    def _engine(self, device: str | torch.device, batch_size: int | None) -> Engine:
        from dlk.bundle._building import Building
        from dlk.bundle.weights import load_state
        from dlk.context import Setup
        from dlk.data.meta import Meta
        from dlk.inference import Engine, as_failure

        parts = self.parts()
        state = load_state(self.path / schema.WEIGHTS)
        inputs = [str(column.get("name")) for column in self.inputs]
        numbers = sum(tensor.numel() for tensor in state.values())
        try:
            with Building(tensors=len(state), numbers=numbers):
                engine = Engine.build(
                    parts,
                    state,
                    Setup(meta=Meta.load(self.meta_dir), pretrained=False),
                    inputs=inputs,
                    device=device,
                    batch_size=batch_size,
                )
        except DlkError as error:
            raise BundleError(f"{self.path} cannot be loaded: {error}") from error
        except MemoryError as error:
            raise BundleError(f"{self.path} cannot be loaded: there is no memory for it") from error
        except BaseException as raised:  # values of a stranger may let a component raise anything
            failure = as_failure(raised)
            kind = type(failure).__name__
            raise BundleError(f"{self.path} cannot be loaded: {kind}: {failure}") from raised
        self.contents.check_unchanged()
        weakref.finalize(engine.model, _let_go, self.contents.keep)
        return engine

    def golden(self) -> list[dict[str, Any]]:
        """Return the inputs and predictions that were kept when it was written.

        A row that could not be processed has ``{"error": …}`` as its prediction.
        """
        return list(self.contents.golden)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Let errors name the URL or zip, and not the private folder that it was brought to."""
        try:
            yield
        except BundleError as error:
            told = str(error).replace(str(self.path), self.contents.name)
            if told == str(error):
                raise
            raise BundleError(told) from error.__cause__

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
                if origin == "local":
                    _tell_change(need, self.contents.name)
            elif origin == "local":
                file = need.get("file", "?")
                problems.append(
                    f"{what}, a component of the project that made it ({file}): "
                    f"name its folder with src (--src DIR){self._offered()}"
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

    def _offered(self) -> str:
        if not any(name.startswith(f"{schema.CODE}/") for name in self.contents.digests):
            return ""
        return ", or run the copy in the bundle, if you trust who made it (--trust-code)"

    def _made(self, file: str, values: Mapping[str, Any], type_name: str) -> Any:
        """Return the config object of the one component of a type, its files inside the bundle."""
        from dlk.config import assets, from_resolved, node_of

        key = _key(values, type_name, self.path / file)
        try:
            (config,) = from_resolved({key: values[key]}, folder=str(self.path)).values()
        except ConfigError as error:
            raise BundleError(f"{self.path / file} cannot be used: {error}") from error
        except Exception as error:  # rules between values of a stranger may raise anything
            kind = type(error).__name__
            raise BundleError(f"{self.path / file} cannot be used: {kind}: {error}") from error
        for owner, field, _ in assets(config):
            value = Path(str(getattr(owner, field)))
            inside = value.resolve().is_relative_to(self.path.resolve())
            if not inside:  # one that is not kept is not to be read from elsewhere either
                raise BundleError(
                    f"{self.path / file}: {node_of(owner).path}.{field} leaves the bundle: {value}"
                )
        return config


def _let_go(keep: object) -> None:
    """Hold something until now, for the one whose end calls this."""


_CODE: dict[str, str] = {}
"""Folders with copies of bundles' code, by its digests: imported modules stay until the end."""


def _copied_code(contents: Contents) -> list[str]:
    """Return folders with the code that a bundle brings, copied to where nobody else writes.

    Raises:
        BundleError: it brings none.
    """
    names = [name for name in contents.digests if name.startswith(f"{schema.CODE}/")]
    if not names:
        raise BundleError(f"{contents.name} brings no code that could be trusted")
    digest = repr([(name, contents.digests[name]) for name in names])
    if digest not in _CODE:
        aside = tempfile.mkdtemp(prefix="dlk-code-")
        atexit.register(shutil.rmtree, aside, ignore_errors=True)
        for name in names:
            target = Path(aside, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(contents.folder / name, target)
        contents.check_unchanged()
        _CODE[digest] = aside
    return sorted({os.path.join(_CODE[digest], *name.split("/")[:2]) for name in names})


def _tell_change(need: Mapping[str, str], bundle: str) -> None:
    """Warn of a project's own component whose source is not that which made the bundle."""
    import warnings

    from dlk._local import path_of
    from dlk.errors import ChangedSourceWarning
    from dlk.io import sha256_of
    from dlk.registry import register

    chosen = register.chosen(need["type"], need["name"])
    if chosen is None or chosen.origin != "local" or not need.get("sha256"):
        return
    file = path_of(chosen.component.cls or chosen.component.config)
    if os.path.isfile(file) and sha256_of(file) != need["sha256"]:
        warnings.warn(
            f'{need["type"]} "{need["name"]}": {file} is not the file that made {bundle} '
            "(its SHA-256 differs): predictions may, too",
            ChangedSourceWarning,
            stacklevel=4,
        )


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


def _key(values: Mapping[str, Any], type_name: str, file: Path) -> str:
    """Return the key of the one component of a type."""
    from dlk.config.keys import is_module, parse_key

    found = [key for key in values if is_module(key) and parse_key(key).type == type_name]
    if len(found) != 1:
        raise BundleError(f'{file}: expected one "@{type_name}", got {len(found)}')
    return found[0]


def _below(values: Mapping[str, Any], type_name: str, file: Path) -> Mapping[str, Any]:
    found = values[_key(values, type_name, file)]
    if not isinstance(found, Mapping):
        raise BundleError(f'{file}: "@{type_name}" should be an object')
    return found
