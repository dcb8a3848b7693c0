"""A postprocessor for the tests of the engine: the most likely label of a row, and its accuracy."""

from __future__ import annotations

from typing import Any

import torch

from dlk.config import Base, ListField, Signature, StrField, cregister
from dlk.postprocessor.base import Metrics, Parts, PostProcessor, pick
from dlk.registry import register


@cregister("postprocessor", "toy_labels")
class ToyLabelsConfig(Base):
    """The most likely label of each row."""

    label_vocab = StrField("label_vocab.json", help="name of the vocabulary in the meta folder")
    columns = ListField([], help="raw columns copied into each prediction")

    def signature(self) -> Signature:
        return Signature(
            reads=("logits",),
            targets=("label_ids",),
            metrics=("acc",),
            meta=(self.label_vocab,),
            columns=tuple(self.columns),
        )


@register("postprocessor", "toy_labels")
class ToyLabels(PostProcessor):
    def __init__(self, config: Any, setup: Any) -> None:
        super().__init__(config, setup)
        self.vocabulary = setup.meta.vocabulary(config.label_vocab)
        self.columns = tuple(config.columns)

    def decode(self, out: Any, rows: Any) -> list[dict[str, Any]]:
        parts = Parts(rows)
        scores = torch.softmax(parts.mean(pick(out, "logits", rows)), dim=-1)
        best = scores.max(dim=-1)
        return [
            {
                "label": self.vocabulary.word(int(best.indices[place])),
                "score": float(best.values[place]),
                **{c: rows[position][c] for c in self.columns if c in rows[position]},
            }
            for place, position in enumerate(parts.first)
        ]

    def new_metrics(self) -> ToyAccuracy:
        return ToyAccuracy(self.vocabulary)


class ToyAccuracy(Metrics):
    def __init__(self, vocabulary: Any) -> None:
        self.vocabulary = vocabulary
        self.right = self.rows = 0

    def update(self, out: Any, rows: Any, decoded: Any) -> None:
        if "label_ids" not in out:
            return
        truth = Parts(rows).first_of(pick(out, "label_ids", rows)).tolist()
        self.rows += len(decoded)
        self.right += sum(
            self.vocabulary.word(true) == each["label"]
            for true, each in zip(truth, decoded, strict=True)
        )

    def compute(self) -> dict[str, float]:
        return {"acc": self.right / self.rows} if self.rows else {}

    def state(self) -> dict[str, Any]:
        return {"right": self.right, "rows": self.rows}

    def merge(self, state: Any) -> None:
        self.right += state["right"]
        self.rows += state["rows"]

    def table(self) -> list[dict[str, object]]:
        return [{"rows": self.rows, "right": self.right}]
