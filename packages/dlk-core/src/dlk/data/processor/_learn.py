"""Learning on the training split: which steps go through it together, and what they take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlk.data.held import plain
from dlk.data.processor._columns import numbered
from dlk.data.processor._ledger import Taught, errors_of
from dlk.data.processor._rejects import stop_at
from dlk.data.processor._work import TALLY, Work, progress
from dlk.data.subprocessor.base import Columns, CountingSubprocessor
from dlk.errors import RowError

if TYPE_CHECKING:
    from dlk.data.inputs import Source
    from dlk.data.processor._ledger import Ledger
    from dlk.data.processor._run import Runner
    from dlk.data.processor._steps import Plan, Step, Steps

__all__ = ["Learning", "Sound"]

Sound = dict[int, set[str]]
"""For the first row of a chunk, the steps that can learn from all rows of it."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step that learns, and the steps that make what it learns from."""

    step: Step
    plan: Plan

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps that make what it learns from."""
        return tuple(step.name for step, _ in self.plan)


class Learning:
    """Lets the steps learn that do.

    Args:
        runner: runs the steps before them.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._steps = runner.steps
        self._chunk_size: int = runner.steps.config.chunk_size
        self._stops = runner.steps.config.bad_rows == "stop"
        self._lessons = _lessons(runner.steps)

    def fit(self, source: Source, work: Work) -> Sound:
        """Let the steps learn; return which of them can learn from all rows of each chunk.

        Raises:
            DataError: a row is bad, and `bad_rows` is "stop".
        """
        sound: Sound = {}
        meta = self._steps.setup.meta
        for number, group in enumerate(self._lessons):
            title = "learning " + ", ".join(lesson.step.name for lesson in group)
            ledger = work.begin()
            with progress(title, source.num_rows) as advance:
                if isinstance(group[0].step.run, CountingSubprocessor):
                    self._count(number, source, sound, advance, work, ledger)
                else:
                    chunks = self._chunks(group[0], source, sound, advance, ledger)
                    group[0].step.run.fit(chunks, meta)
        lessons = [lesson for group in self._lessons for lesson in group]
        learnt = {file for lesson in lessons for file in lesson.step.meta}
        for lesson in lessons:
            # what a vocabulary decides may look otherwise once all of it is learnt
            if learnt.intersection(file for step, _ in lesson.plan for file in step.meta):
                for names in sound.values():
                    names.discard(lesson.step.name)
        return sound

    def taught(
        self, number: int, columns: Columns, ledger: Ledger | None
    ) -> list[tuple[Taught, bool]]:
        """Return what each step of a group takes from a chunk, and whether from all its rows.

        Args:
            number: of the group of steps that count.
            columns: the chunk.
            ledger: where results are kept; None: nowhere.
        """
        group = self._lessons[number]
        found: dict[tuple[str, ...], tuple[Columns, dict[int, RowError], dict[str, Any]]] = {}
        results = []
        for lesson in group:
            if lesson.needs not in found:
                plan = _joined_plan([each for each in group if each.needs == lesson.needs])
                found[lesson.needs] = self._prepared(plan, lesson, group, columns, ledger)
            made, refused, keys = found[lesson.needs]
            step = lesson.step.run
            assert isinstance(step, CountingSubprocessor)
            key = kept = None
            if ledger is not None:
                name = f"{lesson.step.name} {TALLY}"
                key = ledger.key(name, TALLY, (), step.learns_from, keys)
                kept = ledger.find_taught(key) if key else None
            if kept is None:
                began = time.perf_counter()
                bad: dict[int, RowError] = {}
                good = self._runner.screen(lesson.step, made, bad)
                kept = Taught(Counter(), bad)
                if not bad or not self._stops:
                    step.tally({name: plain(good[name]) for name in step.learns_from}, kept.counts)
                if ledger is not None and key:
                    ledger.keep_taught(key, kept, time.perf_counter() - began)
            results.append((Taught(kept.counts, {**refused, **kept.bad}), not kept.bad))
        return results

    def _count(
        self,
        number: int,
        source: Source,
        sound: Sound,
        advance: Callable[[int], None],
        work: Work,
        ledger: Ledger | None,
    ) -> None:
        def read(_: Columns, answer: Mapping[str, Any], __: bytes) -> list[tuple[Taught, bool]]:
            return [
                (Taught(Counter(counts), errors_of(bad)), is_sound)
                for counts, bad, is_sound in answer["taught"]
            ]

        group = self._lessons[number]
        totals: list[Counter[str]] = [Counter() for _ in group]
        found = work.each(
            numbered(source, self._chunk_size),
            total=source.num_rows,
            where="learning from train",
            ask=lambda columns: {"do": "learn", "group": number, "columns": columns},
            here=lambda columns: self.taught(number, columns, ledger),
            read=read,
        )
        for columns, lessons in found:
            for lesson, total, (taught, is_sound) in zip(group, totals, lessons, strict=True):
                if self._stops:
                    stop_at(taught.bad, "train", source)
                if columns["_row"] and is_sound:
                    sound.setdefault(columns["_row"][0], set()).add(lesson.step.name)
                total.update(taught.counts)
            advance(len(columns["_row"]))
        for lesson, total in zip(group, totals, strict=True):
            step = lesson.step.run
            assert isinstance(step, CountingSubprocessor)
            step.conclude(total, self._steps.setup.meta)

    def _prepared(
        self,
        plan: Plan,
        lesson: Lesson,
        group: Sequence[Lesson],
        columns: Columns,
        ledger: Ledger | None,
    ) -> tuple[Columns, dict[int, RowError], dict[str, Any]]:
        """Return what a step learns from, the rows that steps before it refused, and the keys."""
        refused: dict[int, RowError] = {}
        if ledger is not None:
            # what the steps make is kept for writing, where more of it may be wanted
            later = {step.name: wanted for step, wanted in self._steps.plans["train", "train"]}
            plan = tuple((step, wanted | later[step.name]) for step, wanted in plan)
        same = [each for each in group if each.needs == lesson.needs]
        read = {name for each in same for name in each.step.run.learns_from}
        keys: dict[str, Any] = {}
        made = self._runner.run(
            plan, columns, "train", "train", refused, {}, (), ledger, keys, read
        )
        return made, refused, keys

    def _chunks(
        self,
        lesson: Lesson,
        source: Source,
        sound: Sound,
        advance: Callable[[int], None],
        ledger: Ledger | None,
    ) -> Iterator[Columns]:
        """Yield what a step learns from, chunk by chunk."""
        for columns in numbered(source, self._chunk_size):
            rows = len(columns["_row"])
            made, refused, _ = self._prepared(lesson.plan, lesson, [lesson], columns, ledger)
            bad = dict(refused)
            made = self._runner.screen(lesson.step, made, bad)
            if self._stops:
                stop_at(bad, "train", source)
            if rows and len(bad) == len(refused):
                sound.setdefault(columns["_row"][0], set()).add(lesson.step.name)
            yield {name: plain(made[name]) for name in lesson.step.run.learns_from}
            advance(rows)


def _lessons(steps: Steps) -> list[list[Lesson]]:
    """Return the steps that learn, those together that may go through the data together."""
    lessons: list[list[Lesson]] = []
    for place, step in enumerate(steps.all):
        if not step.run.learns or not step.is_on("train", "train"):
            continue
        before = _needed(steps.all[:place], step)
        wanted = frozenset(step.run.learns_from)
        lesson = Lesson(step, steps.plan(before, "train", "train", wanted=wanted))
        if lessons and _may_share(lessons[-1], lesson):
            lessons[-1].append(lesson)
        else:
            lessons.append([lesson])
    return lessons


def _needed(before: Sequence[Step], step: Step) -> list[Step]:
    """Return the steps that make what a step learns from, directly or through others, in order."""
    wanted = set(step.run.learns_from)
    found: list[Step] = []
    for each in reversed([other for other in before if other.is_on("train", "train")]):
        if wanted.intersection(each.run.writes):
            found.append(each)
            wanted.update(each.reads("train"))
    return found[::-1]


def _may_share(group: Sequence[Lesson], lesson: Lesson) -> bool:
    """Return whether a step can learn in one pass with others: they count, and it needs no other's.

    The columns it learns from must not depend on what the others learn.
    """
    members = [*group, lesson]
    if not all(isinstance(each.step.run, CountingSubprocessor) for each in members):
        return False
    learnt = {file for each in group for file in each.step.meta}
    return not learnt.intersection(file for step, _ in lesson.plan for file in step.meta)


def _joined_plan(lessons: Sequence[Lesson]) -> Plan:
    """Return the plan of steps that need the same others, with all the columns that they want."""
    plans = [lesson.plan for lesson in lessons]
    return tuple(
        (each[0][0], frozenset().union(*(wanted for _, wanted in each)))
        for each in zip(*plans, strict=True)
    )
