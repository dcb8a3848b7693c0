"""Writing splits: every chunk through the steps, into files, with the bad rows beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk.data.processor._columns import from_bytes, numbered, without
from dlk.data.processor._ledger import errors_of
from dlk.data.processor._rejects import add_rejects, stop_at
from dlk.data.processor._run import Block, Runner
from dlk.data.processor._work import Work, progress
from dlk.data.processor.base import Report
from dlk.data.subprocessor.base import Columns
from dlk.errors import DataError, RowError

if TYPE_CHECKING:
    from dlk.data.inputs import Source
    from dlk.data.processor._learn import Sound
    from dlk.data.store import SplitWriter

__all__ = ["write_split"]


def write_split(
    runner: Runner,
    source: Source,
    folder: Path,
    *,
    stage: str,
    split: str,
    work: Work,
    report: Report,
    sound: Sound | None = None,
) -> None:
    """Write a split into a folder, and into the report what became of it.

    Args:
        runner: runs the steps.
        source: the rows.
        folder: made where it is missing.
        stage: the stage.
        split: the split.
        work: workers, and where results are kept.
        report: gets the numbers.
        sound: for the first row of a chunk, the steps that can learn from all rows of it.

    Raises:
        DataError: a row is bad and `bad_rows` is "stop", or all rows are bad.
    """
    from dlk.data.store import SplitWriter

    config = runner.steps.config
    stops = config.bad_rows == "stop"
    with (
        progress(f"processing {split}", source.num_rows) as advance,
        SplitWriter(folder, file_rows=config.shard_rows) as writer,
    ):
        counts: dict[str, int] = {}
        rows = rejects = 0
        first: RowError | None = None
        for size, block in _blocks(runner, source, stage, split, sound or {}, work):
            _put(writer, block, source, split, stops=stops)
            if block.bad:
                first = first or block.bad[min(block.bad)]
            for name, number in block.counts.items():
                counts[name] = counts.get(name, 0) + number
            rows, rejects = rows + size, rejects + len(block.bad)
            advance(size)
        counts = dict(sorted(counts.items()))
        writer.info.update({"split": split, "rows": rows, "rejects": rejects, "counts": counts})
    if rows and rows == rejects:
        raise DataError(f"{split}: all {rows} rows are bad; the first: {first}") from first
    report.rows[split] = rows
    report.records[split] = writer.records
    report.rejects[split] = rejects
    report.counts[split] = counts


def _blocks(
    runner: Runner, source: Source, stage: str, split: str, sound: Sound, work: Work
) -> Iterator[tuple[int, Block]]:
    """Yield how many rows each chunk has, and what became of it, in order."""
    ledger = work.begin()

    def screened(columns: Columns) -> list[str]:
        return sorted(sound.get(columns["_row"][0], ())) if columns["_row"] else []

    def here(columns: Columns) -> Block:
        return runner.block(columns, stage, split, screened(columns), ledger)

    def read(columns: Columns, answer: Mapping[str, Any], body: bytes) -> Block:
        table = from_bytes(body) if body else None
        bad = errors_of(answer["bad"])
        return Block(None, table, bad, answer["counts"], lambda: here(columns))

    blocks = work.each(
        numbered(source, runner.steps.config.chunk_size),
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


def _put(writer: SplitWriter, block: Block, source: Source, split: str, *, stops: bool) -> None:
    """Write a block; rows that cannot stand in one column with the others go into its `bad`."""
    if stops:
        stop_at(block.bad, split, source)
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
            if stops:
                stop_at(block.bad, split, source)
            made = without(made, block.bad)
        else:
            break
    if block.bad:
        add_rejects(writer.folder, split, block.bad, source)
