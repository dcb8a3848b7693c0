"""Sizes that neighbours must agree on: numbers, or how many entries a meta file has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Size", "Sizes", "entry_name"]

UNREAL = 500_000
"""From here on a number of a config without processed data may be computed from a made-up one."""


def entry_name(file: str) -> str:
    """Return the entry of a file of the meta folder, as `_G.meta` has it."""
    return os.path.splitext(file)[0]


@dataclass(frozen=True, slots=True)
class Size:
    """A number, or that of the entries of a file whose number is not known yet.

    Attributes:
        number: the number; 0 where it is not known.
        entry: the entry of the meta folder whose size it is; empty for a plain number.
    """

    number: int = 0
    entry: str = ""

    def __str__(self) -> str:
        return f"the size of {self.entry}" if self.entry and not self.number else str(self.number)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is known of numbers that the data decides.

    Attributes:
        learnt: sizes of the entries of the meta folder, where the data was processed, or a file
            that is there already tells them.
        made_up: the entry for which a made-up number stands, where it was not.
        entries: the entries that hold ids.
    """

    learnt: Mapping[str, int] = field(default_factory=dict)
    made_up: Mapping[int, str] = field(default_factory=dict)
    entries: frozenset[str] = frozenset()

    def of(self, value: int | str | None) -> Size | None:
        """Return the size that a signature tells: a number, or a file; None where it is unknown."""
        if value is None or isinstance(value, bool):
            return None
        entry = entry_name(value) if isinstance(value, str) else self.made_up.get(value, "")
        if entry in self.learnt:
            return Size(self.learnt[entry], entry)
        if isinstance(value, str) or entry:
            return Size(0, entry) if entry in self.entries else None
        return None if self.made_up and value >= UNREAL else Size(value)

    @staticmethod
    def differ(one: Size | None, other: Size | None) -> bool:
        """Return whether two sizes are surely not the same."""
        if one is None or other is None:
            return False
        if one.number and other.number:
            return one.number != other.number
        return bool(one.entry and other.entry and one.entry != other.entry)

    @staticmethod
    def is_less(one: Size | None, other: Size | None) -> bool:
        """Return whether a size is surely less than another, or counts something else."""
        if one is not None and other is not None and one.number and other.number:
            return one.number < other.number
        return Sizes.differ(one, other)
