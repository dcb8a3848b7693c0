"""What a run of `Process` would do: its steps, what of them is kept already, and sizes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.config import ident
from dlk.data.processor._columns import numbered
from dlk.data.processor._run import key_of
from dlk.data.processor._work import TALLY, cache_of, ledger_of
from dlk.data.subprocessor.base import Columns, CountingSubprocessor

if TYPE_CHECKING:
    from dlk.data.inputs import Source
    from dlk.data.processor._ledger import Ledger
    from dlk.data.processor._steps import Plan, Step, Steps

__all__ = ["Explained", "InputPlan", "StepPlan", "explained"]

_NOT_KEPT = (
    "What costs less to make than to read is not kept, and stays to do; rows that steps refuse are "
    "known only where their results are kept."
)


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


def explained(
    steps: Steps,
    sources: Mapping[str, Source],
    out_dir: str | os.PathLike[str],
    stage: str,
    *,
    learning: bool,
) -> Explained:
    """Return what a run would do.

    Args:
        steps: those that would run.
        sources: the rows, which are read, by split.
        out_dir: where the result would go.
        stage: the stage.
        learning: whether steps would learn, and the whole folder be replaced.
    """
    cache = cache_of(steps.config, out_dir)
    ledger = ledger_of(steps, cache)
    inputs: dict[str, InputPlan] = {}
    plans: dict[str, StepPlan] = {}
    for split, source in sources.items():
        plan = steps.plans[stage, split]
        inputs[split] = about = InputPlan(files=list(getattr(source, "paths", ())))
        about.bytes = sum(os.path.getsize(file) for file in about.files if os.path.isfile(file))
        for step, wanted in plan:
            if step.name not in plans:
                plans[step.name] = _step_plan(steps, step, wanted, stage, learning=learning)
            plans[step.name].cached[split] = 0
            counts = isinstance(step.run, CountingSubprocessor)
            if learning and split == "train" and step.run.learns and counts:
                plans[step.name].learnt = 0
        for columns in numbered(source, steps.config.chunk_size):
            about.rows += len(columns["_row"])
            about.chunks += 1
            if ledger is not None:
                _look_up(plan, columns, stage, split, ledger, plans)
    target = Path(out_dir)
    replaced = [target] if learning else [target / split for split in sources]
    return Explained(
        stage,
        inputs,
        [plans[step.name] for step in steps.all if step.name in plans],
        os.fspath(out_dir),
        sum(map(_folder_size, replaced)),
        "" if cache is None else str(cache.folder),
        0 if cache is None else cache.size(),
        0 if cache is None else cache.limit,
        [_NOT_KEPT] if ledger is not None else [],
    )


def _step_plan(
    steps: Steps, step: Step, wanted: frozenset[str], stage: str, *, learning: bool
) -> StepPlan:
    made = [name for name in step.run.writes if name != "_part"]
    used = [name for name in made if name in wanted or name not in step.run.passing]
    return StepPlan(
        step.name,
        ident(step.run.config)[1],
        list(step.reads(stage)),
        used,
        [name for name in used if name not in step.run.passing or name in steps.keep],
        list(step.run.makes or step.meta) if step.run.learns and learning else [],
    )


def _look_up(
    plan: Plan,
    columns: Columns,
    stage: str,
    split: str,
    ledger: Ledger,
    plans: Mapping[str, StepPlan],
) -> None:
    """Count which results of a chunk are kept."""
    reads = {name for step, _ in plan for name in (*step.reads(stage), *step.run.learns_from)}
    known = ledger.raw(columns, reads)
    for step, wanted in plan:
        entry = plans[step.name]
        if entry.learnt is not None and split == "train":
            key = ledger.key(f"{step.name} {TALLY}", TALLY, (), step.run.learns_from, known)
            entry.learnt += bool(key and ledger.find_taught(key))
        key = key_of(ledger, step, wanted, stage, split, known)
        made = ledger.find(key) if key else None
        entry.cached[split] += made is not None
        known = ledger.after(known, key, made, step.run.writes)


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


def _folder_size(folder: str | os.PathLike[str]) -> int:
    """Return the bytes of all files below a folder; 0 where there is none."""
    return sum(
        os.path.getsize(os.path.join(top, name))
        for top, _, names in os.walk(folder)
        for name in names
    )
