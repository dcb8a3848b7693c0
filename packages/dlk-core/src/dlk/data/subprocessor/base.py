"""What a subprocessor is.

A pure function of columns, and perhaps something it learns on the training split.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlk.config import Base, Signature
from dlk.errors import RowError

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta

__all__ = ["Columns", "CountingSubprocessor", "Subprocessor", "TransformContext"]

Columns = dict[str, Sequence[Any]]
"""Records by column: a list, or a `Ragged` where a step made numbers of all records at once."""


@dataclass(slots=True)
class TransformContext:
    """What a transform may know about the records it is given, and where it reports bad ones.

    Attributes:
        stage: ``train``, ``predict`` or ``online``.
        split: name of the split; ``online`` when serving.
        rows: number of the input row of each record.
        wanted: columns that somebody reads; a transform may leave out others that it could write.
        seed: the processor's seed.
        bad: the bad rows found, by input row.
        counts: what `count` was told, by name.
    """

    stage: str
    split: str
    rows: Sequence[int]
    wanted: frozenset[str] = frozenset()
    seed: int = 0
    bad: dict[int, RowError] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def training(self) -> bool:
        """True for the training split only."""
        return self.stage == "train" and self.split == "train"

    def wants(self, column: str) -> bool:
        """Return whether somebody reads the column."""
        return column in self.wanted

    def bad_row(self, position: int, column: str, value: object, reason: str) -> None:
        """Report a record that cannot be transformed, by its position in the columns.

        The transform goes on with anything in its place: the driver drops the whole row, or stops.
        """
        row = self.rows[position]
        self.bad.setdefault(row, RowError(row, column, value, reason))

    def count(self, name: str, n: int = 1) -> None:
        """Count something that the run should tell, such as ``"entities cut by truncation"``.

        The driver sums each name per split and step; see `Report.counts`. For what is no mistake of
        a row, which is kept, and yet should not pass in silence.

        Args:
            name: what is counted, in the words that a reader of the report sees.
            n: how many there are more; nothing is noted where it is 0.
        """
        if n:
            self.counts[name] = self.counts.get(name, 0) + n

    def rng(self, position: int) -> random.Random:
        """Return the random numbers of a record.

        The same for the same seed and input row, in any chunk.
        """
        return random.Random(f"{self.seed}:{self.rows[position]}")  # noqa: S311 - draws, no secrets


class Subprocessor(ABC):
    """One step of a processor.

    The config's signature says which columns are read and written, with `_part` among the written
    ones where a row may become several records; a step is given the columns it reads, and `_row`.
    Columns of the truth stand among the signature's `targets`: they must be there in the stage
    train, and are not given in predict and online, where the step leaves out what it makes of them.
    Objects are used from many threads at once: after `fit`, nothing changes them.
    """

    learns = False
    """Whether `fit` learns something on the training split.

    The files that the signature's `meta` names.
    """
    is_pure = True
    """Whether nothing but columns, options, files (assets and those of `meta`) and code decides
    what `transform`, `screen` and `tally` do: then their results are kept, and not made twice."""
    stores = False
    """Whether `store` puts the files that the signature's `meta` names into the meta folder."""

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup
        signature: Signature = config.signature()
        self.reads: tuple[str, ...] = signature.reads
        self.targets: tuple[str, ...] = signature.targets
        self.learns_from: tuple[str, ...] = tuple(dict.fromkeys((*self.reads, *self.targets)))
        """Columns that `fit` and `screen` are given; fewer where not all are needed to learn, so
        that the steps which make the others are not run twice."""
        self.makes: tuple[str, ...] = ()
        """Files of the meta folder that `fit` makes anew: no other step of the processor may make
        them. What `fit` adds to, such as another step's vocabulary, is not among them."""
        self.writes: tuple[str, ...] = signature.writes
        self.passing: tuple[str, ...] = signature.passing
        self.input_map: dict[str, str] = dict(getattr(config, "input_map", {}))
        self.output_map: dict[str, str] = dict(getattr(config, "output_map", {}))

    def fit(self, chunks: Iterable[Columns], meta: Meta) -> None:
        """Learn from the training split, and put what was learnt into `meta`.

        Called where `learns` is true.

        Args:
            chunks: the columns of `learns_from`, chunk by chunk.
            meta: the meta folder being made.
        """
        raise TypeError(f"{type(self).__name__} says it learns, and has no fit")

    def screen(self, columns: Columns, ctx: TransformContext) -> None:  # noqa: B027 - may be empty
        """Report rows that `fit` cannot learn from, by `ctx.bad_row`; they reach neither.

        Called where `learns` is true, on the training split.

        Args:
            columns: those of `learns_from`, and `_row`.
            ctx: where the bad rows go.
        """

    def store(self, meta: Meta) -> None:
        """Put the files that serving needs into `meta`, before any chunk.

        Called where `stores` is true.
        """
        raise TypeError(f"{type(self).__name__} says it stores, and has no store")

    @abstractmethod
    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the columns written, as long as those read, without changing those.

        Where a row becomes several records, the result also has `_row` (taken from the columns
        given) and `_part` (from 0 within the row), and all its columns are as long as these; the
        rows keep their order.

        Raises:
            RowError: one record is bad; its `row` is the input row (``columns["_row"]``).
                `ctx.bad_row` takes the position instead, and reports many at once.
        """


class CountingSubprocessor(Subprocessor):
    """A step that learns by counting: several of them may go through the training split together.

    It keeps nothing between chunks but the counts.
    """

    learns = True

    def fit(self, chunks: Iterable[Columns], meta: Meta) -> None:
        """Count in all chunks, and put what that tells into `meta`; as `tally` and `conclude`."""
        counts: Counter[str] = Counter()
        for columns in chunks:
            self.tally(columns, counts)
        self.conclude(counts, meta)

    @abstractmethod
    def tally(self, columns: Columns, counts: Counter[str]) -> None:
        """Add what a chunk holds to the counts.

        Raises:
            DataError: it holds what `screen` reports.
        """

    @abstractmethod
    def conclude(self, counts: Counter[str], meta: Meta) -> None:
        """Put what the counts of the training split tell into `meta`."""
