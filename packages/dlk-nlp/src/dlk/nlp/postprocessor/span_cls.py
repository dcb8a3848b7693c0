"""Entities from scores of all spans: nested and overlapping ones where they are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlk.errors import DlkError
from dlk.nlp.metrics.relations import EndMetrics
from dlk.nlp.postprocessor._spans import (
    Spans,
    find_spans,
    lost_rows,
    most_probable,
    records_of,
    settle,
    units_of,
    without,
)
from dlk.nlp.postprocessor._text import TextPostProcessor, entities_form
from dlk.postprocessor._form import label_form
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from torch import Tensor

    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import SpanClsConfig, SpansConfig

__all__ = ["SpanCls", "SpanPostProcessor"]


class SpanPostProcessor(TextPostProcessor):
    """Base of what reads scores (B, L, L, C) of all spans, label 0 being "no entity"."""

    def __init__(self, config: SpansConfig, setup: Setup, *, logits: str) -> None:
        super().__init__(config, setup)
        vocabulary = config.label_vocab
        self.origin = dict(config.origin_input_map)
        self.text_column = config.text_column()
        self.vocabulary_name = vocabulary
        self.words: tuple[str, ...] = tuple(setup.meta.vocabulary(vocabulary).words)
        self.logits_name = logits
        self.overlap = config.overlap
        self.most = config.max_entities_per_unit
        self.ignored = [place for place, w in enumerate(self.words) if w in config.ignore_labels]
        self.ignore_labels = frozenset(config.ignore_labels)
        self.ignore_position = config.ignore_position
        self.ignore_char = tuple(config.ignore_char)

    def spans(
        self, out: Outputs, rows: Sequence[Row], parts: Parts
    ) -> list[tuple[Spans | None, int]]:
        """Return each row's spans, and how many were left out; None where one is not a number."""
        logits = self._scores(pick(out, self.logits_name, rows))
        units = units_of(rows, self.origin["unit_offsets"], logits.shape[1])
        lost = lost_rows(logits, units, parts)
        found: list[tuple[Spans | None, int]] = []
        each = zip(find_spans(logits, units, parts), records_of(parts), lost, strict=True)
        for spans, records, is_lost in each:
            if is_lost:
                found.append((None, 0))
                continue
            limit = self.most * units.count(records)
            kept, left_out = most_probable(without(spans, self.ignored), limit)
            found.append((settle(kept, self.overlap), left_out))
        return found

    def entities(self, spans: Spans, row: Row) -> list[Prediction]:
        """Return spans of a row as `entities_info` holds them, in the order of the text."""
        text = row.get(self.text_column) if self.text_column else None
        made: list[Prediction] = []
        columns = (values.tolist() for values in spans)
        for start, end, label, score in zip(*columns, strict=True):
            entity: Prediction = {"start": start, "end": end, "labels": [self.words[label]]}
            if isinstance(text, str):
                entity["text"] = text[start:end]
            made.append({**entity, "score": score})
        return made

    def found_labels(self) -> dict[str, Any] | bool:  # Any: JSON
        """Return the JSON Schema of the labels that entities may have."""
        kept = [word for word in self.words[1:] if word not in self.ignore_labels]
        return label_form(kept, f"meta/{self.vocabulary_name}")

    def entity_metrics(self) -> EndMetrics:
        """Return fresh metrics of entities."""
        return EndMetrics(
            truth=self.origin["entities_info"],
            sentence=self.text_column,
            ignore_labels=self.ignore_labels,
            ignore_position=self.ignore_position,
            ignore_char=self.ignore_char,
        )

    def _scores(self, logits: Tensor) -> Tensor:
        if (
            logits.ndim != 4
            or logits.shape[1] != logits.shape[2]
            or logits.shape[3] != len(self.words)
        ):
            raise DlkError(
                f'"{self.logits_name}" must be (B, L, L, {len(self.words)}), as '
                f'"{self.vocabulary_name}" has {len(self.words)} words, got {tuple(logits.shape)}: '
                "set the decoder's output_size to the vocabulary's size"
            )
        return logits


@register("postprocessor", "span_cls")
class SpanCls(SpanPostProcessor):
    """One prediction per row, after its copied columns: what can be fed back as data.

    ``{"entities_info": [{"start": 0, "end": 8, "labels": ["LOC"], "text": "New York",
    "score": 0.9}, …]}``, in the order of the text. A span is an entity where its most probable
    label is not the first word of the vocabulary ("O", no entity); `score` is that label's softmax,
    in float32. Of a long text in windows, the window that sees most around a span decides on it.
    `entities_info` is null where a score is not a number.

    A model that has learnt nothing may call every span an entity. A row has at most
    `max_entities_per_unit` entities for each of its units, the most probable; where more were
    found, the prediction has ``"left_out": how many``.
    """

    def __init__(self, config: SpanClsConfig, setup: Setup) -> None:
        super().__init__(config, setup, logits=config.input_map["logits"])

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        parts = Parts(rows)
        own: list[Prediction] = []
        found = self.spans(out, rows, parts)
        for position, (spans, left_out) in zip(parts.first, found, strict=True):
            entities = None if spans is None else self.entities(spans, rows[position])
            own.append({"entities_info": entities, **({"left_out": left_out} if left_out else {})})
        return self.frame(own, parts, out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        entities = entities_form(has_text=bool(self.text_column))
        return self.framed_form(
            {"entities_info": entities, "left_out": {"type": "integer", "minimum": 1}},
            optional=["left_out"],
            definitions={"label": self.found_labels()},
        )

    def new_metrics(self) -> Metrics:
        return self.entity_metrics()
