"""Bundles made of bundles: one as a zip, one with a copy of the project's own components in it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlk.bundle import schema
from dlk.bundle._zip import write_zip
from dlk.bundle.contents import Contents
from dlk.errors import BundleError
from dlk.io import atomic_dir, atomic_write

__all__ = ["pack_code", "zip_bundle"]


def zip_bundle(bundle: str | os.PathLike[str], path: str | os.PathLike[str]) -> Contents:
    """Write a bundle as one zip, which appears whole or not at all; equal bundles, equal bytes.

    Returns:
        What was packed.

    Raises:
        BundleError: the bundle is damaged, or was changed meanwhile.
    """
    contents = Contents(bundle)
    with atomic_write(path, "wb") as handle:
        write_zip(contents.folder, contents.sizes, handle)
        contents.check_unchanged()
    return contents


def pack_code(
    bundle: str | os.PathLike[str], path: str | os.PathLike[str], *, src: Sequence[str]
) -> list[str]:
    """Write a bundle that holds a copy of the project's own components, which it needs.

    All Python files below `src` are copied, so that those that the components import are there.
    The copy is run by nobody who does not say so (`trust_code`).

    Args:
        bundle: the bundle.
        path: folder to write; it may be the bundle's own.
        src: folders with the sources of the project's own components.

    Returns:
        The names of the copies in the bundle.

    Raises:
        BundleError: the bundle is damaged, needs no such component, or the file of one is not among
            the sources as it was when the bundle was written.
    """
    contents = Contents(bundle)
    needs = [need for need in contents.manifest["needs"] if need.get("distribution") == "local"]
    if not needs:
        raise BundleError(f"{contents.name} needs no component of a project: there is no code")
    files = _sources(src)
    for need in needs:
        _check_source(need, files, contents.name)
    with atomic_dir(path) as folder:
        for name in contents.digests:
            if not name.startswith(f"{schema.CODE}/"):
                _copy(contents.folder / name, folder / name)
        contents.check_unchanged()
        for name, file in files.items():
            _copy(Path(file), folder / name)
        seal(folder, contents.manifest)
        Contents(folder)  # a bundle that could not be read is never left behind
    return sorted(files)


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with the digests of all other files."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / schema.MANIFEST)
    digests = {p.relative_to(folder).as_posix(): _digest_of(p) for p in files}
    text = schema.manifest_text({**manifest, "digests": digests})
    (folder / schema.MANIFEST).write_text(text, encoding="utf-8")


def _sources(src: Sequence[str]) -> dict[str, str]:
    """Return each Python file below the sources by its name in the bundle."""
    from dlk._local import python_files

    found = {}
    for number, source in enumerate(src):
        top = source if os.path.isdir(source) else os.path.dirname(source)
        for file in python_files(source):
            inner = os.path.relpath(file, os.path.abspath(top)).replace(os.sep, "/")
            found[f"{schema.CODE}/{number}/{inner}"] = file
    return found


def _check_source(need: Mapping[str, str], files: Mapping[str, str], bundle: str) -> None:
    what = f'{need["type"]} "{need["name"]}"'
    wanted, name = need.get("sha256", ""), need.get("file", "")
    if not wanted:
        raise BundleError(f"{bundle}: {what} was made in no file, so there is none to copy")
    alike = [file for file in files.values() if os.path.basename(file) == name]
    if any(_digest_of(Path(file)) == wanted for file in files.values()):
        return
    if alike:
        raise BundleError(
            f"{bundle}: {what} was made by another {name} than {alike[0]} (its SHA-256 differs): "
            "bring back the file as it was, or train again"
        )
    raise BundleError(f"{bundle}: {what} is in {name}, which is not below --src")


def _digest_of(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
