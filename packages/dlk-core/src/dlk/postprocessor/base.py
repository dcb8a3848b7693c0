"""What a postprocessor is: `decode` gives predictions, `Metrics` measures them while they stream.

Training's evaluation, prediction and serving call the same `decode`, so they cannot disagree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlk.errors import DlkError
from dlk.postprocessor._plain import plain

if TYPE_CHECKING:
    from torch import Tensor

    from dlk.config import Base
    from dlk.context import Setup

__all__ = ["Metrics", "NoMetrics", "Outputs", "Parts", "PostProcessor", "Prediction", "Row", "pick"]

Outputs = Mapping[str, "Tensor"]
Row = Mapping[str, object]
Prediction = dict[str, object]


class Metrics(ABC):
    """Scores of one evaluation, gathered batch by batch. Holds counts, not rows.

    Any split of the data over several objects, merged in any order, scores as one pass does.
    """

    @abstractmethod
    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        """Count one batch.

        Args:
            out: CPU tensors of the signature's reads, and of its targets where the batch has them;
                without targets nothing is counted.
            rows: one per record, each with `_row` and `_part`.
            decoded: what `decode` or `measured` gave for the same `out` and `rows`: one per
                distinct row.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the signature's metrics by name; {} where no row with a truth was counted."""

    @abstractmethod
    def state(self) -> dict[str, Any]:  # Any: plain numbers, strings, lists and dicts
        """Return what was counted as plain JSON."""

    @abstractmethod
    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add what another part of the data counted."""

    def table(self) -> list[dict[str, object]]:
        """Return rows of plain values to show beside the metrics (scores per class); may be []."""
        return []


class NoMetrics(Metrics):
    """Of a postprocessor that measures nothing."""

    def update(self, out: Outputs, rows: Sequence[Row], decoded: Sequence[Prediction]) -> None:
        """Count nothing."""

    def compute(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:  # Any: always empty
        return {}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: always empty
        """Add nothing."""


class PostProcessor(ABC):
    """Base of components that turn outputs into predictions; read-only once built.

    Attributes:
        searched: options of the config that validation is to find, such as a threshold; by default
            none. Until `Train` puts what was found in their place, their default holds.
    """

    searched: tuple[str, ...] = ()

    def __init__(self, config: Base, setup: Setup) -> None:
        self.config = config
        self.setup = setup

    def found(self, metrics: Metrics) -> dict[str, Any]:  # Any: values of options, as configs have
        """Return a value for each option of `searched`, as plain JSON.

        Args:
            metrics: of `new_metrics`, after the validation data.

        Raises:
            DlkError: the data says nothing of it.
        """
        return {}

    @abstractmethod
    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        """Return one prediction per distinct `_row`, in order of first appearance, as plain JSON.

        Pure and safe in threads: nothing is changed, and the same input gives the same result.

        Args:
            out: CPU tensors of the signature's reads, each with as many records as `rows`.
            rows: one per record: `_row`, `_part` and the signature's columns (absent ones missing).
        """

    def measured(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        """Return the predictions of `decode` as far as the metrics read them.

        Evaluation asks for these. Override it where `decode` makes much that no metric reads, such
        as a list of all labels.

        Args:
            out: as for `decode`.
            rows: as for `decode`.
        """
        return self.decode(out, rows)

    def prediction_schema(self) -> dict[str, Any] | None:  # Any: JSON
        """Return the JSON Schema that every prediction meets, for a bundle to tell its callers.

        None, which is the default: not said; the bundle then tells the form of its golden
        predictions, and that it is no more than that.
        """
        return None

    @abstractmethod
    def new_metrics(self) -> Metrics:
        """Return fresh metrics, so that validation, test and threads share nothing."""


class Parts:
    """Which records of a batch belong to which row: a long text becomes several records.

    Attributes:
        first: position of each distinct row's first record, rows in order of appearance.
        place: for each record, the position of its row in `first`.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        seen: dict[object, int] = {}
        self.first: list[int] = []
        self.place: list[int] = []
        for position, row in enumerate(rows):
            number = row["_row"]
            if number not in seen:
                seen[number] = len(self.first)
                self.first.append(position)
            self.place.append(seen[number])

    def __len__(self) -> int:
        return len(self.first)

    def first_of(self, values: Tensor) -> Tensor:
        """Return each row's first record: (records, …) -> (rows, …)."""
        return values if len(self.first) == len(self.place) else values[self.first]

    def mean(self, values: Tensor) -> Tensor:
        """Return each row's mean over its records: (records, …) float -> (rows, …).

        A row with one record keeps its exact values.
        """
        if len(self.first) == len(self.place):
            return values
        import torch

        place = torch.tensor(self.place)
        total = values.new_zeros((len(self.first), *values.shape[1:]))
        total.index_add_(0, place, values)
        counts = torch.bincount(place, minlength=len(self.first)).to(values.dtype)
        return total / counts.view(-1, *[1] * (values.ndim - 1))


def pick(out: Outputs, name: str, rows: Sequence[Row]) -> Tensor:
    """Return the output of that name, one record for each of `rows`.

    Raises:
        DlkError: there is no such output, or its first size is not the number of records.
    """
    if name not in out:
        there = ", ".join(sorted(out)) or "nothing"
        raise DlkError(
            f'the postprocessor reads the output "{name}", which the model did not write; '
            f"there is: {there}"
        )
    tensor = out[name]
    if tensor.ndim < 1 or len(tensor) != len(rows):
        raise DlkError(
            f'the output "{name}" must have one entry for each of the {len(rows)} records, '
            f"got shape {tuple(tensor.shape)}"
        )
    return tensor


def copy_columns(row: Row, names: Mapping[str, str]) -> Prediction:
    """Return {result key: value of that column} as plain JSON, without columns the row lacks."""
    return {key: plain(row[column]) for key, column in names.items() if column in row}


def clashes(keys: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the keys a config adds to a prediction that are already its own, in order."""
    own = set(taken)
    return [key for key in keys if key in own]
