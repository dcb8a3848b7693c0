"""Process: raw data to processed splits, by a process config.

The same config prepares training data, data to predict, and requests::

    Process("process.jsonc").run({"train": "train.jsonl", "valid": frame})
    Process("process.jsonc", stage="predict").run("new/*.csv")
    Process("process.jsonc", stage="online").run({"sentence": ["a text"]}).columns
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlk._hooks import around
from dlk.config import Base, load
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.processor.base import Online, Processor
from dlk.errors import DataError
from dlk.io import is_remote
from dlk.plugin import ProcessFacts, ProcessOutcome
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.data.processor._explain import Explained

__all__ = ["Process", "Processed"]

_STAGES = ("train", "predict", "online")


@dataclass(frozen=True, slots=True)
class Processed:
    """What `Process.run` made.

    Attributes:
        dir: the processed folder.
        rows: input rows read, by split.
        records: records written, by split; more than the rows where long ones became several.
        rejects: rows left out, by split.
        counts: what steps counted, as ``"step: name"``, by split.
        meta: the numbers learnt, by entry.
    """

    dir: str
    rows: dict[str, int]
    records: dict[str, int]
    rejects: dict[str, int]
    counts: dict[str, dict[str, int]]
    meta: dict[str, dict[str, int | float | bool]]

    def __str__(self) -> str:
        lines = [f"processed data in {self.dir}"]
        for split, rows in self.rows.items():
            line = f"  {split:<8} {rows:>9,} rows"
            rejects = self.rejects[split]
            if rejects:
                kept = f"{rows - rejects:,} kept"
                line += f": {rejects:,} rejected ({split}/rejects.jsonl), {kept}"
            if self.records[split] != rows - rejects:
                line += f" -> {self.records[split]:,} records"
            lines.append(line)
        lines += _table(self.counts)
        for name, numbers in self.meta.items():
            shown = ", ".join(f"{key} {value}" for key, value in numbers.items())
            lines.append(f"  meta.{name}: {shown}")
        return "\n".join(lines)


class Process:
    """Prepares data by a config.

    Args:
        config: path of a process config, the config as a dict, or a processor's config object.
        stage: ``train`` learns on the training split and writes all splits; ``predict`` writes data
            to predict with what was learnt; ``online`` returns columns.
        overrides: changes of the config, such as ``"processor.chunk_size=100"``.

    Raises:
        ConfigError: the config has mistakes; all of them are named.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Mapping[str, Any] | Base,
        stage: str = "train",
        overrides: Sequence[str] | Mapping[str, Any] = (),
    ) -> None:
        if stage not in _STAGES:
            raise ValueError(f"stage is one of {', '.join(_STAGES)}, got {stage!r}")
        self.stage = stage
        if isinstance(config, Base):
            if overrides:
                raise ValueError("a config object is final: overrides go with a path or a dict")
            self.config: Any = config
        else:
            self.config = load(config, overrides=overrides).one().root("processor")
        self.dir: str = self.config.processed_data_dir
        self.seed: int = getattr(self.config, "seed", 0)  # a processor that draws nothing has none

    def run(self, data: Any) -> Any:
        """Process data.

        Args:
            data: for ``train`` a dict of train, valid and test (any of them), each a DataFrame,
                dict of lists, list of dicts, `datasets.Dataset`, paths, or a function that gives
                an iterator over dicts; for ``predict`` one of these, or ``{"predict": …}``; for
                ``online`` a dict of lists, a list of dicts or a DataFrame.

        Returns:
            `Processed`; for ``online`` the `Online` of the request.

        Raises:
            ConfigError: a step reads a column that is not there.
            DataError: the data cannot be read, or holds a bad row that is not to be rejected.
            DlkError: a plugin refused.
        """
        if self.stage == "online":
            return self._online(data)
        splits = self._splits(data)
        facts = ProcessFacts(self.stage, self.dir, tuple(splits))
        done: dict[str, Any] = {}
        with around("process", facts, lambda s, error: ProcessOutcome(s, error, **done)):
            made = self._processed(splits)
            done |= {"rows": made.rows, "records": made.records, "rejects": made.rejects}
        return made

    def explain(self, data: Any) -> Explained:
        """Return what `run` would do with data, in the stages train and predict.

        Steps, the columns they read, write and store, how much of their work is kept from before,
        rows and sizes. Nothing is processed; the data is read.

        Raises:
            ConfigError: as `run`.
            DataError: as `run`.
        """
        if self.stage == "online":
            raise ValueError("a request is not explained: stage train or predict")
        splits = self._splits(data)
        folder = self._local()
        meta = Meta.empty() if "train" in splits else self._learnt(folder)
        processor: Processor = register.build(self.config, Setup(meta, seed=self.seed))
        return processor.explain(splits, folder, stage=self.stage)

    def _processed(self, splits: Mapping[str, Any]) -> Processed:
        if is_remote(self.dir):
            from dlk._remote_folder import edited

            with edited(self.dir) as folder:
                return self._processed_in(folder, splits)
        return self._processed_in(self.dir, splits)

    def _processed_in(self, folder: str, splits: Mapping[str, Any]) -> Processed:
        meta = Meta.empty() if "train" in splits else self._learnt(folder)
        processor: Processor = register.build(self.config, Setup(meta, seed=self.seed))
        if self.stage == "train" and not meta.dir:
            report = processor.fit_transform(splits, folder)
            meta = Meta.load(folder)
        else:
            report = processor.transform(splits, folder, stage=self.stage)
        return Processed(
            self.dir, report.rows, report.records, report.rejects, report.counts, meta.numbers()
        )

    def _splits(self, data: Any) -> Mapping[str, Any]:
        if self.stage == "predict":
            return (
                data
                if isinstance(data, Mapping) and set(data) == {"predict"}
                else {"predict": data}
            )
        if not isinstance(data, Mapping) or not data:
            raise DataError(
                'stage train takes {"train": …, "valid": …, "test": …} (any of them), '
                f"got {type(data).__name__}"
            )
        return data

    def _local(self) -> str:
        """Return the folder that earlier runs wrote, as a local path; it may not be there."""
        if not is_remote(self.dir):
            return self.dir
        from dlk._remote_folder import latest

        return str(latest(self.dir))

    def _learnt(self, folder: str) -> Meta:
        """Return what an earlier run learnt; nothing where there was none."""
        if self.stage == "train" and not os.path.isfile(os.path.join(folder, "meta", "meta.json")):
            return Meta.empty()
        return Meta.load(folder)

    def _online(self, data: Any) -> Online:
        from dlk.data.inputs import open_input

        source = open_input(data, name="the request")
        processor: Processor = register.build(
            self.config, Setup(self._learnt(self._local()), seed=self.seed)
        )
        columns: dict[str, list[Any]] = {name: [] for name in source.column_names}
        for chunk in source.chunks(4096):
            for name, values in chunk.items():
                columns[name] += values
        return processor.online(columns)


def _table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the lines of a table of what steps counted: a line per name, a column per split."""
    names = sorted({name for numbers in counts.values() for name in numbers})
    if not names:
        return []
    width = max(len(name) for name in names)
    rows = [["", *counts]] + [
        [name, *(f"{numbers.get(name, 0):,}" for numbers in counts.values())] for name in names
    ]
    return [f"    {row[0]:<{width}}" + "".join(f" {cell:>10}" for cell in row[1:]) for row in rows]
