"""From rows to predictions: the path that evaluation, `Predict` and `Server` share.

Imports neither Lightning nor a loader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dlk.config import child, children, node_of
from dlk.context import Setup
from dlk.data.texts import flaw_in
from dlk.errors import ConfigError, DataError, DlkError, Problem, RowError, did_you_mean
from dlk.nn.base import Batch, merge
from dlk.postprocessor.base import PostProcessor, Prediction
from dlk.registry import register

__all__ = [
    "Engine",
    "Parts",
    "answer_of",
    "infer",
    "load_weights",
    "outputs_for",
    "raw_inputs",
    "rows_of",
    "to_device",
]


class _Model(Protocol):
    """What is asked of a model here; `nn.Module` alone promises no `predict`."""

    def __call__(self, x: Batch) -> dict[str, Tensor]: ...

    def predict(self, x: Batch) -> dict[str, Tensor]: ...


def infer(model: Any, batch: Mapping[str, Tensor]) -> Batch:
    """Return the batch merged with what the model's `forward` and `predict` write."""
    x: Batch = MappingProxyType(dict(batch))
    return add_prediction(model, merge(x, model(x), writer=model))


def add_prediction(model: Any, out: Batch) -> Batch:
    """Return the result of `forward` merged with what the model's `predict` makes of it."""
    predicts: _Model = model
    return merge(out, predicts.predict(out), writer=model)


def to_device(batch: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    """Move a batch; the numbers of its records stay where they are needed, on the CPU."""
    return {
        name: tensor if name == "_index" else tensor.to(device, non_blocking=True)
        for name, tensor in batch.items()
    }


def outputs_for(postprocessor: PostProcessor, out: Batch) -> dict[str, Tensor]:
    """Return what a postprocessor reads, on the CPU; targets only where the batch has them.

    Raises:
        DlkError: the model did not write an output that the postprocessor reads.
    """
    signature = postprocessor.config.signature()
    missing = [name for name in signature.reads if name not in out]
    if missing:
        raise DlkError(
            f"the postprocessor reads {', '.join(missing)}, which the model did not write; "
            f"there is: {', '.join(sorted(out))}"
        )
    wanted = [*signature.reads, *(name for name in signature.targets if name in out)]
    return {name: out[name].detach().to("cpu") for name in wanted}


def rows_of(
    datamodule: Any, split: str, index: Tensor, postprocessor: PostProcessor
) -> Sequence[Mapping[str, object]]:
    """Return `_row`, `_part` and the postprocessor's columns for the records of a batch."""
    numbers = index.tolist()
    opened = datamodule.split(split) if hasattr(datamodule, "split") else None
    if opened is None:
        return [{"_row": number, "_part": 0} for number in numbers]
    columns = ("_row", "_part", *postprocessor.config.signature().columns)
    wanted = [column for column in columns if column in opened.column_names]
    rows: list[dict[str, object]] = opened.rows(numbers, wanted)
    return [{"_row": number, "_part": 0, **row} for number, row in zip(numbers, rows, strict=True)]


@dataclass(frozen=True, slots=True)
class Parts:
    """The config objects of what predicting needs; how the model was trained is not among them."""

    process: Any
    datamodule: Any
    model: Any
    postprocessor: Any

    @classmethod
    def of(cls, process: Any, fit: Any) -> Parts:
        """Take the parts out of a processor's and a fit root's config.

        Raises:
            ConfigError: the imodel has no model or no postprocessor of its own to predict with.
        """
        imodel = child(fit, "imodel")
        model, postprocessor = child(imodel, "model"), child(imodel, "postprocessor")
        if model is None or postprocessor is None:
            lacking = "model" if model is None else "postprocessor"
            reason = f'predicting needs a "@{lacking}" below the imodel, and there is none'
            raise ConfigError([Problem(node_of(imodel).path, reason)])
        return cls(process, child(fit, "datamodule"), model, postprocessor)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.process, self.datamodule, self.model, self.postprocessor))


def raw_inputs(process: Any, fit: Any) -> tuple[str, ...]:
    """Return the raw columns that a row to predict must have.

    These are the columns that the online steps read and none of them writes, and those that go
    into batches as they are; truths are not among them. Of a processor that is not made of steps,
    they are what its signature says it reads; none where it says nothing.
    """
    steps = children(process, "subprocessor")
    if not steps:
        return tuple(dict.fromkeys(process.signature().reads))
    wanted: dict[str, None] = {}
    made: set[str] = set()
    for name in process.order() if hasattr(process, "order") else steps:
        signature = steps[name].signature()
        if "online" in getattr(steps[name], "online_data_set", ("online",)):
            wanted.update(dict.fromkeys(c for c in signature.reads if c not in made))
            made.update(signature.writes)
    written = {name for step in steps.values() for name in step.signature().writes}
    truths = {name for part in _below(child(fit, "imodel")) for name in part.signature().targets}
    plain = child(fit, "datamodule").signature().reads
    wanted.update(dict.fromkeys(c for c in plain if c not in written | truths | {"_index"}))
    return tuple(wanted)


def _below(config: Any) -> Iterator[Any]:
    for part in node_of(config).children.values():
        if hasattr(part, "signature"):
            yield part
        yield from _below(part)


@dataclass(slots=True)
class Engine:
    """Everything between a raw row and its prediction; read-only once built, and safe in threads.

    Attributes:
        processor: the online preprocessing.
        datamodule: its collate makes batches.
        model: in evaluation mode.
        postprocessor: gives the predictions.
        batch_size: records per forward pass, at most (the records of one row stay together).
        device: where the model is.
        inputs: raw columns that each row must have; () where the processor does not say.
    """

    processor: Any
    datamodule: Any
    model: nn.Module
    postprocessor: PostProcessor
    batch_size: int
    device: torch.device
    inputs: tuple[str, ...]

    @classmethod
    def build(
        cls,
        parts: Parts,
        state: Mapping[str, Tensor],
        setup: Setup,
        *,
        inputs: Sequence[str] = (),
        device: str | torch.device = "cpu",
        batch_size: int | None = None,
    ) -> Engine:
        """Build the parts from their configs and load the weights.

        Args:
            parts: the configs.
            state: the model's weights; every one must fit.
            setup: meta of the processed data; `pretrained` false.
            inputs: raw columns that each row must have, as `raw_inputs` gives them.
            device: where to run.
            batch_size: records per forward pass; None: the datamodule's `predict_batch_size`.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is at least 1, got {batch_size}")
        postprocessor: PostProcessor = register.build(parts.postprocessor, setup)
        _refuse_searched(postprocessor)
        model: nn.Module = register.build(parts.model, setup)
        load_weights(model, state)
        model.to(device).eval()
        return cls(
            processor=register.build(parts.process, setup, stage="online"),
            datamodule=register.build(parts.datamodule, setup),
            model=model,
            postprocessor=postprocessor,
            batch_size=batch_size or int(getattr(parts.datamodule, "predict_batch_size", 32)),
            device=torch.device(device),
            inputs=tuple(inputs),
        )

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> list[Prediction | RowError]:
        """Return one prediction per row, in order; a bad row gives its `RowError` in its place.

        Args:
            columns: raw columns of equal length. Those that nobody reads may hold anything.

        Raises:
            DataError: a column is missing, or columns differ in length.
        """
        rows = len(next(iter(columns.values()))) if columns else 0
        if not rows:
            return []
        online = self.processor.online(self._read_only(columns))
        answers: list[Prediction | RowError | None] = [None] * rows
        for number, error in online.errors.items():
            answers[number] = error
        for positions in self._batches(online.columns):
            records = {
                name: [values[position] for position in positions]
                for name, values in online.columns.items()
            }
            for number, prediction in self.predict_records(records):
                answers[number] = prediction
        for name in self.postprocessor.config.signature().columns:
            for number, value in enumerate(columns.get(name, ())):
                if flaw := flaw_in(value):  # no file could hold a prediction that copies it
                    answers[number] = RowError(number, name, value, flaw)
        found = [answer for answer in answers if answer is not None]
        if len(found) < rows:
            raise DlkError(
                f"row {answers.index(None)} got no prediction: "
                "the postprocessor gave fewer than one per row"
            )
        return found

    def _read_only(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns that somebody reads: others could be taken for made ones."""
        for name in self.inputs:
            if name not in columns:
                raise DataError(
                    f'the column "{name}" is missing. {did_you_mean(name, columns)}'.rstrip()
                )
        wanted = {*self.inputs, *self.postprocessor.config.signature().columns}
        return {
            name: list(values)
            for name, values in columns.items()
            if not self.inputs or name in wanted
        }

    def predict_records(self, records: Mapping[str, list[Any]]) -> list[tuple[int, Prediction]]:
        """Return (row, prediction) for the records of one batch."""
        batch = to_device(self.datamodule.batch(records), self.device)
        with torch.inference_mode():
            wanted = outputs_for(self.postprocessor, infer(self.model, batch))
            columns = ("_row", "_part", *self.postprocessor.config.signature().columns)
            there = [column for column in columns if column in records]
            rows: list[dict[str, Any]] = [
                {"_part": 0, **{column: records[column][position] for column in there}}
                for position in range(len(records["_row"]))
            ]
            decoded = self.postprocessor.decode(wanted, rows)
        order = list(dict.fromkeys(int(row["_row"]) for row in rows))
        if len(order) != len(decoded):
            raise DlkError(
                f"the postprocessor gave {len(decoded)} predictions for {len(order)} rows"
            )
        return list(zip(order, decoded, strict=True))

    def _batches(self, columns: Mapping[str, list[Any]]) -> Iterator[list[int]]:
        """Yield positions of records, `batch_size` at a time; the records of a row stay together.

        Cut as the loaders cut evaluation data, so that the same rows meet in the same batch.
        """
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


def _refuse_searched(postprocessor: PostProcessor) -> None:
    path = node_of(postprocessor.config).path
    message = (
        "validation is still to find it: predict with a run's bundle, which holds what was found, "
        "or give a value"
    )
    problems = [Problem(f"{path}.{name}", message) for name in postprocessor.searched]
    if problems:
        raise ConfigError(problems)


def answer_of(result: Prediction | RowError) -> Prediction:
    """Return a prediction as it is, and a bad row as what is wrong with it."""
    if isinstance(result, RowError):
        return {"error": {"column": result.column, "reason": result.reason}}
    return result


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
            for what, names in (
                ("not in the file", missing),
                ("not in the model", extra),
                ("other shapes", shapes),
            )
            if names
        ]
        raise DlkError(f"the weights do not fit the model. {'; '.join(parts)}")
    model.load_state_dict(dict(state))
