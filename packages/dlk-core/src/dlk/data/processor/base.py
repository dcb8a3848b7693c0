"""What a processor is: raw data to processed splits offline, raw columns to columns online."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dlk.errors import DataError, RowError

if TYPE_CHECKING:
    from dlk.config import Base
    from dlk.context import Setup
    from dlk.data.processor._explain import Explained

__all__ = ["Online", "Processor", "Report"]


@dataclass(frozen=True, slots=True)
class Online:
    """What became of a request.

    Attributes:
        columns: raw and made columns of the good rows, all of one length, with `_row` (and `_part`
            where rows became several records).
        errors: the bad rows, by their number in the request.
    """

    columns: dict[str, list[Any]]
    errors: dict[int, RowError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What was made of one kind of data.

    Attributes:
        rows: input rows read, by split.
        records: records written, by split.
        rejects: rows left out, by split.
        counts: what steps counted (`TransformContext.count`), as ``"step: name"``, by split; a
            split of which nothing was counted has an empty dict.
    """

    rows: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


class Processor(ABC):
    """Base of processors. `online` is pure and used from many threads at once."""

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup

    @abstractmethod
    def fit_transform(self, data: Mapping[str, Any], out_dir: str | os.PathLike[str]) -> Report:
        """Learn on ``data["train"]``; replace `out_dir` by the splits and a new meta folder.

        Args:
            data: any of train, valid and test, each of any kind that `dlk.data.inputs` reads.
            out_dir: the processed folder; a reader sees the old content or the new, never a part.
        """

    @abstractmethod
    def transform(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Report:
        """Write splits into `out_dir` with what was learnt before; others there stay."""

    def explain(
        self, data: Mapping[str, Any], out_dir: str | os.PathLike[str], *, stage: str
    ) -> Explained:
        """Return what would be done, without doing it; `out_dir` stays as it is.

        Raises:
            DataError: this processor cannot tell.
        """
        raise DataError(f"{type(self).__name__} cannot tell beforehand what it does")

    @abstractmethod
    def online(self, columns: Mapping[str, Sequence[Any]]) -> Online:
        """Process the columns of a request with what was learnt before; change nothing."""
