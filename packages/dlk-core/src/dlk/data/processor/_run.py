"""Running steps over a chunk: what they make, which rows they refuse, what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlk.data.held import plain
from dlk.data.processor._columns import checked, given, merged, without
from dlk.data.processor._ledger import Made
from dlk.data.subprocessor.base import Columns, TransformContext
from dlk.errors import RowError

if TYPE_CHECKING:
    from dlk.data.processor._ledger import Ledger
    from dlk.data.processor._steps import Plan, Step, Steps

__all__ = ["Block", "Runner", "key_of"]


@dataclass(slots=True)
class Block:
    """What became of a chunk.

    Attributes:
        columns: what is stored; None where a worker made it.
        table: what a worker made; None where it left nothing.
        bad: the bad rows.
        counts: what steps counted.
        again: does the chunk once more, for its columns.
    """

    columns: Columns | None
    table: Any  # of Arrow, which has no types
    bad: dict[int, RowError]
    counts: dict[str, int]
    again: Callable[[], Block] | None = None


def key_of(
    ledger: Ledger,
    step: Step,
    wanted: frozenset[str],
    stage: str,
    split: str,
    known: dict[str, str | None],
) -> str | None:
    """Return the key of what a step makes of columns with these keys."""
    asked = wanted.intersection(step.run.writes)
    return ledger.key(step.name, f"{stage} {split}", asked, step.reads(stage), known)


class Runner:
    """Runs steps over chunks; it changes nothing, so many threads may use it at once."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.seed: int = steps.config.seed

    def block(
        self,
        columns: Columns,
        stage: str,
        split: str,
        screened: Collection[str],
        ledger: Ledger | None,
    ) -> Block:
        """Return what becomes of a chunk of a split; see `run`."""
        bad: dict[int, RowError] = {}
        counts: dict[str, int] = {}
        plan = self.steps.plans[stage, split]
        made = self.run(plan, columns, stage, split, bad, counts, screened, ledger)
        return Block(self.steps.stored(plan, made), None, bad, counts)

    def run(
        self,
        plan: Plan,
        columns: Columns,
        stage: str,
        split: str,
        bad: dict[int, RowError],
        counts: dict[str, int],
        screened: Collection[str] = (),
        ledger: Ledger | None = None,
        keys: dict[str, Any] | None = None,
        read: Collection[str] = (),
    ) -> Columns:
        """Run the steps over a chunk with `_row`; bad rows go into `bad`, out of the result.

        Args:
            plan: the steps.
            columns: the chunk.
            stage: the stage.
            split: the split.
            bad: where the bad rows go.
            counts: what the steps count is added to it.
            screened: names of steps that are known to be able to learn from all rows.
            ledger: where results are kept; None: nowhere.
            keys: takes the columns' keys in it.
            read: columns whose keys are wanted beside those that steps read.
        """
        known: dict[str, Any] = {}
        if ledger is not None:
            known = ledger.raw(
                columns, {*read, *(n for step, _ in plan for n in step.reads(stage))}
            )
        for step, wanted in plan:
            key = made = None
            if ledger is not None:
                key = key_of(ledger, step, wanted, stage, split, known)
                made = ledger.find(key) if key else None
            if made is None:
                began = time.perf_counter()
                made = self._made(step, wanted, columns, stage, split, screened)
                if ledger is not None and key:
                    made = ledger.keep(key, made, time.perf_counter() - began)
            if made.refused:
                bad.update(made.refused)
                columns = without(columns, made.refused)
            columns = merged(columns, made.columns)
            if made.bad:
                bad.update(made.bad)
                columns = without(columns, made.bad)
            for name, number in made.counts.items():
                label = f"{step.name}: {name}"
                counts[label] = counts.get(label, 0) + number
            if ledger is not None:
                known = ledger.after(known, key, made, step.run.writes)
        if keys is not None:
            keys.update(known)
        return columns

    def screen(self, step: Step, columns: Columns, bad: dict[int, RowError]) -> Columns:
        """Return the rows that a step can learn from; the others go into `bad`."""
        ctx = TransformContext("train", "train", columns["_row"], seed=self.seed)
        seen = {name: plain(columns[name]) for name in (*step.run.learns_from, "_row")}
        step.run.screen(seen, ctx)
        bad.update(ctx.bad)
        return without(columns, ctx.bad) if ctx.bad else columns

    def _made(
        self,
        step: Step,
        wanted: frozenset[str],
        columns: Columns,
        stage: str,
        split: str,
        screened: Collection[str],
    ) -> Made:
        """Let a step transform a chunk; rows that it refuses are left out, and told."""
        refused: dict[int, RowError] = {}
        if step.run.learns and split == "train" and step.name not in screened:
            columns = self.screen(step, columns, refused)
        while True:
            ctx = TransformContext(stage, split, columns["_row"], wanted, self.seed)
            read = given(step, stage, columns)
            try:
                new = step.run.transform({**read, "_row": columns["_row"]}, ctx)
            except RowError as error:
                if error.row not in columns["_row"]:
                    raise ValueError(
                        f"{step.path} was not given the row of its error: {error}"
                    ) from error
                ctx.bad.setdefault(error.row, error)
                refused.update(ctx.bad)
                columns = without(columns, ctx.bad)
                continue  # the others of the chunk once more
            return Made(checked(new, columns, step), refused, ctx.bad, ctx.counts)
