"""The base of all imodels: what trainer and bundle need of a Lightning module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn

from dlk.config import node_of
from dlk.errors import RunError
from dlk.nn.base import Batch
from dlk.postprocessor.base import Metrics, PostProcessor

__all__ = ["IModel"]


class IModel(pl.LightningModule, ABC):
    """A Lightning module with a model and a postprocessor, fed by dlk's datamodules.

    Attributes:
        model: what a bundle saves.
        postprocessor: what turns outputs into predictions and metrics.
        datamodule: where raw columns of evaluated rows come from; set by the trainer.
        history: for each evaluation the step it was made at, and its metrics.
        metrics: what the newest evaluation counted.
        found: what the newest validation found for the postprocessor's searched options, by name.
        table: details of the newest evaluation, such as scores per class.
        shown: values for the progress bar, refreshed when they are logged.
    """

    model: nn.Module
    postprocessor: PostProcessor

    def __init__(self) -> None:
        super().__init__()
        self.datamodule: Any = None
        self.history: list[dict[str, Any]] = []
        self.metrics: Metrics | None = None
        self.found: dict[str, Any] = {}  # Any: values of options, as configs have
        self.table: list[dict[str, object]] = []
        self.shown: dict[str, float] = {}

    def find(self, scores: Mapping[str, float]) -> None:
        """Put into `found` what `metrics` of the validation data say of the searched options.

        Called after each validation, so that a search which must fail fails before a long training.

        Args:
            scores: what `metrics` compute.

        Raises:
            DlkError: the validation data has no truth, or says nothing of an option.
        """
        searched = self.postprocessor.searched
        if searched and not scores:
            message = "no row of the validation data has a truth to find it by: give a value"
            raise RunError(f"{node_of(self.postprocessor.config).path}.{searched[0]}: {message}")
        if searched:
            assert self.metrics is not None
            self.found = self.postprocessor.found(self.metrics)

    def course(self) -> dict[str, Any]:
        """Return what a run that is stopped needs besides weights to go on as if it were not.

        Plain containers, numbers, texts and tensors. A subclass with more puts its own beside it.
        """
        return {
            "history": self.history,
            "found": self.found,
            "table": self.table,
            "shown": self.shown,
        }

    def load_course(self, course: Mapping[str, Any]) -> None:
        """Take up what `course` returned."""
        self.history = list(course["history"])
        self.found = dict(course["found"])
        self.table = list(course["table"])
        self.shown = dict(course["shown"])

    @property
    def latest(self) -> dict[str, float]:
        """The metrics of the newest evaluation, by prefixed name."""
        newest = self.history[-1] if self.history else {}
        return {name: value for name, value in newest.items() if name not in ("step", "epoch")}

    @abstractmethod
    def compute(self, batch: Batch) -> Any:
        """Return outputs and loss of one batch, without logging or any other side effect."""

    def rows_of(self, split: str, batch: Mapping[str, Tensor]) -> Sequence[Mapping[str, object]]:
        """Return the raw columns that the postprocessor needs, for each record of a batch."""
        from dlk.inference import rows_of

        return rows_of(self.datamodule, split, batch["_index"], self.postprocessor)
