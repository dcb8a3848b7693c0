"""The processor that runs subprocessors over chunks of columns: one path offline and online."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dlk._local import PREFIX
from dlk.config import assets, children, ident, node_of, to_dict
from dlk.context import Setup
from dlk.data.held import plain
from dlk.data.inputs import Source, open_input
from dlk.data.meta import FILE as META
from dlk.data.meta import Meta
from dlk.data.processor._ledger import Ledger, Made, Taught, error_list, errors_of, identity_of
from dlk.data.processor.base import Online, Processor, Report
from dlk.data.processor.configs import DefaultProcessorConfig
from dlk.data.subprocessor.base import (
    Columns,
    CountingSubprocessor,
    Subprocessor,
    TransformContext,
)
from dlk.errors import ConfigError, DataError, Problem, RowError, did_you_mean
from dlk.io import atomic_dir, atomic_write, is_remote
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.data.cache import Cache
    from dlk.data.processor._crew import Crew
    from dlk.data.processor._explain import Explained
    from dlk.data.store import SplitWriter

__all__ = ["DefaultProcessor"]

SPLITS = {"train": ("train", "valid", "test"), "predict": ("predict",), "online": ("online",)}
REJECTS = "rejects.jsonl"
PROCESS = "process.json"
CACHE = ".dlk-cache"
TALLY = "tally"
_NOT_KEPT = (
    "What costs less to make than to read is not kept, and stays to do; rows that steps refuse are "
    "known only where their results are kept."
)
_HOW = {"num_workers": None, "cache": True, "cache_dir": "", "cache_mb": 4096}
"""Options that say how the work is done, and change nothing of what comes of it; by default."""


@dataclass(frozen=True, slots=True)
class Step:
    """A subprocessor with its name in the config."""

    name: str
    path: str
    run: Subprocessor
    splits: Mapping[str, tuple[str, ...]]
    meta: tuple[str, ...]

    def is_on(self, stage: str, split: str) -> bool:
        """Return whether the step runs on a split."""
        return split in self.splits[stage]

    def reads(self, stage: str) -> tuple[str, ...]:
        """Return the columns that the step is given: those of the truth in the stage train only."""
        return tuple(
            dict.fromkeys((*self.run.reads, *(self.run.targets if stage == "train" else ())))
        )


_Plan = tuple[tuple[Step, frozenset[str]], ...]
"""Steps, each with the columns that are wanted of it."""
_Sound = dict[int, set[str]]
"""For the first row of a chunk, the steps that can learn from all rows of it."""


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A step that learns, and the steps that make what it learns from."""

    step: Step
    plan: _Plan

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps that make what it learns from."""
        return tuple(step.name for step, _ in self.plan)


@dataclass(slots=True)
class _Work:
    """What helps with the work of one call.

    Attributes:
        crew: worker processes.
        cache: where results are kept; None: nowhere.
        put: bytes that were put there, also by workers, since it was last trimmed.
    """

    crew: Crew
    cache: Cache | None
    put: int = 0


@dataclass(slots=True)
class _Block:
    """What became of a chunk.

    Attributes:
        columns: what is stored; None where a worker made it.
        table: what a worker made; None where it left nothing.
        bad: the bad rows.
        counts: what steps counted.
        again: does the chunk once more, for its columns.
    """

    columns: Columns | None
    table: Any
    bad: dict[int, RowError]
    counts: dict[str, int]
    again: Callable[[], _Block] | None = None


@register("processor", "default")
class DefaultProcessor(Processor):
    """Runs the steps of `feed_order` chunk by chunk.

    Before any work, the columns that steps read are checked against the input and the steps before.
    Steps that learn go through the training split first, with only those steps before them that
    make what they read. Then each chunk runs through all steps of its split and is written with its
    raw columns and `_row`, the number of the input row in its split.
    """

    def __init__(self, config: DefaultProcessorConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._config = config
        self.bad_rows: str = config.bad_rows
        self.chunk_size: int = config.chunk_size
        self.seed: int = config.seed
        self.keep: tuple[str, ...] = tuple(config.keep)
        self._order: tuple[str, ...] = config.order()
        self.steps: tuple[Step, ...] = self._build(setup)
        self._plans = {
            (stage, split): self._plan(self.steps, stage, split)
            for stage in SPLITS
            for split in SPLITS[stage]
        }

    def _build(self, setup: Setup) -> tuple[Step, ...]:
        configs = children(self.config, "subprocessor")
        steps = []
        for name in self._order:
            config = configs[name]
            splits = {stage: tuple(getattr(config, f"{stage}_data_set")) for stage in SPLITS}
            run: Subprocessor = register.build(config, setup)
            steps.append(
                Step(name, node_of(config).path, run, splits, tuple(config.signature().meta))
            )
        return tuple(steps)

    def _plan(
        self,
        steps: Sequence[Step],
        stage: str,
        split: str,
        *,
        wanted: frozenset[str] | None = None,
    ) -> _Plan:
        """Return the steps that run on a split, each with the columns that are wanted of it.

        Args:
            steps: those that there are.
            stage: the stage.
            split: the split.
            wanted: columns wanted in the end; None: those of `keep`.
        """
        plan: list[tuple[Step, frozenset[str]]] = []
        found = set(self.keep if wanted is None else wanted)
        for step in reversed([step for step in steps if step.is_on(stage, split)]):
            plan.append((step, frozenset(found)))
            found.update(step.reads(stage))
        return tuple(reversed(plan))

    # Offline -------------------------------------------------------------------------------------

    def fit_transform(self, data: Mapping[str, Any], out_dir: str | os.PathLike[str]) -> Report:
        """Learn on the training split, write all splits; see `Processor.fit_transform`.

        Raises:
            ConfigError: a step reads a column that neither the input nor a step before it has.
            DataError: an input cannot be read, or a row is bad and `bad_rows` is "stop".
        """
        sources = _open(data, "train")
        self._check(sources, "train")
        self._check_meta(sources, "train", learning="train" in sources)
        _refuse_foreign(Path(out_dir))
        with atomic_dir(out_dir) as aside:
            meta = Meta(aside / "meta")
            meta.save()
            fresh = DefaultProcessor(self._config, Setup(meta, seed=self.setup.seed))
            for step in fresh.steps:
                if step.run.stores:
                    step.run.store(meta)
            with fresh._working(out_dir) as work:
                sound = fresh._fit(sources["train"], meta, work) if "train" in sources else {}
                report = fresh._write(sources, aside, "train", work, sound=sound)
            with atomic_write(aside / PROCESS) as handle:
                json.dump(_described(self.config), handle, ensure_ascii=False, indent=2)
                handle.write("\n")
        return report

    def transform(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Report:
        """Write splits beside those that are there, with what was learnt before.

        See `Processor.transform`.

        Raises:
            ConfigError: as `fit_transform`.
            DataError: as `fit_transform`, nothing was learnt yet that a step needs, or what is
                there was made by other steps.
        """
        sources = _open(data, stage)
        self._check(sources, stage)
        self._check_meta(sources, stage, learning=False)
        for split in sources:
            _refuse_foreign_split(Path(out_dir) / split)
        self._refuse_other_steps(Path(out_dir))
        total = Report()
        with self._working(out_dir) as work:
            for split, source in sources.items():
                with atomic_dir(Path(out_dir) / split) as aside:
                    part = self._write({split: source}, aside, stage, work, flat=True)
                for name in ("rows", "records", "rejects", "counts"):
                    getattr(total, name).update(getattr(part, name))
        return total

    def _refuse_other_steps(self, folder: Path) -> None:
        """Refuse to put splits beside those that other steps, or other options of them, made."""
        from dlk.config import from_resolved

        try:
            written = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        (before,) = from_resolved(written, folder=str(folder)).values()
        then, now = _recipe(before), _recipe(self.config)
        if then != now:
            changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
            raise DataError(
                f"the training data in {folder} was processed otherwise "
                f"({', '.join(changed) or 'another order'}), and models learn from that: process "
                "it again together with this, or use the config it was made with"
            )

    def _check(self, sources: Mapping[str, Source], stage: str) -> None:
        """Follow the columns through the steps of every split; all mistakes at once."""
        problems: dict[Problem, None] = {}  # in order, and each but once
        for split, source in sources.items():
            plan = self._plans[stage, split]
            available = set(source.column_names)
            for step, _ in plan:
                for column in step.reads(stage):
                    if column not in available:
                        hint = did_you_mean(column, available)
                        message = (
                            f'reads the column "{column}", which neither the input "{split}" has '
                            f"nor a step before it writes. {hint}"
                        )
                        problems[Problem(step.path, message.rstrip())] = None
                available.update(name for name in step.run.writes if name != "_part")
            splitting = [step for step, _ in plan if "_part" in step.run.writes]
            for step in splitting[1:]:
                message = f"{splitting[0].name} splits rows into records already; one step may"
                problems[Problem(step.path, message)] = None
            for name in self.keep:
                if name not in available:
                    hint = did_you_mean(name, available)
                    message = f'keep: no step writes "{name}", nor has the input "{split}". {hint}'
                    problems[Problem(node_of(self.config).path, message.rstrip())] = None
        if problems:
            raise ConfigError(list(problems))

    def _check_meta(self, sources: Mapping[str, Source], stage: str, *, learning: bool) -> None:
        """Refuse steps that need a file of the meta folder which nobody makes."""
        learns = {file: step.name for step in self.steps if step.run.learns for file in step.meta}
        made = {file for step in self.steps if step.run.stores for file in step.meta}
        plan = self._plans["train", "train"] if learning else ()
        learners = [step for step, _ in plan if step.run.learns]
        made.update(file for step in learners for file in step.meta)
        if not learning:
            made.update(self.setup.meta.files)
        problems: dict[Problem, None] = {}
        teachers: dict[str, str] = {}
        for step in learners:
            for file in step.run.makes:
                other = teachers.setdefault(file, step.name)
                if other != step.name:
                    message = f"learns {file}, and so does {other}: one would replace the other's"
                    problems[Problem(step.path, message)] = None
        steps = [step for split in sources for step, _ in self._plans[stage, split]]
        for step in steps:
            for file in step.meta:
                if step.run.learns or file in made:
                    continue
                if file in learns:
                    hint = f"{learns[file]} learns it on the training split: process that first"
                else:
                    hint = f"no step learns it. {did_you_mean(file, made | set(learns))}"
                problems[Problem(step.path, f"needs {file}, and {hint}".rstrip())] = None
        if problems:
            raise ConfigError(list(problems))

    # Explaining ------------------------------------------------------------------------------

    def explain(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Explained:
        """Return what `fit_transform` or `transform` would do; see `Processor.explain`."""
        import tempfile

        sources = _open(data, stage)
        fits = stage == "train" and not self.setup.meta.dir
        self._check(sources, stage)
        self._check_meta(sources, stage, learning=fits and "train" in sources)
        if not fits:
            return self._explained(sources, out_dir, stage, learning=False)
        with tempfile.TemporaryDirectory() as folder:
            meta = Meta(folder)
            meta.save()
            notes = _take_learnt(Path(out_dir) / "meta", meta, self.steps)
            fresh = DefaultProcessor(self._config, Setup(meta, seed=self.setup.seed))
            for step in fresh.steps:
                if step.run.stores:
                    step.run.store(meta)
            found = fresh._explained(sources, out_dir, stage, learning=True)
        found.notes[:0] = notes
        return found

    def _explained(
        self,
        sources: Mapping[str, Source],
        out_dir: str | os.PathLike[str],
        stage: str,
        *,
        learning: bool,
    ) -> Explained:
        from dlk.data.processor._explain import Explained, InputPlan, StepPlan, folder_size

        cache = self._cache(out_dir)
        ledger = self._ledger(cache)
        inputs: dict[str, InputPlan] = {}
        steps: dict[str, StepPlan] = {}
        for split, source in sources.items():
            plan = self._plans[stage, split]
            inputs[split] = about = InputPlan(files=list(getattr(source, "paths", ())))
            about.bytes = sum(os.path.getsize(file) for file in about.files if os.path.isfile(file))
            for step, wanted in plan:
                made = [name for name in step.run.writes if name != "_part"]
                used = [n for n in made if n in wanted or n not in step.run.passing]
                entry = steps.setdefault(
                    step.name,
                    StepPlan(
                        step.name,
                        ident(step.run.config)[1],
                        list(step.reads(stage)),
                        used,
                        [n for n in used if n not in step.run.passing or n in self.keep],
                        list(step.run.makes or step.meta) if step.run.learns and learning else [],
                    ),
                )
                entry.cached[split] = 0
                counts = isinstance(step.run, CountingSubprocessor)
                if learning and split == "train" and step.run.learns and counts:
                    entry.learnt = 0
            for columns in _numbered(source, self.chunk_size):
                about.rows += len(columns["_row"])
                about.chunks += 1
                if ledger is not None:
                    self._look_up(plan, columns, stage, split, ledger, steps)
        ordered = [steps[step.name] for step in self.steps if step.name in steps]
        target = Path(out_dir)
        replaced = [target] if learning else [target / split for split in sources]
        return Explained(
            stage,
            inputs,
            ordered,
            os.fspath(out_dir),
            sum(map(folder_size, replaced)),
            "" if cache is None else str(cache.folder),
            0 if cache is None else cache.size(),
            0 if cache is None else cache.limit,
            [_NOT_KEPT] if ledger is not None else [],
        )

    def _look_up(
        self,
        plan: _Plan,
        columns: Columns,
        stage: str,
        split: str,
        ledger: Ledger,
        steps: Mapping[str, Any],
    ) -> None:
        """Count which results of a chunk are kept."""
        reads = {name for step, _ in plan for name in (*step.reads(stage), *step.run.learns_from)}
        known = ledger.raw(columns, reads)
        for step, wanted in plan:
            entry = steps[step.name]
            if entry.learnt is not None and split == "train":
                key = ledger.key(f"{step.name} {TALLY}", TALLY, (), step.run.learns_from, known)
                entry.learnt += bool(key and ledger.find_taught(key))
            key = self._key(ledger, step, wanted, stage, split, known)
            made = ledger.find(key) if key else None
            entry.cached[split] += made is not None
            known = ledger.after(known, key, made, step.run.writes)

    def _key(
        self,
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

    # Learning and writing ---------------------------------------------------------------------

    @contextmanager
    def _working(self, out_dir: str | os.PathLike[str]) -> Iterator[_Work]:
        """Give the workers and the cache of one call; end them, and keep it to its size."""
        from dlk.data.processor._crew import Crew

        modules = self._modules()
        if modules is None and self._config.num_workers:
            message = "num_workers: a step that no file holds cannot be built in another process"
            raise ConfigError([Problem(node_of(self.config).path, message)])
        work = _Work(
            Crew(self._config.num_workers, is_possible=modules is not None), self._cache(out_dir)
        )
        try:
            yield work
        finally:
            work.crew.end()
            if work.cache is not None and (work.put or work.cache.put_bytes):
                work.cache.trim()

    def _cache(self, out_dir: str | os.PathLike[str]) -> Cache | None:
        """Return where results of steps are kept; None where that is switched off, or far away."""
        folder: str = self._config.cache_dir
        if not self._config.cache or (not folder and is_remote(out_dir)):
            return None
        from dlk.data.cache import Cache

        place = folder or os.path.join(os.path.dirname(os.path.abspath(out_dir)), CACHE)
        return Cache(place, limit=self._config.cache_mb << 20)

    def _modules(self) -> list[tuple[str, str]] | None:
        """Return name and file of the modules that the steps stand in, beside a project's own.

        None where a worker could not import one of them.
        """
        found: dict[str, str] = {}
        for cls in (cls for step in self.steps for cls in (type(step.run), type(step.run.config))):
            name = cls.__module__
            file = getattr(sys.modules.get(name), "__file__", None)
            if name == "__main__" or not file:
                return None
            if not name.startswith(PREFIX):
                found[name] = file
        return list(found.items())

    def _ledger(self, cache: Cache | None) -> Ledger | None:
        """Return the book of results of a pass, which knows the steps as they are now."""
        if cache is None:
            return None
        identities: dict[str, str | None] = {}
        for step in self.steps:
            identities[step.name] = identity_of(step.run, step.meta, self.setup.meta)
            if isinstance(step.run, CountingSubprocessor):  # what it makes decides no count
                others = [file for file in step.meta if file not in step.run.makes]
                identities[f"{step.name} {TALLY}"] = identity_of(step.run, others, self.setup.meta)
        return Ledger(cache, identities, self.seed)

    def _begin(self, work: _Work) -> Ledger | None:
        """Begin a pass over data."""
        ledger = self._ledger(work.cache)
        if work.crew.size:
            kept = {} if ledger is None else {
                "folder": str(ledger.cache.folder),
                "limit": ledger.cache.limit,
                "identities": dict(ledger.identities),
            }  # fmt: skip
            work.crew.begin({
                "do": "setup",
                "config": to_dict(self.config),
                "folder": os.getcwd(),
                "meta": self.setup.meta.dir,
                "seed": self.setup.seed,
                "sources": list(register.sources),
                "modules": self._modules() or [],
                "cache": kept,
            })  # fmt: skip
        return ledger

    def _each(
        self,
        chunks: Iterable[Columns],
        work: _Work,
        *,
        total: int | None,
        where: str,
        ask: Callable[[Columns], Mapping[str, Any]],
        here: Callable[[Columns], Any],
        read: Callable[[Columns, Mapping[str, Any], bytes], Any],
    ) -> Iterator[tuple[Columns, Any]]:
        """Yield each chunk with what is made of it, in order, by workers where they are wanted.

        Args:
            chunks: with `_row`.
            work: the workers.
            total: rows of all chunks, where that is known.
            where: what is worked at, in errors.
            ask: gives a worker's message for a chunk.
            here: does a chunk in this process.
            read: makes the same of a worker's answer.
        """
        from dlk.data.processor._crew import Refused

        waiting: deque[tuple[Columns, Any]] = deque()
        done = 0

        def first() -> tuple[Columns, Any]:
            columns, future = waiting.popleft()
            try:
                answer, body = future.result()
            except Refused:
                return columns, here(columns)
            work.put += answer["put"]
            return columns, read(columns, answer, body)

        for columns in chunks:
            rows = len(columns["_row"])
            if rows and work.crew.is_wanted(done, total):
                begin, end = columns["_row"][0], columns["_row"][-1]
                try:
                    future = work.crew.submit(ask(columns), f"{where}: rows {begin} to {end}")
                except ValueError:  # something in it is no plain data
                    while waiting:
                        yield first()
                    yield columns, here(columns)
                else:
                    waiting.append((columns, future))
                    if len(waiting) > work.crew.window:
                        yield first()
            else:
                yield columns, here(columns)
            done += rows
            if work.cache is not None and work.put + work.cache.put_bytes > work.cache.limit // 4:
                work.cache.trim()
                work.put = 0
        while waiting:
            yield first()

    def answer(
        self, message: Mapping[str, Any], ledger: Ledger | None
    ) -> tuple[dict[str, Any], Any]:
        """Return what a worker answers to a message of its parent, and the bytes beside it."""
        before = 0 if ledger is None else ledger.cache.put_bytes
        columns = message["columns"]
        body: Any = b""
        answer: dict[str, Any]
        if message["do"] == "learn":
            group = self._lessons()[message["group"]]
            found = self._taught(group, columns, ledger)
            answer = {
                "taught": [
                    [dict(taught.counts), error_list(taught.bad), sound] for taught, sound in found
                ]
            }
        else:
            block = self._block(
                columns, message["stage"], message["split"], message["screened"], ledger
            )
            assert block.columns is not None
            if block.columns["_row"]:
                body = _to_bytes(block.columns)
            answer = {"bad": error_list(block.bad), "counts": block.counts}
        answer["put"] = 0 if ledger is None else ledger.cache.put_bytes - before
        return answer, body

    def _lessons(self) -> list[list[_Lesson]]:
        """Return the steps that learn, those together that may go through the data together."""
        learners = [step for step in self.steps if step.run.learns and step.is_on("train", "train")]
        lessons: list[list[_Lesson]] = []
        for step in learners:
            before = _needed(self.steps[: self.steps.index(step)], step)
            wanted = frozenset(step.run.learns_from)
            lesson = _Lesson(step, self._plan(before, "train", "train", wanted=wanted))
            if lessons and _may_share(lessons[-1], lesson):
                lessons[-1].append(lesson)
            else:
                lessons.append([lesson])
        return lessons

    def _fit(self, source: Source, meta: Meta, work: _Work) -> _Sound:
        """Let the steps learn; return which of them can learn from all rows of each chunk."""
        sound: _Sound = {}
        lessons = self._lessons()
        for number, group in enumerate(lessons):
            title = "learning " + ", ".join(lesson.step.name for lesson in group)
            ledger = self._begin(work)
            with _progress(title, source.num_rows) as advance:
                if isinstance(group[0].step.run, CountingSubprocessor):
                    self._fit_counting(number, group, source, sound, advance, meta, work, ledger)
                else:
                    chunks = self._fit_chunks(group[0], source, sound, advance, ledger)
                    group[0].step.run.fit(chunks, meta)
        learnt = {file for group in lessons for lesson in group for file in lesson.step.meta}
        for group in lessons:
            for lesson in group:
                # what a vocabulary decides may look otherwise once all of it is learnt
                if learnt.intersection(file for step, _ in lesson.plan for file in step.meta):
                    for names in sound.values():
                        names.discard(lesson.step.name)
        return sound

    def _fit_counting(
        self,
        number: int,
        group: Sequence[_Lesson],
        source: Source,
        sound: _Sound,
        advance: Any,
        meta: Meta,
        work: _Work,
        ledger: Ledger | None,
    ) -> None:
        def read(_: Columns, answer: Mapping[str, Any], __: bytes) -> list[tuple[Taught, bool]]:
            return [
                (Taught(Counter(counts), errors_of(bad)), is_sound)
                for counts, bad, is_sound in answer["taught"]
            ]

        totals: list[Counter[str]] = [Counter() for _ in group]
        found = self._each(
            _numbered(source, self.chunk_size),
            work,
            total=source.num_rows,
            where="learning from train",
            ask=lambda columns: {"do": "learn", "group": number, "columns": columns},
            here=lambda columns: self._taught(group, columns, ledger),
            read=read,
        )
        for columns, lessons in found:
            for lesson, total, (taught, is_sound) in zip(group, totals, lessons, strict=True):
                self._stop_at(taught.bad, "train", source)
                if columns["_row"] and is_sound:
                    sound.setdefault(columns["_row"][0], set()).add(lesson.step.name)
                total.update(taught.counts)
            advance(len(columns["_row"]))
        for lesson, total in zip(group, totals, strict=True):
            step = lesson.step.run
            assert isinstance(step, CountingSubprocessor)
            step.conclude(total, meta)

    def _taught(
        self, group: Sequence[_Lesson], columns: Columns, ledger: Ledger | None
    ) -> list[tuple[Taught, bool]]:
        """Return for each step of a group what it takes from a chunk, and whether from all rows."""
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
                good = self._screen(lesson.step, made, bad)
                kept = Taught(Counter(), bad)
                if not bad or self.bad_rows != "stop":
                    step.tally({name: plain(good[name]) for name in step.learns_from}, kept.counts)
                if ledger is not None and key:
                    ledger.keep_taught(key, kept, time.perf_counter() - began)
            results.append((Taught(kept.counts, {**refused, **kept.bad}), not kept.bad))
        return results

    def _prepared(
        self,
        plan: _Plan,
        lesson: _Lesson,
        group: Sequence[_Lesson],
        columns: Columns,
        ledger: Ledger | None,
    ) -> tuple[Columns, dict[int, RowError], dict[str, Any]]:
        """Return what a step learns from, the rows that steps before it refused, and the keys."""
        refused: dict[int, RowError] = {}
        if ledger is not None:
            # what the steps make is kept for writing, where more of it may be wanted
            later = {step.name: wanted for step, wanted in self._plans["train", "train"]}
            plan = tuple((step, wanted | later[step.name]) for step, wanted in plan)
        same = [each for each in group if each.needs == lesson.needs]
        read = {name for each in same for name in each.step.run.learns_from}
        keys: dict[str, Any] = {}
        made = self._run(plan, columns, "train", "train", refused, {}, (), ledger, keys, read)
        return made, refused, keys

    def _fit_chunks(
        self, lesson: _Lesson, source: Source, sound: _Sound, advance: Any, ledger: Ledger | None
    ) -> Iterator[Columns]:
        """Yield what a step learns from, chunk by chunk."""
        for columns in _numbered(source, self.chunk_size):
            rows = len(columns["_row"])
            made, refused, _ = self._prepared(lesson.plan, lesson, [lesson], columns, ledger)
            bad = dict(refused)
            made = self._screen(lesson.step, made, bad)
            self._stop_at(bad, "train", source)
            if rows and len(bad) == len(refused):
                sound.setdefault(columns["_row"][0], set()).add(lesson.step.name)
            yield {name: plain(made[name]) for name in lesson.step.run.learns_from}
            advance(rows)

    def _write(
        self,
        sources: Mapping[str, Source],
        folder: Path,
        stage: str,
        work: _Work,
        *,
        flat: bool = False,
        sound: _Sound | None = None,
    ) -> Report:
        from dlk.data.store import SplitWriter

        report = Report()
        for split, source in sources.items():
            target = folder if flat else folder / split
            ledger = self._begin(work)
            with (
                _progress(f"processing {split}", source.num_rows) as advance,
                SplitWriter(target, file_rows=self._config.shard_rows) as writer,
            ):
                counts: dict[str, int] = {}
                rows = rejects = 0
                first: RowError | None = None
                for size, block in self._blocks(source, stage, split, sound or {}, work, ledger):
                    self._put(writer, block, source, split)
                    if block.bad:
                        first = first or block.bad[min(block.bad)]
                    for name, number in block.counts.items():
                        counts[name] = counts.get(name, 0) + number
                    rows, rejects = rows + size, rejects + len(block.bad)
                    advance(size)
                counts = dict(sorted(counts.items()))
                writer.info.update(
                    {"split": split, "rows": rows, "rejects": rejects, "counts": counts}
                )
            if rows and rows == rejects:
                raise DataError(f"{split}: all {rows} rows are bad; the first: {first}") from first
            report.rows[split] = rows
            report.records[split] = writer.records
            report.rejects[split] = rejects
            report.counts[split] = counts
        return report

    def _blocks(
        self,
        source: Source,
        stage: str,
        split: str,
        sound: _Sound,
        work: _Work,
        ledger: Ledger | None,
    ) -> Iterator[tuple[int, _Block]]:
        """Yield how many rows each chunk has, and what became of it, in order."""

        def screened(columns: Columns) -> list[str]:
            return sorted(sound.get(columns["_row"][0], ())) if columns["_row"] else []

        def here(columns: Columns) -> _Block:
            return self._block(columns, stage, split, screened(columns), ledger)

        def read(columns: Columns, answer: Mapping[str, Any], body: bytes) -> _Block:
            table = _from_bytes(body) if body else None
            bad = errors_of(answer["bad"])
            return _Block(None, table, bad, answer["counts"], lambda: here(columns))

        blocks = self._each(
            _numbered(source, self.chunk_size),
            work,
            total=source.num_rows,
            where=f"processing {split}",
            ask=lambda columns: {
                "do": "write",
                "stage": stage,
                "split": split,
                "screened": screened(columns),
                "columns": columns,
            },
            here=here,
            read=read,
        )
        for columns, block in blocks:
            yield len(columns["_row"]), block

    def _block(
        self,
        columns: Columns,
        stage: str,
        split: str,
        screened: Collection[str],
        ledger: Ledger | None,
    ) -> _Block:
        """Return what becomes of a chunk."""
        bad: dict[int, RowError] = {}
        counts: dict[str, int] = {}
        plan = self._plans[stage, split]
        made = self._run(plan, columns, stage, split, bad, counts, screened, ledger)
        return _Block(self._stored(plan, made), None, bad, counts)

    def _put(self, writer: SplitWriter, block: _Block, source: Source, split: str) -> None:
        """Write a block; rows that cannot stand in one column with the others go into its `bad`."""
        self._stop_at(block.bad, split, source)
        made = block.columns
        if made is None and block.table is not None and not writer.append(block.table):
            assert block.again is not None
            made = block.again().columns
        while made is not None and made["_row"]:
            try:
                writer.write(made)
            except RowError as error:
                misfits = writer.unfit(made) or [error]
                block.bad.update((each.row, each) for each in misfits)
                self._stop_at(block.bad, split, source)
                made = _without(made, block.bad)
            else:
                break
        if block.bad:
            # half a surrogate, which UTF-8 cannot hold, becomes what JSON writes for it
            with open(
                writer.folder / REJECTS, "a", encoding="utf-8", errors="backslashreplace"
            ) as handle:
                handle.writelines(
                    json.dumps(_reject(split, block.bad[row], source), ensure_ascii=False) + "\n"
                    for row in sorted(block.bad)
                )

    def _stop_at(self, bad: Mapping[int, RowError], split: str, source: Source) -> None:
        if bad and self.bad_rows == "stop":
            first = bad[min(bad)]
            place = source.place(first.row)
            where = f"{split} ({place})" if place else split
            more = f" ({len(bad)} bad rows in this chunk)" if len(bad) > 1 else ""
            raise DataError(
                f'{where}: {first}{more}. With "bad_rows": "reject" they are left out and listed.'
            ) from first

    # Online --------------------------------------------------------------------------------------

    def online(self, columns: Mapping[str, Sequence[Any]]) -> Online:
        """Process the columns of a request; see `Processor.online`.

        Raises:
            DataError: columns differ in length, or one that a step reads is missing.
        """
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the request's columns differ in length: {lengths}")
        plan = self._plans["online", "online"]
        available = set(columns)
        for step, _ in plan:
            for column in step.reads("online"):
                if column not in available:
                    raise DataError(
                        f'the request lacks the column "{column}", which {step.name} reads. '
                        + did_you_mean(column, columns)
                    )
            available.update(step.run.writes)
        bad: dict[int, RowError] = {}
        rows = next(iter(lengths.values()), 0)
        given: Columns = {name: list(values) for name, values in columns.items()}
        made = self._run(plan, {**given, "_row": list(range(rows))}, "online", "online", bad, {})
        listed = {name: list(values) for name, values in self._stored(plan, made).items()}
        return Online(listed, dict(sorted(bad.items())))

    # Both ----------------------------------------------------------------------------------------

    def _screen(self, step: Step, columns: Columns, bad: dict[int, RowError]) -> Columns:
        """Return the rows that a step can learn from; the others go into `bad`."""
        ctx = TransformContext("train", "train", columns["_row"], seed=self.seed)
        given = {name: plain(columns[name]) for name in (*step.run.learns_from, "_row")}
        step.run.screen(given, ctx)
        bad.update(ctx.bad)
        return _without(columns, ctx.bad) if ctx.bad else columns

    def _run(
        self,
        plan: Sequence[tuple[Step, frozenset[str]]],
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
                key = self._key(ledger, step, wanted, stage, split, known)
                made = ledger.find(key) if key else None
            if made is None:
                began = time.perf_counter()
                made = self._made(step, wanted, columns, stage, split, screened)
                if ledger is not None and key:
                    made = ledger.keep(key, made, time.perf_counter() - began)
            if made.refused:
                bad.update(made.refused)
                columns = _without(columns, made.refused)
            columns = _merged(columns, made.columns)
            if made.bad:
                bad.update(made.bad)
                columns = _without(columns, made.bad)
            for name, number in made.counts.items():
                label = f"{step.name}: {name}"
                counts[label] = counts.get(label, 0) + number
            if ledger is not None:
                known = ledger.after(known, key, made, step.run.writes)
        if keys is not None:
            keys.update(known)
        return columns

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
            columns = self._screen(step, columns, refused)
        while True:
            ctx = TransformContext(stage, split, columns["_row"], wanted, self.seed)
            given = _given(step, stage, columns)
            try:
                new = step.run.transform({**given, "_row": columns["_row"]}, ctx)
            except RowError as error:
                if error.row not in columns["_row"]:
                    raise ValueError(
                        f"{step.path} was not given the row of its error: {error}"
                    ) from error
                ctx.bad.setdefault(error.row, error)
                refused.update(ctx.bad)
                columns = _without(columns, ctx.bad)
                continue  # the others of the chunk once more
            return Made(_checked(new, columns, step), refused, ctx.bad, ctx.counts)

    def _stored(self, plan: _Plan, columns: Columns) -> Columns:
        """Return the columns without those that steps made for one another alone."""
        passing: set[str] = set()
        for step, wanted in plan:
            passing.difference_update(step.run.writes)
            passing.update(name for name in step.run.passing if name in wanted)
        passing.difference_update(self.keep)
        return {name: values for name, values in columns.items() if name not in passing}


def _take_learnt(folder: Path, meta: Meta, steps: Sequence[Step]) -> list[str]:
    """Copy what steps learnt before into a meta folder, to go by; return notes that tell of it."""
    learns = {file: step.name for step in steps if step.run.learns for file in step.meta}
    if not learns:
        return []
    notes = []
    for file, name in learns.items():
        if (folder / file).is_file():
            meta.put_start(file, {}, partial(_put_bytes, (folder / file).read_bytes()))
            notes.append(f"Counted as if {name} learnt the same {file} as before.")
        else:
            notes.append(f"What reads {file} is to do: {name} has yet to learn it.")
    return notes


def _put_bytes(content: bytes, handle: IO[bytes]) -> None:
    handle.write(content)


def _recipe(config: Any) -> dict[str, Any]:
    """Return what decides how rows are made: steps in order, without the places of their files."""
    if not hasattr(config, "order"):
        return {}
    steps = children(config, "subprocessor")
    found: dict[str, Any] = {}
    for name in config.order():
        (values,) = to_dict(steps[name]).values()
        files = {field for owner, field, _ in assets(steps[name]) if owner is steps[name]}
        kept = {field: value for field, value in values.items() if field not in files}
        found[name] = (len(found), kept)
    return found


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that holds anything which no processor made, such as raw data."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: choose another processed_data_dir")
    for entry in sorted(folder.iterdir()):
        if entry.name in SPLITS["train"] + SPLITS["predict"]:
            _refuse_foreign_split(entry)
        elif entry.name != PROCESS and not (entry.name == "meta" and (entry / META).is_file()):
            raise DataError(
                f"{folder} would be replaced, and holds {entry.name}, which is no processed data: "
                "choose another processed_data_dir"
            )


def _refuse_foreign_split(folder: Path) -> None:
    from dlk.data.store import is_split

    if folder.exists() and not is_split(folder):
        raise DataError(
            f"{folder} would be replaced, and is no processed split: "
            "choose another processed_data_dir"
        )


def _open(data: Mapping[str, Any], stage: str) -> dict[str, Source]:
    known = SPLITS[stage]
    wrong = [str(split) for split in data if split not in known]
    if wrong:
        raise DataError(
            f"stage {stage} takes the splits {', '.join(known)}, got {', '.join(wrong)}. "
            + did_you_mean(wrong[0], known)
        )
    sources = {
        split: open_input(data[split], name=split) for split in known if data.get(split) is not None
    }
    empty = [split for split, source in sources.items() if not source.column_names]
    if empty:
        raise DataError(f"there are no rows in {', '.join(empty)}: give data, or leave it out")
    return sources


def _needed(before: Sequence[Step], step: Step) -> list[Step]:
    """Return the steps that make what a step learns from, directly or through others, in order."""
    wanted = set(step.run.learns_from)
    found: list[Step] = []
    for each in reversed([other for other in before if other.is_on("train", "train")]):
        if wanted.intersection(each.run.writes):
            found.append(each)
            wanted.update(each.reads("train"))
    return found[::-1]


def _may_share(group: Sequence[_Lesson], lesson: _Lesson) -> bool:
    """Return whether a step can learn in one pass with others: they count, and it needs no other's.

    The columns it learns from must not depend on what the others learn.
    """
    members = [*group, lesson]
    if not all(isinstance(each.step.run, CountingSubprocessor) for each in members):
        return False
    learnt = {file for each in group for file in each.step.meta}
    return not learnt.intersection(file for step, _ in lesson.plan for file in step.meta)


def _joined_plan(lessons: Sequence[_Lesson]) -> _Plan:
    """Return the plan of steps that need the same others, with all the columns that they want."""
    plans = [lesson.plan for lesson in lessons]
    return tuple(
        (each[0][0], frozenset().union(*(wanted for _, wanted in each)))
        for each in zip(*plans, strict=True)
    )


def _given(step: Step, stage: str, columns: Columns) -> Columns:
    """Return the columns that a step reads."""
    try:
        return {name: plain(columns[name]) for name in step.reads(stage)}
    except KeyError as error:
        message = (
            f"reads the column {error}, which the step that writes it makes of the truth: it is "
            f"not there in the stage {stage}. Switch this step off there ({stage}_data_set)"
        )
        raise ConfigError([Problem(step.path, message)]) from error


def _numbered(source: Source, size: int) -> Iterator[Columns]:
    """Yield the chunks with `_row`, the number of each input row."""
    start = 0
    for columns in source.chunks(size):
        rows = len(next(iter(columns.values()), []))
        yield {**columns, "_row": list(range(start, start + rows))}
        start += rows


def _checked(new: Columns, columns: Columns, step: Step) -> Columns:
    """Return what a step wrote for records, once it is what its signature says."""
    unknown = [name for name in new if name not in step.run.writes and name != "_row"]
    if unknown:
        raise ValueError(
            f"{step.path} writes {', '.join(unknown)}, which its signature does not say"
        )
    if ("_row" in new) != ("_part" in new):
        raise ValueError(f"{step.path} splits rows: it writes both _row and _part, or neither")
    if "_part" not in new:
        expected = len(columns["_row"])
        wrong = {name: len(values) for name, values in new.items() if len(values) != expected}
        if wrong:
            raise ValueError(
                f"{step.path} was given {expected} records and wrote columns of {wrong}"
            )
    return new


def _merged(columns: Columns, new: Columns) -> Columns:
    """Return the columns with those that a step wrote; repeat the others where it split rows."""
    if "_part" not in new:
        return {**columns, **new}
    place = {row: position for position, row in enumerate(columns["_row"])}
    taken = [place[row] for row in new["_row"]]
    return {**_taken(columns, taken), **new}


def _without(columns: Columns, bad: Mapping[int, RowError]) -> Columns:
    """Return the columns without any record of the bad rows."""
    return _taken(columns, [at for at, row in enumerate(columns["_row"]) if row not in bad])


def _taken(columns: Columns, positions: Sequence[int]) -> Columns:
    return {
        name: [rows[position] for position in positions]
        for name, values in columns.items()
        for rows in (list(plain(values)),)
    }


def _to_bytes(columns: Columns) -> Any:
    """Return columns as an Arrow stream."""
    import pyarrow as pa
    from pyarrow import ipc

    from dlk.data.store import to_table

    table = to_table(columns, {})
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_bytes(data: bytes) -> Any:
    from pyarrow import ipc

    with ipc.open_stream(data) as reader:
        return reader.read_all()


def _described(config: Any) -> dict[str, Any]:
    """Return a config as it is written beside the data, which tells nothing of how it was made."""
    ((key, values),) = to_dict(config).items()
    return {key: {**values, **_HOW}}


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


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Any]:
    """Show a bar on a terminal, nothing elsewhere; give a function that is told rows done."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    parts: Iterable[Any] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*parts, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda rows: bar.advance(task, rows)
