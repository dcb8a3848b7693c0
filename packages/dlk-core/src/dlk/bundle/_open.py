"""Where the path of a bundle becomes a folder on this machine: the one place that knows how."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from dlk.bundle import schema
from dlk.bundle._json import parse
from dlk.bundle._names import flaw
from dlk.bundle._zip import MAX_FILES, is_zip, unpack
from dlk.errors import BundleError, redact
from dlk.io import is_remote, local_path

__all__ = ["LocalFolder", "local_folder"]


class LocalFolder:
    """A bundle's folder. A temporary one is removed once nobody holds this object any more.

    Attributes:
        path: the folder, absolute.
        source: what was named: this folder, or the zip that it was unpacked from.
    """

    def __init__(self, path: Path, source: str, *, is_temporary: bool = False) -> None:
        self.path = path
        self.source = source
        if is_temporary:  # also when the process ends; not when it is killed
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


def local_folder(path: str | os.PathLike[str]) -> LocalFolder:
    """Return the folder of a bundle; a zip is looked at in full, then unpacked to a private one.

    Of a URL the files that ``bundle.json`` lists are fetched to a private folder, or its zip.

    Raises:
        BundleError: there is neither folder nor zip, or the zip is refused.
    """
    if is_remote(path):
        return _fetched(os.fspath(path))
    found = Path(local_path(path)).absolute()
    if found.is_dir():
        return LocalFolder(found, str(found))
    if not found.is_file():
        raise BundleError(f"{found} is no bundle: expected a folder with bundle.json, or its zip")
    if not is_zip(found):
        hint = "it is a file, and no zip"
        if found.name == "bundle.json":
            hint = f"name its folder, {found.parent}"
        raise BundleError(f"{found} is no bundle: {hint}")
    folder = LocalFolder(
        Path(tempfile.mkdtemp(prefix="dlk-bundle-")), str(found), is_temporary=True
    )
    unpack(found, folder.path)
    return folder


def _fetched(url: str) -> LocalFolder:
    """Return a private folder with what stands at a URL; what is in it is checked afterwards."""
    from dlk._remote import fetch, fetch_to

    shown = redact(url)
    folder = LocalFolder(Path(tempfile.mkdtemp(prefix="dlk-bundle-")), shown, is_temporary=True)
    try:
        if shown.endswith(".zip"):
            found = fetch(url)
            if not is_zip(found):
                raise BundleError(f"{shown} is no bundle: it is a file, and no zip")
            unpack(found, folder.path)
            return folder
        base = url.rstrip("/")
        manifest = folder.path / schema.MANIFEST
        fetch_to(f"{base}/{schema.MANIFEST}", manifest)
        for name in _listed(manifest, shown):
            with contextlib.suppress(FileNotFoundError):  # told with what else is wrong
                fetch_to(f"{base}/{name}", folder.path / name)
    except FileNotFoundError as error:
        raise BundleError(
            f"{shown} is no bundle: expected a folder with bundle.json, or its zip"
        ) from error
    return folder


def _listed(manifest: Path, shown: str) -> list[str]:
    """Return the files that a manifest lists; none leaves the folder they are fetched to."""
    try:
        read = parse(manifest.read_bytes())
    except ValueError as error:
        raise BundleError(f"{shown}: bundle.json is damaged: {error}") from error
    digests = read.get("digests") if isinstance(read, dict) else None
    if not isinstance(digests, dict) or len(digests) > MAX_FILES:
        raise BundleError(f"{shown}: bundle.json lists no files, or more than {MAX_FILES}")
    for name in digests:
        if wrong := flaw(name):
            raise BundleError(f"{shown}: the file name {name!r} {wrong}")
    return list(digests)
