"""Where the path of a bundle becomes a folder on this machine: the one place that knows how."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

from dlk.bundle._zip import is_zip, unpack
from dlk.errors import BundleError
from dlk.io import is_remote

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

    Raises:
        BundleError: there is neither folder nor zip, or the zip is refused.
    """
    if is_remote(path):
        raise BundleError(f"{os.fspath(path)} is on another file system: copy it here first")
    found = Path(os.fspath(path).removeprefix("file://")).absolute()
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
