"""A postprocessor with an option that validation finds: whether a score is as high as usual."""

from __future__ import annotations

from typing import Any

from toy_labels import ToyAccuracy, ToyLabels, ToyLabelsConfig

from dlk.config import AnyField, Signature, cregister
from dlk.registry import register


@cregister("postprocessor", "toy_usual")
class ToyUsualConfig(ToyLabelsConfig):
    """The most likely label of each row, and whether its score is usual."""

    usual = AnyField(0.0, help="the usual score; search: the mean of those of validation")

    def signature(self) -> Signature:
        own = ToyLabelsConfig.signature(self)
        return Signature(reads=own.reads, targets=own.targets, metrics=("acc", "usual"))


@register("postprocessor", "toy_usual")
class ToyUsual(ToyLabels):
    def __init__(self, config: Any, setup: Any) -> None:
        super().__init__(config, setup)
        self.searched = ("usual",) if config.usual == "search" else ()
        self.usual = 0.0 if self.searched else config.usual

    def found(self, metrics: Any) -> dict[str, Any]:
        return dict.fromkeys(self.searched, metrics.scores / metrics.rows)

    def decode(self, out: Any, rows: Any) -> list[dict[str, Any]]:
        return [
            {**each, "is_usual": each["score"] >= self.usual} for each in super().decode(out, rows)
        ]

    def new_metrics(self) -> ToyShare:
        return ToyShare(self.vocabulary)


class ToyShare(ToyAccuracy):
    def __init__(self, vocabulary: Any) -> None:
        super().__init__(vocabulary)
        self.scores = 0.0
        self.usual = 0

    def update(self, out: Any, rows: Any, decoded: Any) -> None:
        super().update(out, rows, decoded)
        self.scores += sum(each["score"] for each in decoded)
        self.usual += sum(each["is_usual"] for each in decoded)

    def compute(self) -> dict[str, float]:
        scores = super().compute()
        return scores | {"usual": self.usual / self.rows} if scores else {}
