"""A bundle as one zip: written the same each time, and looked at in full before it is unpacked."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from dlk.bundle import schema
from dlk.bundle._names import clash, flaw
from dlk.errors import BundleError

__all__ = ["MAX_FILES", "MAX_RATIO", "is_zip", "unpack", "write_zip"]

MAX_FILES = 4096
"""In a bundle; those that dlk writes have ten or twenty."""

MAX_RATIO = 200
"""How much larger than its zip a file may be, beyond `FREE_BYTES`; JSON reaches 20."""

FREE_BYTES = 1 << 20

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
_LOCAL_HEADER = 30
_END = 22  # the end record; with the two of large zips in front of it, 98
_END64 = 98
_MAX_DIRECTORY = MAX_FILES * 2048
_BLOCK = 1 << 20


def is_zip(path: Path) -> bool:
    """Return whether a file begins as a zip does."""
    try:
        with open(path, "rb") as handle:
            return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def write_zip(folder: Path, names: Iterable[str], handle: IO[bytes]) -> None:
    """Write files of a folder as a zip: equal bundles make equal bytes, whatever made them.

    Names are sorted, times and rights fixed, and nothing is compressed: weights hardly shrink, and
    what a compressor writes differs between its versions.
    """
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = (folder / name).stat().st_size
            with open(folder / name, "rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target, _BLOCK)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip into an empty folder, once all of its entries were found harmless.

    Raises:
        BundleError: it is damaged, or an entry leaves the folder, is a link, encrypted, named
            twice, laid over another, or out of all proportion; nothing was written then.
    """
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            _check_directory(path, handle, size)
            archive = zipfile.ZipFile(handle)
            entries = _checked(path, archive, handle)
            needed = sum(entry.file_size for entry in entries)
            free = shutil.disk_usage(folder).free
            if needed > free:
                raise BundleError(
                    f"{path} unpacks to {needed} bytes, and {folder} has room for {free}: "
                    "unpack it where there is room, and name the folder"
                )
            for entry in entries:
                _write(archive, entry, folder / entry.filename)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # a compression or version of others
        raise BundleError(f"{path} cannot be unpacked: {error}") from error
    except zlib.error as error:
        raise BundleError(f"{path} is damaged: {error}") from error


def _check_directory(path: Path, handle: IO[bytes], size: int) -> None:
    """Refuse a table of contents that is not at the very end, or too large to be read at once."""
    handle.seek(max(0, size - _END64))
    tail = handle.read()
    end = tail[-_END:]
    if len(end) < _END or end[:4] != b"PK\x05\x06" or end[20:22] != b"\0\0":
        raise BundleError(f"{path} is damaged: it does not end as a zip without a comment does")
    length = int.from_bytes(end[12:16], "little")
    if tail[:4] == b"PK\x06\x06" and len(tail) == _END64:  # the record for large zips counts
        length = int.from_bytes(tail[40:48], "little")
    if length > _MAX_DIRECTORY:
        raise BundleError(f"{path}: its table of contents has {length} bytes: a zip bomb")


def _checked(path: Path, archive: zipfile.ZipFile, handle: IO[bytes]) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise BundleError(f"{path} holds {len(entries)} files, a bundle at most {MAX_FILES}")
    found = []
    for entry in entries:
        is_folder = entry.orig_filename.endswith("/") and not entry.file_size
        wrong = _wrong_with(entry, is_folder=is_folder)
        if wrong:
            raise BundleError(f"{path}: {wrong}")
        if not is_folder:  # a folder needs no entry
            found.append(entry)
    names = [entry.filename for entry in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleError(f"{path} holds {twice} twice")
    pair = clash(names)
    if pair:
        raise BundleError(f"{path} holds {pair[0]} and {pair[1]}, one file on some systems")
    if schema.MANIFEST not in names:
        raise BundleError(f"{path} is no bundle: it holds no bundle.json{_below(names)}")
    _check_layout(path, archive, entries, handle)
    return found


def _wrong_with(entry: zipfile.ZipInfo, *, is_folder: bool) -> str:
    """Return what is wrong with one entry; "" where nothing is."""
    name, mode = entry.orig_filename, entry.external_attr >> 16
    reason = flaw(name[:-1] if is_folder else name)
    if reason:
        return f"the file name {name!r} {reason}"
    if entry.filename != name:  # a second name in an extra field
        return f"the file name {name!r} is not its only one"
    if entry.flag_bits & 0x1:
        return f"{name} is encrypted"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{name} is a link or device: it leaves the bundle or might"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"{name} is compressed otherwise than by deflate"
    if entry.file_size > MAX_RATIO * entry.compress_size + FREE_BYTES:
        sizes = f"{entry.compress_size} bytes to {entry.file_size}"
        return f"{name} would unpack from {sizes}: a zip bomb"
    return ""


def _below(names: list[str]) -> str:
    for name in names:
        folder, _, file = name.rpartition("/")
        if file == schema.MANIFEST:
            return f" at its top, but one in {folder}: zip what is in it (dlk bundle zip does)"
    return ""


def _check_layout(
    path: Path,
    archive: zipfile.ZipFile,
    entries: list[zipfile.ZipInfo],
    handle: IO[bytes],
) -> None:
    """Refuse entries that share bytes, or whose two headers disagree: other readers see others."""
    ends = archive.start_dir
    for entry in sorted(entries, key=lambda e: e.header_offset, reverse=True):
        if entry.header_offset < 0:
            raise BundleError(f"{path} is damaged: {entry.filename} begins in front of it")
        handle.seek(entry.header_offset)
        head = handle.read(_LOCAL_HEADER)
        if len(head) < _LOCAL_HEADER or head[:4] != b"PK\x03\x04":
            raise BundleError(f"{path} is damaged: {entry.filename} is not where it should be")
        lengths = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
        raw = handle.read(lengths[0])
        encoding = "utf-8" if entry.flag_bits & 0x800 else "cp437"
        try:
            same = raw.decode(encoding) == entry.orig_filename
        except UnicodeDecodeError:
            same = False
        method = int.from_bytes(head[8:10], "little")
        if not same or method != entry.compress_type:
            raise BundleError(f"{path} is damaged: {entry.filename} has two headers that differ")
        end = entry.header_offset + _LOCAL_HEADER + sum(lengths) + entry.compress_size
        if end > ends:
            raise BundleError(f"{path}: {entry.filename} and another entry overlap: a zip bomb")
        ends = entry.header_offset
    if ends != 0:
        raise BundleError(f"{path}: something stands in front of its first file")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, open(target, "xb") as handle:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                break
            handle.write(block)
    if left:
        raise BundleError(f"{archive.filename} is damaged: {entry.filename} has another size")
