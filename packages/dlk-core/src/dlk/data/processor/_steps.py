"""The steps of a processor: which of them run on which split, and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlk.config import children, node_of
from dlk.context import Setup
from dlk.data.inputs import Source
from dlk.data.processor.configs import DefaultProcessorConfig
from dlk.data.subprocessor.base import Columns, Subprocessor
from dlk.errors import ConfigError, Problem, did_you_mean
from dlk.registry import register

__all__ = ["SPLITS", "Plan", "Step", "Steps"]

SPLITS = {"train": ("train", "valid", "test"), "predict": ("predict",), "online": ("online",)}


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


Plan = tuple[tuple[Step, frozenset[str]], ...]
"""Steps, each with the columns that are wanted of it."""


class Steps:
    """The steps of a processor, built, and those of them that run on each split.

    Attributes:
        config: the processor's.
        setup: what the steps were built with.
        keep: columns that are stored though steps make them for one another alone.
        all: the steps in order.
        plans: by stage and split those that run there, and what is wanted of them.
    """

    def __init__(self, config: DefaultProcessorConfig, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        self.keep: tuple[str, ...] = tuple(config.keep)
        self.all: tuple[Step, ...] = _built(config, setup)
        self.plans: dict[tuple[str, str], Plan] = {
            (stage, split): self.plan(self.all, stage, split)
            for stage in SPLITS
            for split in SPLITS[stage]
        }

    def plan(
        self,
        steps: Sequence[Step],
        stage: str,
        split: str,
        *,
        wanted: frozenset[str] | None = None,
    ) -> Plan:
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

    def stored(self, plan: Plan, columns: Columns) -> Columns:
        """Return the columns without those that steps made for one another alone."""
        passing: set[str] = set()
        for step, wanted in plan:
            passing.difference_update(step.run.writes)
            passing.update(name for name in step.run.passing if name in wanted)
        passing.difference_update(self.keep)
        return {name: values for name, values in columns.items() if name not in passing}

    def check(self, sources: Mapping[str, Source], stage: str) -> None:
        """Follow the columns through the steps of every split; all mistakes at once.

        Raises:
            ConfigError: a step reads a column that is not there, or two split rows.
        """
        problems: dict[Problem, None] = {}  # in order, and each but once
        for split, source in sources.items():
            plan = self.plans[stage, split]
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

    def check_meta(self, sources: Mapping[str, Source], stage: str, *, learning: bool) -> None:
        """Refuse steps that need a file of the meta folder which nobody makes.

        Raises:
            ConfigError: there is such a step, or two that learn the same file.
        """
        learns = {file: step.name for step in self.all if step.run.learns for file in step.meta}
        made = {file for step in self.all if step.run.stores for file in step.meta}
        plan = self.plans["train", "train"] if learning else ()
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
        steps = [step for split in sources for step, _ in self.plans[stage, split]]
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


def _built(config: DefaultProcessorConfig, setup: Setup) -> tuple[Step, ...]:
    configs = children(config, "subprocessor")
    steps = []
    for name in config.order():
        each = configs[name]
        splits = {stage: tuple(getattr(each, f"{stage}_data_set")) for stage in SPLITS}
        run: Subprocessor = register.build(each, setup)
        steps.append(Step(name, node_of(each).path, run, splits, tuple(each.signature().meta)))
    return tuple(steps)
