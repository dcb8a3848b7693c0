"""Bad rows: the error that ends a run, or the line of a file that tells of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlk.data.inputs import Source
from dlk.errors import DataError, RowError

__all__ = ["add_rejects", "stop_at"]

_FILE = "rejects.jsonl"


def stop_at(bad: Mapping[int, RowError], split: str, source: Source) -> None:
    """Raise the first of some bad rows, if there is one.

    Raises:
        DataError: there is.
    """
    if not bad:
        return
    first = bad[min(bad)]
    place = source.place(first.row)
    where = f"{split} ({place})" if place else split
    more = f" ({len(bad)} bad rows in this chunk)" if len(bad) > 1 else ""
    raise DataError(
        f'{where}: {first}{more}. With "bad_rows": "reject" they are left out and listed.'
    ) from first


def add_rejects(folder: Path, split: str, bad: Mapping[int, RowError], source: Source) -> None:
    """Add a line for each bad row to the split's file of them."""
    # half a surrogate, which UTF-8 cannot hold, becomes what JSON writes for it
    with open(folder / _FILE, "a", encoding="utf-8", errors="backslashreplace") as handle:
        handle.writelines(
            json.dumps(_reject(split, bad[row], source), ensure_ascii=False) + "\n"
            for row in sorted(bad)
        )


def _reject(split: str, error: RowError, source: Source) -> dict[str, Any]:
    shown = error.value
    try:
        text = json.dumps(shown, ensure_ascii=False)
    except (TypeError, ValueError):
        text, shown = repr(shown), repr(shown)
    if len(text) > 1000:  # a reject file is for reading
        shown = text[:1000] + "…"
    place = source.place(error.row)
    return {
        "split": split,
        **({"file": place} if place else {}),
        "row": error.row,
        "column": error.column,
        "value": shown,
        "reason": error.reason,
    }
