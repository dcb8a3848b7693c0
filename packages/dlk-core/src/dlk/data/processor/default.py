"""The processor that runs subprocessors over chunks of columns: one path offline and online."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.context import Setup
from dlk.data.inputs import Source, open_input
from dlk.data.meta import Meta
from dlk.data.processor._columns import to_bytes
from dlk.data.processor._folder import (
    learnt_at,
    refuse_foreign,
    refuse_foreign_split,
    refuse_other_steps,
    take_learnt,
    write_config,
)
from dlk.data.processor._learn import Learning
from dlk.data.processor._ledger import error_list
from dlk.data.processor._run import Runner
from dlk.data.processor._steps import SPLITS, Step, Steps
from dlk.data.processor._work import Work
from dlk.data.processor._write import write_split
from dlk.data.processor.base import Online, Processor, Report
from dlk.data.processor.configs import DefaultProcessorConfig
from dlk.data.subprocessor.base import Columns
from dlk.errors import DataError, RowError, did_you_mean
from dlk.io import atomic_dir
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.data.processor._explain import Explained
    from dlk.data.processor._ledger import Ledger

__all__ = ["DefaultProcessor"]


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
        self._learnt_at = learnt_at(setup.meta.dir) if setup.meta.dir else None
        self._lock = threading.Lock()
        self._built: Runner | None = None
        if setup.meta.dir:  # else `fit_transform` builds the steps, with the folder it makes
            self._built = Runner(Steps(config, setup))

    @property
    def _runner(self) -> Runner:
        """What runs the steps, built when it is first needed: loading a tokenizer takes a while."""
        with self._lock:
            if self._built is None:
                self._built = Runner(Steps(self._config, self.setup))
            return self._built

    @property
    def _steps(self) -> Steps:
        return self._runner.steps

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        return self._steps.all

    def fit_transform(self, data: Mapping[str, Any], out_dir: str | os.PathLike[str]) -> Report:
        """Learn on the training split, write all splits; see `Processor.fit_transform`.

        Raises:
            ConfigError: a step reads a column that neither the input nor a step before it has.
            DataError: an input cannot be read, or a row is bad and `bad_rows` is "stop".
        """
        sources = _open(data, "train")
        refuse_foreign(Path(out_dir))
        report = Report()
        with atomic_dir(out_dir) as aside:
            steps = self._anew(aside / "meta")
            steps.check(sources, "train")
            steps.check_meta(sources, "train", learning="train" in sources)
            _store(steps)
            runner = Runner(steps)
            with Work(steps, out_dir) as work:
                learning = Learning(runner)
                sound = learning.fit(sources["train"], work) if "train" in sources else {}
                for split, source in sources.items():
                    write_split(
                        runner,
                        source,
                        aside / split,
                        stage="train",
                        split=split,
                        work=work,
                        report=report,
                        sound=sound,
                    )
            write_config(self._config, aside)
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
        self._steps.check(sources, stage)
        self._steps.check_meta(sources, stage, learning=False)
        for split in sources:
            refuse_foreign_split(Path(out_dir) / split)
        refuse_other_steps(self._config, Path(out_dir))
        report = Report()
        with Work(self._steps, out_dir) as work:
            for split, source in sources.items():
                with self._undisturbed(out_dir), atomic_dir(Path(out_dir) / split) as aside:
                    write_split(
                        self._runner,
                        source,
                        aside,
                        stage=stage,
                        split=split,
                        work=work,
                        report=report,
                    )
                    self._check_learnt(out_dir)
        return report

    @contextlib.contextmanager
    def _undisturbed(self, out_dir: str | os.PathLike[str]) -> Iterator[None]:
        """Tell of a folder that is gone with what was being written there by who replaced it."""
        try:
            yield
        except FileNotFoundError:
            self._check_learnt(out_dir)
            raise

    def _check_learnt(self, out_dir: str | os.PathLike[str]) -> None:
        """Refuse to put a split beside what another process learnt since this one began.

        Raises:
            DataError: it would be made by other vocabularies than the splits there.
        """
        if self._learnt_at is not None and learnt_at(self.setup.meta.dir) != self._learnt_at:
            raise DataError(
                f"{os.fspath(out_dir)} was processed anew by another process meanwhile, and what "
                "it learnt may be other: process these splits again"
            )

    def explain(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Explained:
        """Return what `fit_transform` or `transform` would do; see `Processor.explain`."""
        from dlk.data.processor._explain import explained

        sources = _open(data, stage)
        fits = stage == "train" and not self.setup.meta.dir
        self._steps.check(sources, stage)
        self._steps.check_meta(sources, stage, learning=fits and "train" in sources)
        if not fits:
            return explained(self._steps, sources, out_dir, stage, learning=False)
        with tempfile.TemporaryDirectory() as folder:
            meta = Meta(folder)
            meta.save()
            notes = take_learnt(Path(out_dir) / "meta", meta, self._steps.all)
            steps = Steps(self._config, Setup(meta, seed=self.setup.seed))
            _store(steps)
            found = explained(steps, sources, out_dir, stage, learning=True)
        found.notes[:0] = notes
        return found

    def online(self, columns: Mapping[str, Sequence[Any]]) -> Online:
        """Process the columns of a request; see `Processor.online`.

        Raises:
            DataError: columns differ in length, or one that a step reads is missing.
        """
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"the request's columns differ in length: {lengths}")
        plan = self._steps.plans["online", "online"]
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
        numbered = {**given, "_row": list(range(rows))}
        made = self._runner.run(plan, numbered, "online", "online", bad, {})
        listed = {name: list(values) for name, values in self._steps.stored(plan, made).items()}
        return Online(listed, dict(sorted(bad.items())))

    def answer(
        self, message: Mapping[str, Any], ledger: Ledger | None
    ) -> tuple[dict[str, Any], Any]:
        """Return what a worker answers to a message of its parent, and the bytes beside it."""
        before = 0 if ledger is None else ledger.cache.put_bytes
        columns = message["columns"]
        body: Any = b""
        answer: dict[str, Any]
        if message["do"] == "learn":
            found = Learning(self._runner).taught(message["group"], columns, ledger)
            answer = {
                "taught": [
                    [dict(taught.counts), error_list(taught.bad), sound] for taught, sound in found
                ]
            }
        else:
            block = self._runner.block(
                columns, message["stage"], message["split"], message["screened"], ledger
            )
            assert block.columns is not None
            if block.columns["_row"]:
                body = to_bytes(block.columns)
            answer = {"bad": error_list(block.bad), "counts": block.counts}
        answer["put"] = 0 if ledger is None else ledger.cache.put_bytes - before
        return answer, body

    def _anew(self, folder: Path) -> Steps:
        """Return the steps built anew, with a meta folder that they are to fill."""
        meta = Meta(folder)
        meta.save()
        return Steps(self._config, Setup(meta, seed=self.setup.seed))


def _store(steps: Steps) -> None:
    """Let the steps that do put the files that serving needs into the meta folder."""
    for step in steps.all:
        if step.run.stores:
            step.run.store(steps.setup.meta)


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
