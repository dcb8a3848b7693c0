"""`Predict`: a bundle over any amount of data, chunk by chunk, and its scores on labelled data."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlk._hooks import Hook, around, change_predictions, change_rows
from dlk.errors import DataError, RowError
from dlk.io import atomic_write, is_remote, local_path
from dlk.plugin import PredictFacts, PredictOutcome

if TYPE_CHECKING:
    import pyarrow as pa

    from dlk.inference import Engine

__all__ = ["Evaluation", "Predict"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a bundle on labelled data.

    Attributes:
        metrics: by name, without a stage's prefix.
        table: details to show beside them, such as scores per class; may be empty.
        rows: rows that were counted.
    """

    metrics: dict[str, float]
    table: list[dict[str, object]]
    rows: int


class Predict:
    """Predicts with a bundle.

    Args:
        bundle: folder of the bundle, or its zip.
        device: where to run, such as ``cpu`` or ``cuda:0``; ``auto``: a GPU where there is one.
        batch_size: records per forward pass, at most; None: as configured.
        src: folders with project-local components that the bundle needs.
        trust_code: run the copy of such components that the bundle brings: code of its maker.
        packed: as of `Server`: packed copies of weights, where they are faster on this CPU.

    Raises:
        BundleError: the bundle is damaged, or needs what is not installed.
        DlkError: the device cannot be used.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        src: Sequence[str] = (),
        trust_code: bool = False,
        packed: bool = False,
    ) -> None:
        from dlk.bundle.read import Bundle

        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is at least 1, got {batch_size}")
        self.bundle = Bundle(bundle, src=src, trust_code=trust_code)
        from dlk.inference import choose_device

        place = choose_device(device)
        self.engine: Engine = self.bundle.engine(device=place, batch_size=batch_size)
        if packed:
            self.engine.pack()

    def run(
        self, data: Any, output: str | os.PathLike[str] | None = None
    ) -> list[dict[str, Any]] | str:
        """Predict all rows.

        Args:
            data: a DataFrame, columns, rows, a `datasets.Dataset`, or paths and globs of files.
            output: a ``.jsonl`` or ``.parquet`` file to stream to, which appears whole or not at
                all; None: return a list.

        Returns:
            The predictions, one per row in order (a row that cannot be processed gives
            ``{"error": …}``), or the path of the file they were written to.

        Raises:
            DataError: the data cannot be read, or the output's ending is another.
            DlkError: a plugin refused, or failed where it changes rows or predictions.
        """
        if output is None:
            return list(self.stream(data))
        path = local_path(output)
        if not path.endswith((".jsonl", ".ndjson", ".parquet")):
            raise DataError(f"predictions are written as .jsonl or .parquet, got {path}")
        facts, counts = PredictFacts("predict", os.fspath(self.bundle.path), path), Counter[str]()
        with around("predict", facts, _outcome_of(counts)):
            write = _write_parquet if path.endswith(".parquet") else _write_lines
            write(path, self._answers(data, facts, counts))
        return path

    def stream(self, data: Any) -> Iterator[dict[str, Any]]:
        """Yield the predictions, one per row in order; memory stays flat however many there are."""
        facts, counts = PredictFacts("predict", os.fspath(self.bundle.path)), Counter[str]()
        with around("predict", facts, _outcome_of(counts)):
            yield from self._answers(data, facts, counts)

    def _answers(
        self, data: Any, facts: PredictFacts, counts: Counter[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the predictions, changed as plugins want them; count rows and those refused."""
        from dlk.data.inputs import open_input
        from dlk.inference import answer_of

        rows, predictions = Hook("dlk_change_rows"), Hook("dlk_change_predictions")
        for columns in open_input(data).chunks(self.engine.batch_size * 64):
            asked = change_rows(rows, columns, facts) if rows else columns
            found = self.engine.predict(asked)
            counts["rows"] += len(found)
            counts["refused"] += sum(isinstance(each, RowError) for each in found)
            answers = [answer_of(each) for each in found]
            yield from change_predictions(predictions, answers, facts) if predictions else answers

    def evaluate(self, data: Any) -> Evaluation:
        """Return the metrics on labelled data; the labels go through the steps of a test split.

        Args:
            data: as `run` takes it, with the columns of the training data.

        Raises:
            DataError: the data cannot be read, or a row is bad.
            ConfigError: a column is missing, such as that of the labels.
            DlkError: a plugin refused.
        """
        facts = PredictFacts("evaluate", os.fspath(self.bundle.path))
        done: dict[str, Any] = {}
        with around("predict", facts, lambda s, error: PredictOutcome(s, error, **done)):
            found, refused = self._evaluated(data)
            done |= {"rows": found.rows, "refused": refused, "metrics": found.metrics}
        return found

    def _evaluated(self, data: Any) -> tuple[Evaluation, int]:
        """Return the scores, and how many rows were left out."""
        import torch

        from dlk.context import Setup
        from dlk.data.meta import Meta
        from dlk.inference import infer, outputs_for, rows_of, to_device
        from dlk.registry import register

        engine = self.engine
        parts = self.bundle.parts()
        setup = Setup(meta=Meta.load(self.bundle.meta_dir), pretrained=False)
        processor = register.build(parts.process, setup)
        datamodule = register.build(parts.datamodule, setup)
        if hasattr(datamodule, "predict_batch_size"):
            datamodule.predict_batch_size = engine.batch_size
        metrics = engine.postprocessor.new_metrics()
        with tempfile.TemporaryDirectory(prefix="dlk-evaluate-") as folder:
            report = processor.transform({"test": data}, folder, stage="train")
            datamodule.open(folder)
            with torch.inference_mode():
                for batch in datamodule.loader("test") or ():
                    out = infer(engine.model, to_device(batch, engine.device))
                    wanted = outputs_for(engine.postprocessor, out)
                    rows = rows_of(datamodule, "test", batch["_index"], engine.postprocessor)
                    metrics.update(wanted, rows, engine.postprocessor.measured(wanted, rows))
        refused = report.rejects.get("test", 0)
        counted = report.rows.get("test", 0) - refused
        return Evaluation(metrics.compute(), metrics.table(), counted), refused


def _outcome_of(counts: Counter[str]) -> Callable[[float, str], PredictOutcome]:
    def outcome(seconds: float, error: str) -> PredictOutcome:
        return PredictOutcome(seconds, error, rows=counts["rows"], refused=counts["refused"])

    return outcome


def _write_lines(path: str, predictions: Iterator[dict[str, Any]]) -> None:
    from dlk.postprocessor._plain import plain

    with atomic_write(path) as handle:
        for prediction in predictions:
            handle.write(json.dumps(plain(prediction), ensure_ascii=False) + "\n")


def _write_parquet(path: str, predictions: Iterator[dict[str, Any]]) -> None:
    """Write one column per key; nested values become JSON text, so that all rows have one type.

    Which columns there are, and of which types, is known only once all rows were seen: they are
    gathered in Arrow files beside the output first.
    """
    import pyarrow.parquet as pq

    from dlk.data.store import SplitWriter, open_split

    beside = None if is_remote(path) else Path(path).absolute().parent
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".dlk-predict-", dir=beside) as folder:
        with SplitWriter(folder) as writer:
            for rows in _chunks(predictions, 4096):
                writer.write(_as_columns(rows))
        table = open_split(folder).table
        with (
            atomic_write(path, "wb") as handle,
            pq.ParquetWriter(handle, _without_null(table.schema)) as file,
        ):
            for batch in table.to_batches(4096):
                file.write_batch(batch.cast(_without_null(table.schema)))
        del table


def _as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    flat = [
        {
            key: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            for key, value in row.items()
        }
        for row in rows
    ]
    names = dict.fromkeys((*(name for row in flat for name in row), "error"))
    return {name: [row.get(name) for row in flat] for name in names}


def _without_null(schema: pa.Schema) -> pa.Schema:
    """Return the schema with text where a column holds nothing at all, as `error` should."""
    import pyarrow as pa

    return pa.schema([f if f.type != pa.null() else f.with_type(pa.string()) for f in schema])


def _chunks(items: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
