"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlk.errors import DlkError, did_you_mean

if TYPE_CHECKING:
    from dlk.predict import Predict

__all__ = [
    "UsageError",
    "add_bundle",
    "add_components",
    "add_data",
    "add_set",
    "device_of",
    "find_splits",
    "predict_of",
    "splits_of",
]

SPLITS = ("train", "valid", "test")


class UsageError(DlkError):
    """Arguments that do not fit together, or name what is not there."""


def add_set(parser: argparse.ArgumentParser, *, option: str = "--set", file: str = "") -> None:
    """Add the option that overrides values of a config."""
    parser.add_argument(
        option,
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help=f"override a value{f' of {file}' if file else ''}, such as imodel.optimizer.lr=1e-4; "
        "may be repeated; the value is JSON, else text",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the raw data."""
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="SPLIT=PATH",
        help="raw data of a split (train, valid, test): a file, glob or URL of json, jsonl, csv, "
        "tsv, parquet, arrow or what readers add (dlk list reader); may be repeated, also for one "
        "split. A folder stands for the files train.*, valid.* and test.* in it. Default: "
        "the folder data beside the config",
    )


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add what every command on a bundle takes: the bundle, the data, and where to run."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of a bundle, or its zip")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="+",
        help="files, globs or URLs of json, jsonl, csv, tsv, parquet, arrow or what readers "
        "add (dlk list reader)",
    )
    parser.add_argument(
        "--device", default="cpu", help="where to run (default: cpu), as cuda:0, or auto"
    )
    parser.add_argument(
        "--packed",
        action="store_true",
        help="keep packed copies of the weights where that is faster on this CPU",
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="most records at once (default: as configured)",
    )
    add_components(parser)


def predict_of(args: argparse.Namespace) -> Predict:
    """Return what the options of `add_bundle` ask for; imports torch.

    Raises:
        UsageError: the device is not there.
        DlkError: the bundle cannot be used.
    """
    from dlk.predict import Predict

    return Predict(
        args.bundle,
        device=device_of(args.device),
        batch_size=args.batch_size,
        src=args.src,
        trust_code=args.trust_code,
        packed=args.packed,
    )


def add_components(parser: argparse.ArgumentParser) -> None:
    """Add what says where a bundle's project-local components are."""
    parser.add_argument(
        "--src",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with the project's own components that the bundle needs; may be repeated",
    )
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="run the copy of the project's own components in the bundle: code of its maker",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_positive.__name__ = "number >= 1"  # argparse says: invalid number >= 1 value


def device_of(text: str) -> str:
    """Return the device's name once it is known to work here; imports torch.

    Raises:
        UsageError: there is no such kind of device, or none on this machine.
    """
    from dlk.inference import choose_device

    try:
        return str(choose_device(text))
    except DlkError as error:
        raise UsageError(f"--device {text}: {error}") from error


def splits_of(words: Sequence[str], *, config: str, stage: str) -> dict[str, list[str]]:
    """Return each split's paths: those of ``--data``, without it those of the default folder.

    Raises:
        UsageError: a word names neither a split nor a folder, or no file is found.
    """
    allowed = ("predict",) if stage == "predict" else SPLITS
    if not words:
        return find_splits(Path(config).parent / "data", allowed)
    found: dict[str, list[str]] = {}
    for word in words:
        split, equals, path = word.partition("=")
        if equals and split in allowed:
            if not path:
                raise UsageError(f"--data {word}: expected a path after =")
            found.setdefault(split, []).append(path)
        elif Path(word).is_dir():
            for name, paths in find_splits(Path(word), allowed).items():
                found.setdefault(name, []).extend(paths)
        elif stage == "predict" and not equals:
            found.setdefault("predict", []).append(word)
        elif equals:
            hint = did_you_mean(split, allowed)
            raise UsageError(f'--data {word}: there is no split "{split}" in stage {stage}. {hint}')
        else:
            raise UsageError(
                f"--data {word}: expected SPLIT=PATH, such as train={word}, or an existing folder"
            )
    return found


def find_splits(folder: Path, splits: Sequence[str] = SPLITS) -> dict[str, list[str]]:
    """Return the file of each split in a folder, such as ``train.jsonl``; a split may have none.

    Raises:
        UsageError: there is no such folder or no such file, or two files claim one split.
    """
    from dlk.data.inputs import endings

    found: dict[str, list[str]] = {}
    for split in splits:
        files = [folder / f"{split}{ending}" for ending in endings()]
        there = [str(file) for file in files if file.is_file()]
        if there:
            found[split] = there
    claimed = [split for split, paths in found.items() if len(paths) > 1]
    if claimed:
        doubts = (
            f"which is {split}? Found {' and '.join(Path(path).name for path in found[split])}"
            for split in claimed
        )
        command = " ".join(f"--data {split}={paths[0]}" for split, paths in found.items())
        raise UsageError(
            f"{folder}: {'; '.join(doubts)}. Keep one of them there, or name the file of each "
            f"split, such as {command}"
        )
    if not found:
        names = ", ".join(f"{split}.*" for split in splits)
        reason = f"has no {names}" if folder.is_dir() else "is not there"
        raise UsageError(
            f"no data: the folder {folder} {reason}. Name the files: --data {splits[0]}=FILE"
        )
    return found
