"""From rows to predictions: the one path that evaluation, `Predict` and `Server` share. No Lightning, no loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from dlk.config import child
from dlk.config._intc import IntcBase
from dlk.context import Setup
from dlk.errors import DlkError, RowError
from dlk.nn.base import Batch, merge
from dlk.postprocessor.base import PostProcessor
from dlk.registry import register

__all__ = ["Engine", "infer", "outputs_for", "rows_of"]


def infer(model: nn.Module, batch: Mapping[str, Tensor]) -> Batch:
    """Return the batch merged with what the model's `forward` and `predict` write."""
    x: Batch = MappingProxyType(dict(batch))
    out = merge(x, model(x), writer=model)
    return merge(out, model.predict(out), writer=model)  # type: ignore[operator]  # dlk's modules have predict


def outputs_for(postprocessor: PostProcessor, out: Batch) -> dict[str, Tensor]:
    """Return what a postprocessor reads, on the CPU; targets only where the batch has them.

    Raises:
        DlkError: the model did not write an output that the postprocessor reads.
    """
    signature = postprocessor.config.signature()
    missing = [name for name in signature.reads if name not in out]
    if missing:
        raise DlkError(
            f"the postprocessor reads {', '.join(missing)}, which the model did not write; there is: {', '.join(sorted(out))}"
        )
    wanted = [*signature.reads, *(name for name in signature.targets if name in out)]
    return {name: out[name].detach().to("cpu") for name in wanted}


def rows_of(datamodule: Any, split: str, index: Tensor, postprocessor: PostProcessor) -> Sequence[Mapping[str, object]]:
    """Return `_row`, `_part` and the postprocessor's columns for the records of a batch."""
    numbers = index.tolist()
    opened = datamodule.split(split) if datamodule is not None and hasattr(datamodule, "split") else None
    if opened is None:
        return [{"_row": number, "_part": 0} for number in numbers]
    wanted = [c for c in ("_row", "_part", *postprocessor.config.signature().columns) if c in opened.column_names]
    rows: list[dict[str, object]] = opened.rows(numbers, wanted)
    return [{"_row": number, "_part": 0, **row} for number, row in zip(numbers, rows, strict=True)]


@dataclass(slots=True)
class Engine:
    """Everything between a raw row and its prediction; read-only once built, and safe in threads.

    Attributes:
        processor: the online preprocessing.
        datamodule: its collate makes batches.
        model: in evaluation mode.
        postprocessor: gives the predictions.
        batch_size: records per forward pass, at most.
        device: where the model is.
    """

    processor: Any
    datamodule: Any
    model: nn.Module
    postprocessor: PostProcessor
    batch_size: int
    device: torch.device

    @classmethod
    def build(
        cls,
        process: IntcBase,
        fit: IntcBase,
        state: Mapping[str, Tensor],
        setup: Setup,
        *,
        device: str | torch.device = "cpu",
        batch_size: int | None = None,
    ) -> Engine:
        """Build the parts from their configs and load the weights.

        Args:
            process: config object of the processor.
            fit: config object of the fit root.
            state: the model's weights; every one must fit.
            setup: meta of the processed data; `pretrained` false.
            device: where to run.
            batch_size: records per forward pass; None: the datamodule's `predict_batch_size`.
        """
        imodel = child(fit, "imodel")
        data_config = child(fit, "datamodule")
        model: nn.Module = register.build_child(imodel, "model", setup)
        load_weights(model, state)
        model.to(device).eval()
        return cls(
            processor=register.build(process, setup, stage="online"),
            datamodule=register.build(data_config, setup),
            model=model,
            postprocessor=register.build_child(imodel, "postprocessor", setup),
            batch_size=batch_size or int(getattr(data_config, "predict_batch_size", 32)),
            device=torch.device(device),
        )

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any] | RowError]:
        """Return one prediction per row, in order; a row that cannot be processed gives its `RowError` there.

        Args:
            columns: raw columns of equal length.
        """
        rows = len(next(iter(columns.values()))) if columns else 0
        online = self.processor.online({name: list(values) for name, values in columns.items()})
        answers: list[dict[str, Any] | RowError | None] = [None] * rows
        for number, error in online.errors.items():
            answers[number] = error
        for positions in self._batches(online.columns):
            records = {name: [values[p] for p in positions] for name, values in online.columns.items()}
            for number, prediction in self.predict_records(records):
                answers[number] = prediction
        missing = [number for number, answer in enumerate(answers) if answer is None]
        if missing:
            raise DlkError(f"row {missing[0]} got no prediction: the postprocessor gave fewer than one per row")
        return [answer for answer in answers if answer is not None]

    def predict_records(self, records: Mapping[str, list[Any]]) -> list[tuple[int, dict[str, Any]]]:
        """Return (row, prediction) for the records of one batch."""
        batch = {n: t if n == "_index" else t.to(self.device) for n, t in self.datamodule.batch(records).items()}
        with torch.inference_mode():
            wanted = outputs_for(self.postprocessor, infer(self.model, batch))
            columns = [c for c in ("_row", "_part", *self.postprocessor.config.signature().columns) if c in records]
            count = len(records["_row"])
            rows: list[dict[str, Any]] = [{"_part": 0, **{c: records[c][i] for c in columns}} for i in range(count)]
            decoded = self.postprocessor.decode(wanted, rows)
        order = list(dict.fromkeys(int(row["_row"]) for row in rows))
        return list(zip(order, decoded, strict=True))

    def _batches(self, columns: Mapping[str, list[Any]]) -> Iterator[list[int]]:
        """Yield positions of records, `batch_size` at a time; the records of one row stay together."""
        numbers = columns.get("_row", [])
        batch: list[int] = []
        start = 0
        while start < len(numbers):
            end = start
            while end < len(numbers) and numbers[end] == numbers[start]:
                end += 1
            if batch and len(batch) + end - start > self.batch_size:
                yield batch
                batch = []
            batch.extend(range(start, end))
            start = end
        if batch:
            yield batch


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights into a model; every weight must be there and fit.

    Raises:
        DlkError: names or shapes disagree; the message lists them.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys())
    shapes = [
        f"{name}: the model has {tuple(own[name].shape)}, the file {tuple(state[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{what}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
            for what, names in (("not in the file", missing), ("not in the model", extra), ("other shapes", shapes))
            if names
        ]
        raise DlkError(f"the weights do not fit the model. {'; '.join(parts)}")
    model.load_state_dict(dict(state))
