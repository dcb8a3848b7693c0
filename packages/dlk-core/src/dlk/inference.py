"""From rows to predictions: the path that evaluation, `Predict` and `Server` share.

Imports neither Lightning nor a loader.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dlk.config import child, children, node_of
from dlk.context import Setup
from dlk.data.texts import flaw_in
from dlk.errors import ConfigError, DataError, DlkError, Problem, RowError, did_you_mean
from dlk.nn.base import Batch, merge
from dlk.postprocessor.base import PostProcessor, Prediction
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.module.packed_linear import Packing

__all__ = [
    "Columns",
    "Engine",
    "Parts",
    "Prepared",
    "RowFailedError",
    "answer_of",
    "as_failure",
    "at_least_one",
    "choose_device",
    "infer",
    "load_weights",
    "outputs_for",
    "raw_inputs",
    "renumbered",
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


def at_least_one(name: str, value: object) -> int:
    """Return a whole number of at least 1, as Python's own; one beyond any size is the largest.

    Raises:
        TypeError: it is no whole number; a claim (`True`) is none.
        ValueError: it is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is a whole number of at least 1, got {value!r}")
    number = int(value)
    if number < 1:  # Python prints no number of thousands of digits
        shown = number if number > -(10**100) else "one far below"
        raise ValueError(f"{name} is at least 1, got {shown}")
    return min(number, sys.maxsize)


def is_claimed(name: str, value: object) -> bool:
    """Return a truth value; a text such as "false" would count as true.

    Raises:
        TypeError: it is neither `True` nor `False`.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} is True or False, got {type(value).__name__}")


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device, once it is known to work here; "auto" is CUDA's first, else the CPU.

    Raises:
        DlkError: there is no such kind of device, or none on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        found = torch.device(name)
    except (RuntimeError, AssertionError, TypeError) as error:  # asserted: torch without CUDA
        reason = str(error).splitlines()[0]
        raise DlkError(f'the device "{name}" cannot be used here: {reason}') from error
    if found.type == "meta":
        raise DlkError('the device "meta" holds no numbers: name cpu, cuda or auto')
    return found


def outputs_for(
    postprocessor: PostProcessor, out: Batch, signature: Any = None
) -> dict[str, Tensor]:
    """Return what a postprocessor reads, on the CPU; targets only where the batch has them.

    Args:
        postprocessor: what reads.
        out: what the model was given and wrote.
        signature: the postprocessor's, where it is known already.

    Raises:
        DlkError: the model did not write an output that the postprocessor reads.
    """
    if signature is None:
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


Columns = dict[str, list[Any]]

_SORTED_FROM = 8
"""Calls of so many full batches and more are cut by length, shorter ones in the order given."""


class RowFailedError(RowError):
    """A row on which a component failed for a reason of its own; `__cause__` says which."""

    def __init__(self, row: int, column: str, value: object, reason: str) -> None:
        super().__init__(row, column, value, reason)
        self.args = (f"row {row}: {reason}",)

    @classmethod
    def of(cls, row: int, error: Exception) -> RowFailedError:
        """Return the failure of a row by what was raised."""
        failed = cls(row, "", None, f"it cannot be answered: {type(error).__name__}: {error}")
        failed.__cause__ = error
        return failed


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of the rows of a call, ready for the model.

    Attributes:
        given: the columns that somebody reads, as they were given.
        size: rows given.
        records: columns of all good rows' records, with `_row`; a row's stand together.
        errors: the bad rows.
    """

    given: Mapping[str, Sequence[Any]]
    size: int
    records: Columns
    errors: dict[int, RowError]

    def groups(self) -> list[list[int]]:
        """Return the positions of each row's records, in order."""
        found: list[list[int]] = []
        last: Any = None
        for position, row in enumerate(self.records.get("_row", ())):
            if not found or row != last:
                found.append([])
            found[-1].append(position)
            last = row
        return found


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
        max_chars: characters that the columns of a row may hold together; a longer row is a bad
            one. None: any number.
    """

    processor: Any
    datamodule: Any
    model: nn.Module
    postprocessor: PostProcessor
    batch_size: int
    device: torch.device
    inputs: tuple[str, ...]
    max_chars: int | None = None
    _known: Any = field(default=None, init=False, repr=False)

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
            device: where to run; "auto": as `choose_device`.
            batch_size: records per forward pass; None: the datamodule's `predict_batch_size`.

        Raises:
            DlkError: the device cannot be used, or the weights do not fit.
        """
        if batch_size is not None:
            batch_size = at_least_one("batch_size", batch_size)
        place = choose_device(device)
        postprocessor: PostProcessor = register.build(parts.postprocessor, setup)
        _refuse_searched(postprocessor)
        model: nn.Module = register.build(parts.model, setup)
        load_weights(model, state)
        model.to(place).eval()
        return cls(
            processor=register.build(parts.process, setup, stage="online"),
            datamodule=register.build(parts.datamodule, setup),
            model=model,
            postprocessor=postprocessor,
            batch_size=batch_size or int(getattr(parts.datamodule, "predict_batch_size", 32)),
            device=place,
            inputs=tuple(inputs),
        )

    def pack(self) -> Packing:
        """Keep packed copies of the weights of linear layers where that is faster; see `pack`."""
        from dlk.nn.module.packed_linear import pack

        return pack(self.model)

    @property
    def signature(self) -> Any:  # Any: a `Signature`, which mypy cannot see through a config
        """What the postprocessor reads; made once."""
        if self._known is None:
            self._known = self.postprocessor.config.signature()
        return self._known

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> list[Prediction | RowError]:
        """Return one prediction per row, in order; a bad row gives its `RowError` in its place.

        A row on which a component fails is a bad one too (`RowFailedError`), and the others of its
        batch are answered alone. A call of many batches is cut into batches of rows of like length.

        Args:
            columns: raw columns of equal length. Those that nobody reads may hold anything.

        Raises:
            DataError: a column is missing, or columns differ in length.
            Exception: what a component raised, where it failed on every row of the call.
        """
        prepared = self.prepare(columns)
        records = prepared.records
        answers: dict[int, Prediction | RowError] = {}
        raised: list[Exception] = []
        for positions in self._batches(records):
            is_all = len(positions) == len(records["_row"])
            answers.update(
                self._answered(records if is_all else _taken(records, positions), raised)
            )
        return self.finish(prepared, answers, raised)

    def prepare(self, columns: Mapping[str, Sequence[Any]]) -> Prepared:
        """Return the records of a call's rows, and the rows that cannot be processed.

        Raises:
            DataError: a column is missing, or columns differ in length.
        """
        size = len(next(iter(columns.values()))) if columns else 0
        if not size:
            return Prepared({}, 0, {}, {})
        given = self._read_only(columns)
        errors: dict[int, RowError] = {}
        if self.max_chars is not None:
            errors = dict(_too_long(given, size, self.max_chars))
        rows = [row for row in range(size) if row not in errors] if errors else range(size)
        records, bad = self._online(given, rows) if rows else ({}, {})
        return Prepared(given, size, records, errors | bad)

    def finish(
        self,
        prepared: Prepared,
        answers: Mapping[int, Prediction | RowError],
        raised: Sequence[Exception] = (),
    ) -> list[Prediction | RowError]:
        """Return a call's answers in the order of its rows.

        Args:
            prepared: what `prepare` made of the call.
            answers: those of its records, by row.
            raised: what its batches raised as a whole.

        Raises:
            DlkError: a row has none.
            Exception: what a component raised, where it failed on every row.
        """
        found = {**prepared.errors, **answers}
        for name in self.signature.columns if prepared.size else ():
            for row, value in enumerate(prepared.given.get(name, ())):
                if flaw := flaw_in(value):  # no file could hold a prediction that copies it
                    found[row] = RowError(row, name, value, flaw)
        failed = [each for each in found.values() if isinstance(each, RowFailedError)]
        if failed and len(failed) == prepared.size:
            raise raised[0] if raised else failed[0].__cause__ or failed[0]
        if len(found) < prepared.size:
            lost = next(row for row in range(prepared.size) if row not in found)
            raise DlkError(
                f"row {lost} got no prediction: the postprocessor gave fewer than one per row"
            )
        return [found[row] for row in range(prepared.size)]

    def answer(self, rows: Sequence[Columns]) -> list[Prediction | RowError]:
        """Return a prediction for each of some rows, taken from any calls, in one batch.

        Args:
            rows: the records of each row, all with the same columns.
        """
        joined: Columns = {
            name: [value for row in rows for value in row[name]]
            for name in rows[0]
            if name != "_row"
        }
        joined["_row"] = [number for number, row in enumerate(rows) for _ in row["_row"]]
        found = dict(self._answered(joined, []))
        return [found[number] for number in range(len(rows))]

    def _read_only(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns that somebody reads: others could be taken for made ones."""
        for name in self.inputs:
            if name not in columns:
                raise DataError(
                    f'the column "{name}" is missing. {did_you_mean(name, columns)}'.rstrip()
                )
        wanted = {*self.inputs, *self.signature.columns}
        return {
            name: list(values)
            for name, values in columns.items()
            if not self.inputs or name in wanted
        }

    def _online(self, given: Columns, rows: Sequence[int]) -> tuple[Columns, dict[int, RowError]]:
        """Return the records of some rows, and those that are bad, by their numbers in the call."""
        is_all = len(rows) == len(next(iter(given.values())))
        try:
            online = self.processor.online(given if is_all else _taken(given, rows))
        except BaseException as raised:  # noqa: BLE001 - a component may raise anything, for one row
            error = as_failure(raised)
            if len(rows) == 1:
                return {}, {rows[0]: RowFailedError.of(rows[0], error)}
            if isinstance(error, DataError) and not isinstance(error, RowError):
                self._refuse_call(given, (rows[0], rows[-1]))
            parts = [self._online(given, [row]) for row in rows]
            made = [records for records, _ in parts if records]
            joined = (
                {name: [v for each in made for v in each[name]] for name in made[0]} if made else {}
            )
            return joined, {row: error for _, bad in parts for row, error in bad.items()}
        if is_all:
            return online.columns, dict(online.errors)
        records = {**online.columns, "_row": [rows[n] for n in online.columns["_row"]]}
        return records, {rows[n]: renumbered(bad, rows[n]) for n, bad in online.errors.items()}

    def _refuse_call(self, given: Columns, rows: Sequence[int]) -> None:
        """Raise what is wrong with a call rather than with a row: each of these fails alone too."""
        failures = []
        for row in rows:
            try:
                self.processor.online(_taken(given, [row]))
            except DataError as error:
                failures.append(error)
        if len(failures) == len(rows):
            raise failures[0]

    def _answered(
        self, records: Columns, raised: list[Exception]
    ) -> list[tuple[int, Prediction | RowError]]:
        """Return (row, answer) for the records of one batch; a row that fails does so alone.

        What the batch raises is added to `raised`.
        """
        try:
            return list(self.predict_records(records))
        except BaseException as thrown:  # noqa: BLE001 - as above
            error = as_failure(thrown)
            groups = Prepared({}, 0, records, {}).groups()
            if len(groups) == 1:
                row = int(records["_row"][0])
                return [(row, RowFailedError.of(row, error))]
            raised.append(error)
        return [each for group in groups for each in self._answered(_taken(records, group), [])]

    def predict_records(self, records: Mapping[str, list[Any]]) -> list[tuple[int, Prediction]]:
        """Return (row, prediction) for the records of one batch."""
        batch = to_device(self.datamodule.batch(records), self.device)
        signature = self.signature
        numbers = records["_row"]
        with torch.inference_mode():
            wanted = outputs_for(self.postprocessor, infer(self.model, batch), signature)
            there = [name for name in ("_row", "_part", *signature.columns) if name in records]
            rows: list[dict[str, Any]] = [
                {"_part": 0, **{column: records[column][position] for column in there}}
                for position in range(len(numbers))
            ]
            decoded = self.postprocessor.decode(wanted, rows)
        order = list(dict.fromkeys(map(int, numbers)))
        if len(order) != len(decoded):
            raise DlkError(
                f"the postprocessor gave {len(decoded)} predictions for {len(order)} rows"
            )
        return list(zip(order, decoded, strict=True))

    def lengths_of(self, records: Mapping[str, Sequence[Any]]) -> list[int]:
        """Return how long each record is: the items of its lists, which is what padding goes by.

        Of the datamodule's `length_columns`, or of all that hold lists.
        """
        chosen = getattr(self.datamodule, "length_columns", ())
        names = [name for name in chosen if name in records] or records.keys() - {"_row", "_part"}
        total = [0] * len(records["_row"])
        for name in names:
            for position, value in enumerate(records[name]):
                if isinstance(value, list | tuple):
                    total[position] += len(value)
        return total

    def _batches(self, columns: Mapping[str, list[Any]]) -> Iterator[list[int]]:
        """Yield positions of records, `batch_size` at a time; the records of a row stay together.

        A call of few batches is cut in the order given, as the loaders cut evaluation data, so that
        the same rows meet in the same batch. A call of many is cut by length, the longest rows
        first, so that little is padded.
        """
        groups = Prepared({}, 0, dict(columns), {}).groups()
        if len(columns.get("_row", ())) >= _SORTED_FROM * self.batch_size:
            lengths = self.lengths_of(columns)
            groups.sort(key=lambda group: -max(lengths[position] for position in group))
        batch: list[int] = []
        for group in groups:
            if batch and len(batch) + len(group) > self.batch_size:
                yield batch
                batch = []
            batch.extend(group)
        if batch:
            yield batch


def as_failure(raised: BaseException) -> Exception:
    """Return what a component raised; what is meant for the process is raised again.

    A panic of a library in Rust (a tokenizer whose pattern tries too much on one text, say) is no
    `Exception`, and yet about one row.
    """
    if isinstance(raised, Exception):
        return raised
    if type(raised).__module__ != "pyo3_runtime":
        raise raised
    error = DlkError(f"{type(raised).__name__}: {raised}")
    error.__cause__ = raised
    return error


def _taken(columns: Mapping[str, Sequence[Any]], positions: Sequence[int]) -> Columns:
    return {name: [values[at] for at in positions] for name, values in columns.items()}


def renumbered(error: RowError, row: int) -> RowError:
    """Return the error of a row that has another number in the call."""
    other = type(error)(row, error.column, error.value, error.reason)
    other.where, other.__cause__ = error.where, error.__cause__
    return other


def _too_long(given: Columns, size: int, limit: int) -> Iterator[tuple[int, RowError]]:
    """Yield the rows of more than so many characters; a value that is no text counts one."""
    for row in range(size):
        left = limit
        for name, values in given.items():
            left -= _extent(values[row], left)
            if left < 0:
                reason = f"the row holds more than {limit:,} characters or values: cut it"
                yield row, RowError(row, name, _head(values[row]), reason)
                break


def _extent(value: Any, limit: int) -> int:
    """Return how many characters and values a value holds, or, beyond the limit, more than that."""
    if isinstance(value, str):
        return len(value)
    found, waiting = 0, [value]
    while waiting and found <= limit:
        each = waiting.pop()
        found += len(each) if isinstance(each, str) else 1
        if isinstance(each, Mapping):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            if len(each) > limit:
                return len(each)
            waiting += each
    return found


def _head(value: Any) -> Any:
    """Return what is shown of a value that is too long."""
    return f"{value[:80]}…" if isinstance(value, str) else f"a {type(value).__name__}"


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
