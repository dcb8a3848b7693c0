"""Tokenizers as files: `tokenizer.json` of the `tokenizers` library, read and kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from dlk.errors import DataError
from dlk.io import open_file

if TYPE_CHECKING:
    from dlk.data.meta import Meta

__all__ = ["keep_tokenizer", "read_tokenizer"]


def read_tokenizer(path: str) -> Tokenizer:
    """Return the tokenizer that a file holds.

    Raises:
        DataError: the file cannot be read, or is no tokenizer.json.
    """
    try:
        with open_file(path) as handle:
            text = handle.read()
    except OSError as error:
        raise DataError(f"cannot read the tokenizer {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no tokenizer.json: {error}") from error
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise DataError(f"{path} is no tokenizer.json: {error}") from error


def keep_tokenizer(meta: Meta, file: str, text: str, numbers: Mapping[str, int]) -> None:
    """Put a tokenizer into the meta folder, unless a step before has put the same there.

    Args:
        meta: the meta folder being made.
        file: its name there.
        text: the tokenizer as JSON.
        numbers: its size and special ids.

    Raises:
        DataError: another step keeps a different tokenizer under the same name.
    """
    if file not in meta:
        meta.put(file, dict(numbers), text=text)
        return
    with open_file(meta.path(file)) as handle:
        if handle.read() != text:
            raise DataError(
                f'two tokenizers that differ would be kept as "{file}": name one of them otherwise'
            )
