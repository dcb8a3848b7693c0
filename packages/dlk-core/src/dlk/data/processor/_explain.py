"""What a run of `Process` would do: its steps, what of them is kept already, and sizes."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Explained", "InputPlan", "StepPlan", "folder_size"]


@dataclass(slots=True)
class InputPlan:
    """One split that is read.

    Attributes:
        rows: how many there are.
        chunks: how many chunks they make.
        files: where they stand; empty for rows in memory.
        bytes: size of those files, where they are local; 0 otherwise.
    """

    rows: int = 0
    chunks: int = 0
    files: list[str] = field(default_factory=list)
    bytes: int = 0


@dataclass(slots=True)
class StepPlan:
    """One step.

    Attributes:
        name: in the config.
        component: its name.
        reads: columns it is given.
        writes: columns it makes here: those that are stored, or that a later step reads.
        kept: those of them that are stored.
        learns: files of the meta folder that it learns.
        cached: by split, of how many chunks its result is kept; splits it runs on only.
        learnt: of how many chunks of the training split its counts are kept; None where it does not
            learn by counting.
    """

    name: str
    component: str
    reads: list[str]
    writes: list[str]
    kept: list[str]
    learns: list[str]
    cached: dict[str, int] = field(default_factory=dict)
    learnt: int | None = None


@dataclass(slots=True)
class Explained:
    """A run that was not made; `str` gives it as text.

    Attributes:
        stage: ``train`` or ``predict``.
        inputs: by split.
        steps: in order.
        dir: where the result would go.
        replaces: bytes that stand there now.
        cache: where results are kept; empty: nowhere.
        cache_bytes: how much is kept there.
        cache_limit: how much may be.
        notes: what the counts leave out.
    """

    stage: str
    inputs: dict[str, InputPlan]
    steps: list[StepPlan]
    dir: str
    replaces: int
    cache: str
    cache_bytes: int
    cache_limit: int
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)

    def columns(self) -> tuple[str, ...]:
        """Return the heads of the table of steps."""
        return ("step", "reads", "writes", "kept", *self.inputs)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table of steps."""
        return [
            (
                each.name if each.name == each.component else f"{each.name} ({each.component})",
                ", ".join(each.reads) or "-",
                ", ".join([*each.writes, *(f"meta/{file}" for file in each.learns)]) or "-",
                ", ".join(each.kept) or "-",
                *(self._state(each, split) for split in self.inputs),
            )
            for each in self.steps
        ]

    def _state(self, step: StepPlan, split: str) -> str:
        if split not in step.cached:
            return "-"
        chunks = self.inputs[split].chunks
        states = [_share(step.cached[split], chunks)] if step.writes or not step.learns else []
        if step.learnt is not None and split == "train":
            states.insert(0, f"learn {_share(step.learnt, chunks)}")
        return ", ".join(states) or "to do"

    def head(self) -> list[str]:
        """Return the lines before the table of steps."""
        lines = []
        for split, plan in self.inputs.items():
            chunks = f"{plan.chunks:,} chunk{'' if plan.chunks == 1 else 's'}"
            size = f", {size_text(plan.bytes)}" if plan.bytes else ""
            files = f": {', '.join(plan.files)}" if plan.files else ""
            lines.append(f"reads   {split:<8} {plan.rows:>11,} rows, {chunks}{size}{files}")
        there = f", in place of {size_text(self.replaces)}" if self.replaces else ""
        lines.append(f"writes  {self.dir}{there}")
        if self.cache:
            used, limit = size_text(self.cache_bytes), size_text(self.cache_limit)
            lines.append(f"keeps   {self.cache}: {used} of {limit}")
        else:
            lines.append("keeps   nothing of what steps make")
        return lines

    def __str__(self) -> str:
        table = [self.columns(), *self.rows()]
        widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
        shown = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([*self.head(), "", *shown, *([""] if self.notes else []), *self.notes])


def _share(cached: int, chunks: int) -> str:
    if not cached:
        return "to do"
    return "cached" if cached == chunks else f"{cached:,} of {chunks:,} cached"


def size_text(size: int) -> str:
    """Return bytes as a person reads them."""
    number, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def folder_size(folder: str | os.PathLike[str]) -> int:
    """Return the bytes of all files below a folder; 0 where there is none."""
    return sum(
        os.path.getsize(os.path.join(top, name))
        for top, _, names in os.walk(folder)
        for name in names
    )
