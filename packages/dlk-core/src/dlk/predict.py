"""`Predict`: a bundle over any amount of data, chunk by chunk, and its scores on labelled data."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlk.errors import DataError, RowError
from dlk.io import atomic_write

if TYPE_CHECKING:
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
        bundle: folder of the bundle.
        device: where to run, such as ``cpu`` or ``cuda:0``.
        batch_size: records per forward pass, at most; None: as configured.
        src: folders with project-local components that the bundle needs.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        src: Sequence[str] = (),
    ) -> None:
        from dlk.bundle.read import Bundle

        self.bundle = Bundle(bundle, src=src)
        self.engine: Engine = self.bundle.engine(device=device, batch_size=batch_size)

    def run(self, data: Any, output: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | str:
        """Predict all rows.

        Args:
            data: a DataFrame, columns, rows, a `datasets.Dataset`, or paths and globs of files.
            output: a ``.jsonl`` or ``.parquet`` file to stream to, which appears whole or not at all; None: return a list.

        Returns:
            The predictions, one per row in order (a row that cannot be processed gives ``{"error": …}``), or the path
            of the file they were written to.

        Raises:
            DataError: the data cannot be read, or the output's ending is another.
        """
        predictions = self.stream(data)
        if output is None:
            return list(predictions)
        path = os.fspath(output)
        if path.endswith((".jsonl", ".ndjson")):
            with atomic_write(path) as handle:
                for prediction in predictions:
                    handle.write(json.dumps(prediction, ensure_ascii=False) + "\n")
        elif path.endswith(".parquet"):
            _write_parquet(path, predictions)
        else:
            raise DataError(f"predictions are written as .jsonl or .parquet, got {path}")
        return path

    def stream(self, data: Any) -> Iterator[dict[str, Any]]:
        """Yield the predictions, one per row in order; memory stays flat however many rows there are."""
        from dlk.data.inputs import open_input

        for columns in open_input(data).chunks(self.engine.batch_size * 64):
            for answer in self.engine.predict(columns):
                if isinstance(answer, RowError):
                    yield {"error": {"column": answer.column, "reason": answer.reason}}
                else:
                    yield answer

    def evaluate(self, data: Any) -> Evaluation:
        """Return the metrics on labelled data; the labels go through the steps of a test split.

        Args:
            data: as `run` takes it, with the columns of the training data.
        """
        from dlk.config import child
        from dlk.context import Setup
        from dlk.data.meta import Meta
        from dlk.inference import infer, outputs_for, rows_of
        from dlk.registry import register

        process, fit = self.bundle.configs()
        setup = Setup(meta=Meta.load(self.bundle.path / "meta"), pretrained=False)
        processor = register.build(process, setup)
        datamodule = register.build(child(fit, "datamodule"), setup)
        metrics = self.engine.postprocessor.new_metrics()
        rows = 0
        import torch

        with tempfile.TemporaryDirectory(prefix="dlk-evaluate-") as folder:
            report = processor.transform({"test": data}, folder, stage="train")
            datamodule.open(folder)
            loader = datamodule.loader("test")
            with torch.inference_mode():
                for batch in loader or ():
                    moved: Mapping[str, Any] = {
                        n: t if n == "_index" else t.to(self.engine.device) for n, t in batch.items()
                    }
                    wanted = outputs_for(self.engine.postprocessor, infer(self.engine.model, moved))
                    found = rows_of(datamodule, "test", batch["_index"], self.engine.postprocessor)
                    metrics.update(wanted, found, self.engine.postprocessor.decode(wanted, found))
            rows = report.rows["test"] - report.rejects["test"]
        return Evaluation(metrics.compute(), metrics.table(), rows)


def _write_parquet(path: str, predictions: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_write(path, "wb") as handle:
        writer: pq.ParquetWriter | None = None
        for rows in _chunks(predictions, 4096):
            table = pa.Table.from_pylist([_flat(row) for row in rows])
            if writer is None:
                writer = pq.ParquetWriter(handle, table.schema)
            writer.write_table(table.select(writer.schema.names) if table.schema != writer.schema else table)
        if writer is None:
            pq.write_table(pa.table({}), handle)
        else:
            writer.close()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Keep scalars as columns and everything nested as JSON text, so that every chunk has the same types."""
    plain = {k: v for k, v in row.items() if not isinstance(v, (dict, list))}
    nested = {k: json.dumps(v, ensure_ascii=False) for k, v in row.items() if isinstance(v, (dict, list))}
    return {**plain, **nested, "error": nested.get("error")}


def _chunks(items: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
