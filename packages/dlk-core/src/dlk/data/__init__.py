"""Data: raw input to processed splits, processed splits to batches.

Importing this package loads nothing heavy: its names come from their modules when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk._lazy import lazy

if TYPE_CHECKING:
    from dlk.data.inputs import open_input
    from dlk.data.meta import Meta
    from dlk.data.ragged import Ragged
    from dlk.data.store import Split, SplitWriter, open_split
    from dlk.data.vocabulary import UnknownWordError, Vocabulary

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

__getattr__ = lazy(
    __name__,
    {
        "dlk.data.inputs": ("open_input",),
        "dlk.data.meta": ("Meta",),
        "dlk.data.ragged": ("Ragged",),
        "dlk.data.store": ("Split", "SplitWriter", "open_split"),
        "dlk.data.vocabulary": ("UnknownWordError", "Vocabulary"),
    },
)
