"""Data: raw input to processed splits, processed splits to batches.

Importing this package loads nothing heavy: its names come from their modules when asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlk.data.inputs import open_input
    from dlk.data.meta import Meta
    from dlk.data.ragged import Ragged
    from dlk.data.store import Split, SplitWriter, open_split
    from dlk.data.vocabulary import UnknownWordError, Vocabulary

_WHERE = {
    "Meta": "dlk.data.meta",
    "Ragged": "dlk.data.ragged",
    "Split": "dlk.data.store",
    "SplitWriter": "dlk.data.store",
    "UnknownWordError": "dlk.data.vocabulary",
    "Vocabulary": "dlk.data.vocabulary",
    "open_input": "dlk.data.inputs",
    "open_split": "dlk.data.store",
}

__all__ = [
    "Meta",
    "Ragged",
    "Split",
    "SplitWriter",
    "UnknownWordError",
    "Vocabulary",
    "open_input",
    "open_split",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
