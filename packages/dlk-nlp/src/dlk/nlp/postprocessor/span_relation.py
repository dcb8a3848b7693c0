"""Entities and the relations between them, from scores of spans and of pairs of units.

A relation stands in two matrices over units: one pairs the first units of its entities (heads), one
their last units (tails). It is found where both give the same type to the same pair of entities.
Source of the two matrices: Wang et al. 2020, "TPLinker", arXiv:2010.13415, §3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from dlk.errors import DataError, DlkError
from dlk.nlp.align import Aligner, Windows
from dlk.nlp.entities import stands_nowhere
from dlk.nlp.metrics.relations import RelationMetrics
from dlk.nlp.postprocessor._spans import (
    Floats,
    Held,
    Ints,
    Spans,
    Units,
    judges,
    locate,
    records_of,
    units_of,
)
from dlk.nlp.postprocessor._text import entities_form
from dlk.nlp.postprocessor.span_cls import SpanPostProcessor
from dlk.postprocessor._form import COUNT, PROBABILITY, form_of, label_form
from dlk.postprocessor.base import Metrics, Outputs, Parts, Prediction, Row, pick
from dlk.registry import register

if TYPE_CHECKING:
    from torch import Tensor

    from dlk.context import Setup
    from dlk.nlp.postprocessor.configs import SpanRelationConfig

__all__ = ["SpanRelation"]

PAIRS_AT_ONCE = 1 << 22  # pairs of entities looked at together: 32 MiB for each matrix
SCORED_AT_ONCE = 1 << 17  # of those that agree, how many are scored together: 40 types, 40 MiB


class Pairs(NamedTuple):
    """Relations of one row, (n,) each: places of the entities, type, and probability."""

    sources: Ints
    targets: Ints
    labels: Ints
    scores: Floats

    def take(self, chosen: Ints) -> Pairs:
        """Return some of them."""
        return Pairs(
            self.sources[chosen], self.targets[chosen], self.labels[chosen], self.scores[chosen]
        )


@register("postprocessor", "span_relation")
class SpanRelation(SpanPostProcessor):
    """One prediction per row, after its copied columns: what can be fed back as data.

    ``{"entities_info": [{"entity_id": 0, "start": 0, "end": 4, "labels": ["PER"], "text": "Anna",
    "score": 0.9}, …], "relations_info": [{"from": 0, "to": 1, "labels": ["works_for"],
    "score": 0.8}, …]}``. Entities are those of `span_cls`, or with ``entities: given`` those of the
    row. A relation is from one entity to another where the matrix of heads and that of tails both
    have the same type as their most probable one, which is not the first word of the vocabulary;
    `score` is the product of the two probabilities, in float32. With `sym` a relation has no
    direction, and is from the entity that stands first. Of a long text in windows, a pair of
    entities is decided on by the window that sees most around both; entities that no window holds
    together are not related.

    A row has at most `max_relations_per_unit` relations for each of its units, the most probable;
    ``"left_out"`` says how many entities and relations more were found.
    """

    def __init__(self, config: SpanRelationConfig, setup: Setup) -> None:
        super().__init__(config, setup, logits=config.input_map["entity_logits"])
        self.relation_vocabulary = config.relation_label_vocab
        self.types: tuple[str, ...] = tuple(
            setup.meta.vocabulary(config.relation_label_vocab).words
        )
        self.relations_name = config.input_map["relation_logits"]
        self.groups = config.relation_groups
        self.sym = config.sym
        self.is_given = config.entities == "given"
        self.unrelated_entity = config.unrelated_entity
        self.most_relations = config.max_relations_per_unit
        self.ignore_relations = frozenset(config.ignore_relations)
        self.ignored_types = [n for n, w in enumerate(self.types) if w in config.ignore_relations]
        if self.groups > 1 and self.groups != len(self.types) - 1:
            raise DlkError(
                f'"{self.relation_vocabulary}" has {len(self.types) - 1} types of relations beside '
                f'"{self.types[0]}", and relation_groups is {self.groups}: it is 1, or one group '
                "for each type"
            )

    def decode(self, out: Outputs, rows: Sequence[Row]) -> list[Prediction]:
        parts = Parts(rows)
        scores = self._pair_scores(pick(out, self.relations_name, rows))
        own: list[Prediction] = []
        if self.is_given:
            own = self._of_given(scores, rows, parts)
        else:
            found = self.spans(out, rows, parts)
            units = units_of(rows, self.origin["unit_offsets"], scores.shape[-2])
            held = (
                [locate(units, record, *_ends(spans)) for record in records]
                for (spans, _), records in zip(found, records_of(parts), strict=True)
            )
            each = self._pairs(scores, units, parts, held)
            for position, (spans, cut), (pairs, more) in zip(parts.first, found, each, strict=True):
                result: Prediction = {"entities_info": None, "relations_info": None}
                if spans is not None and pairs is not None:
                    entities = [
                        {"entity_id": number, **entity}
                        for number, entity in enumerate(self.entities(spans, rows[position]))
                    ]
                    relations = self._relations(pairs, list(range(len(entities))))
                    result = self._result(entities, relations)
                if cut or more:
                    result["left_out"] = {"entities": cut, "relations": more}
                own.append(result)
        return self.frame(own, parts, out, rows)

    def prediction_schema(self) -> dict[str, Any]:  # Any: JSON
        entities = entities_form(has_text=bool(self.text_column), numbered=True)
        name: dict[str, Any] = {"$ref": "#/$defs/entity_id"}
        kept = [word for word in self.types[1:] if word not in self.ignore_relations]
        source = f"meta/{self.relation_vocabulary}"
        definitions = {"entity_id": COUNT, "relation": label_form(kept, source)}
        if self.is_given:  # as the row has them, but each with a name
            given = {"type": "object", "required": ["entity_id"], "properties": {"entity_id": name}}
            entities = {"type": ["array", "null"], "items": given}
            definitions["entity_id"] = {
                "description": "what the row calls it, else its place from 0",
                "not": {"type": "null"},
            }
        else:
            definitions["label"] = self.found_labels()
        one = {"type": "array", "items": {"$ref": "#/$defs/relation"}, "minItems": 1, "maxItems": 1}
        relation = form_of({"from": name, "to": name, "labels": one, "score": PROBABILITY})
        both = ("entities_info", "relations_info")
        return self.framed_form(
            {
                "entities_info": entities,
                "relations_info": {"type": ["array", "null"], "items": relation},
                "left_out": form_of({"entities": COUNT, "relations": COUNT}),
            },
            optional=["left_out"],
            definitions=definitions,
            oneOf=[
                {"properties": {key: {"type": kind} for key in both}} for kind in ("array", "null")
            ],
        )

    def new_metrics(self) -> Metrics:
        return RelationMetrics(
            self.entity_metrics(),
            truth=self.origin["relations_info"],
            given=self.relations_of_truth,
            sym=self.sym,
            ignore_relations=self.ignore_relations,
        )

    def relations_of_truth(self, out: Outputs, rows: Sequence[Row]) -> list[list[Prediction]]:
        """Return the relations that are found among the true entities of each row.

        They name entities by `entity_id`, or by place where there is none.
        """
        scores = self._pair_scores(pick(out, self.relations_name, rows))
        return [relations or [] for relations, _ in self._among_given(scores, rows, Parts(rows))]

    def _result(self, entities: list[Any], relations: list[Prediction]) -> Prediction:
        if not self.unrelated_entity:
            named = {relation[end] for relation in relations for end in ("from", "to")}
            entities = [entity for entity in entities if entity["entity_id"] in named]
        return {"entities_info": entities, "relations_info": relations}

    # Entities that are given ---------------------------------------------------------------------

    def _of_given(self, scores: Tensor, rows: Sequence[Row], parts: Parts) -> list[Prediction]:
        column = self.origin["entities_info"]
        own: list[Prediction] = []
        each = self._among_given(scores, rows, parts)
        for position, (relations, more) in zip(parts.first, each, strict=True):
            given = self._given(rows[position])
            if given is None:
                raise DataError(
                    f'row {rows[position]["_row"]}: entities "given" are those of the column '
                    f'"{column}", which is not there'
                )
            entities = [
                {"entity_id": name, **{k: v for k, v in entity.items() if k != "entity_id"}}
                for name, entity in zip(_names(given), given, strict=True)
            ]
            result: Prediction = {"entities_info": None, "relations_info": None}
            if relations is not None:
                result = self._result(entities, relations)
            if more:
                result["left_out"] = {"entities": 0, "relations": more}
            own.append(result)
        return own

    def _given(self, row: Row) -> list[Mapping[str, Any]] | None:
        entities: Any = row.get(self.origin["entities_info"])
        return None if entities is None else list(entities)

    def _among_given(
        self, scores: Tensor, rows: Sequence[Row], parts: Parts
    ) -> Iterator[tuple[list[Prediction] | None, int]]:
        """Yield each row's relations among the entities it gives."""
        units = units_of(rows, self.origin["unit_offsets"], scores.shape[-2])
        given = [self._given(rows[position]) or [] for position in parts.first]
        held = [
            self._held_of_given([rows[record] for record in records], entities)
            for records, entities in zip(records_of(parts), given, strict=True)
        ]
        each = self._pairs(scores, units, parts, held)
        for (pairs, more), entities in zip(each, given, strict=True):
            yield (None if pairs is None else self._relations(pairs, _names(entities))), more

    def _held_of_given(
        self, windows: Sequence[Row], entities: Sequence[Mapping[str, Any]]
    ) -> list[Held]:
        """Return where entities stand in each record, as the steps that align annotations say.

        Raises:
            DataError: an entity has no start and end.
        """
        row = windows[0]
        text = row.get(self.text_column) if self.text_column else None
        offsets: list[Any] = [each[self.origin["unit_offsets"]] for each in windows]
        aligners = [Aligner(text if isinstance(text, str) else "", units) for units in offsets]
        finder = Windows(aligners)
        places: list[list[tuple[int, int, int]]] = [[] for _ in windows]
        for number, entity in enumerate(entities):
            if stands_nowhere(entity):
                continue
            try:
                start, end = int(entity["start"]), int(entity["end"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f'row {row["_row"]}, column "{self.origin["entities_info"]}": expected '
                    f'{{"start": 0, "end": 5, "labels": ["x"]}} for each entity, got {entity!r}'
                ) from error
            for window, run in finder.place(start, end, closed=True).runs.items():
                if run.kept:
                    kept = aligners[window].kept
                    places[window].append((number, kept[run.start], kept[run.end - 1]))
        tables = (np.array(each, dtype=np.int64).reshape(-1, 3) for each in places)
        return [Held(*table.T) for table in tables]

    # Pairs of entities ---------------------------------------------------------------------------

    def _pairs(
        self,
        scores: Tensor,
        units: Units,
        parts: Parts,
        held: Iterable[Sequence[Held]],
    ) -> Iterator[tuple[Pairs | None, int]]:
        """Yield each row's relations, and how many were left out; None: one is not a number.

        Args:
            scores: (B, 2G, L, L, R).
            units: of the records.
            parts: which records are one row.
            held: for each record of each row, which of the row's entities it holds, and where.
        """
        for records, mine in zip(records_of(parts), held, strict=True):
            found = [
                self._agreeing(scores[record], one)
                for record, one in zip(records, mine, strict=True)
            ]
            if any(each is None for each in found):
                yield None, 0
                continue
            candidates = np.concatenate([each for each in found if each is not None])  # (n, 3)
            if len(records) > 1:
                candidates = np.unique(candidates, axis=0)  # by source, as windows look for them
            pairs = self._scored(scores, units, records, mine, candidates)
            limit = self.most_relations * units.count(records)
            left_out = max(0, len(pairs.scores) - limit)
            if left_out:
                pairs = pairs.take(np.sort(np.argsort(-pairs.scores, kind="stable")[:limit]))
            yield pairs, left_out

    def _agreeing(self, scores: Tensor, held: Held) -> Ints | None:
        """Return (source, target, group) of entities whose heads and tails have one type, (n, 3).

        None where a score is not a number.

        Args:
            scores: (2G, L, L, R) of one record.
            held: the entities that it holds.
        """
        among, heads, tails = held
        if not len(among):
            return np.zeros((0, 3), dtype=np.int64)
        used = torch.from_numpy(np.unique(np.concatenate([heads, tails])))
        if torch.isnan(scores[:, used][:, :, used]).any():
            return None
        best = scores.argmax(-1).numpy()  # (2G, L, L)
        found: list[Ints] = []
        rows_at_once = max(1, PAIRS_AT_ONCE // len(among))
        for start in range(0, len(among), rows_at_once):
            some = slice(start, start + rows_at_once)
            for group in range(self.groups):
                head = best[2 * group][_cells(heads[some], heads, sym=self.sym)]
                tail = best[2 * group + 1][_cells(tails[some], tails, sym=self.sym)]
                agreed = (head == tail) & (head != 0)
                if self.sym:  # each pair once, from the entity that stands first
                    agreed &= np.arange(start, start + len(agreed))[:, None] <= np.arange(
                        len(among)
                    )
                source, target = np.nonzero(agreed)
                places = (among[source + start], among[target], np.full(len(source), group))
                found.append(np.stack(places, axis=1))
        return np.concatenate(found)

    def _scored(
        self,
        scores: Tensor,
        units: Units,
        records: Sequence[int],
        held: Sequence[Held],
        candidates: Ints,
    ) -> Pairs:
        """Return the candidates that are relations, by entities and type."""
        found = []
        for start in range(0, max(len(candidates), 1), SCORED_AT_ONCE):
            some = candidates[start : start + SCORED_AT_ONCE]
            head, tail = self._probabilities(scores, units, records, held, some)
            found.append(self._chosen(some, head, tail))
        sources, targets, labels, probabilities = (
            np.concatenate(parts) for parts in zip(*found, strict=True)
        )
        pairs = Pairs(sources, targets, labels, probabilities)
        return pairs.take(np.lexsort((labels, targets, sources)))

    def _probabilities(
        self,
        scores: Tensor,
        units: Units,
        records: Sequence[int],
        held: Sequence[Held],
        candidates: Ints,
    ) -> tuple[Tensor, Tensor]:
        """Return (n, R) each: probabilities of the heads and of the tails, in one window."""
        source, target, group = candidates.T
        both = [_held_together(one, source, target, by_source=len(records) > 1) for one in held]
        spans = (
            Held(each.number, each.units[:, :, 0].min(0), each.units[:, :, 1].max(0))
            for each in both
        )
        window = judges(units, records, spans, count=len(candidates))
        units_of_pair = np.zeros((2, len(candidates), 2), dtype=np.int64)
        for number, each in enumerate(both):
            won = window[each.number] == number
            units_of_pair[:, each.number[won]] = each.units[:, won]
        record = torch.tensor(records)[window]
        found: list[Tensor] = []
        for side in (0, 1):
            i, j = units_of_pair[:, :, side]
            if self.sym:
                i, j = np.minimum(i, j), np.maximum(i, j)
            matrix = torch.from_numpy(2 * group + side)
            picked = scores[record, matrix, torch.from_numpy(i), torch.from_numpy(j)]
            found.append(picked.float().softmax(-1))
        head, tail = found
        return head, tail

    def _chosen(self, candidates: Ints, head: Tensor, tail: Tensor) -> Pairs:
        """Return the pairs whose heads and tails agree."""
        head_score, head_label = head.max(-1)
        tail_score, tail_label = tail.max(-1)
        source, target, group = candidates.T
        label = head_label.numpy()
        kept = (label != 0) & (label == tail_label.numpy())
        if self.groups > 1:  # of two classes, yes and no: the group says which type
            label = group + 1
        kept &= ~np.isin(label, self.ignored_types)
        pairs = Pairs(source, target, label, (head_score * tail_score).numpy())
        return pairs.take(np.flatnonzero(kept))

    def _relations(self, pairs: Pairs, names: Sequence[Any]) -> list[Prediction]:
        columns = (values.tolist() for values in pairs)
        return [
            {
                "from": names[source],
                "to": names[target],
                "labels": [self.types[label]],
                "score": score,
            }
            for source, target, label, score in zip(*columns, strict=True)
        ]

    def _pair_scores(self, logits: Tensor) -> Tensor:
        """Return the scores, checked.

        Raises:
            DlkError: they are not (B, 2G, L, L, R).
        """
        classes = len(self.types) if self.groups == 1 else 2
        if (
            logits.ndim != 5
            or logits.shape[1] != 2 * self.groups
            or logits.shape[2] != logits.shape[3]
            or logits.shape[4] != classes
        ):
            raise DlkError(
                f'"{self.relations_name}" must be (B, {2 * self.groups}, L, L, {classes}), a '
                f"matrix of heads and one of tails for each of {self.groups} groups, got "
                f"{tuple(logits.shape)}: set the decoder's multi_matrix and output_size"
            )
        return logits


class _Together(NamedTuple):
    """The pairs that a record holds: their numbers (m,), and their units.

    Attributes:
        number: (m,), rises.
        units: (2, m, 2): of source and target the first and the last unit.
    """

    number: Ints
    units: Ints


def _held_together(held: Held, source: Ints, target: Ints, *, by_source: bool) -> _Together:
    """Return the pairs of which a record holds both entities.

    Args:
        held: the entities that it holds.
        source: (n,) numbers of entities.
        target: (n,) the same.
        by_source: they are sorted by source, so that few have to be looked at.
    """
    if not len(held.number):
        return _Together(np.zeros(0, dtype=np.int64), np.zeros((2, 0, 2), dtype=np.int64))
    low, high = 0, len(source)
    if by_source:
        low, high = np.searchsorted(source, [held.number[0], held.number[-1] + 1]).tolist()
    number = np.arange(low, high)
    ends = np.stack([source[number], target[number]])  # (2, k)
    place = np.minimum(np.searchsorted(held.number, ends), len(held.number) - 1)
    there = (held.number[place] == ends).all(0)
    place = place[:, there]
    return _Together(number[there], np.stack([held.first[place], held.last[place]], axis=-1))


def _cells(some: Ints, every: Ints, *, sym: bool) -> tuple[Ints, Ints]:
    """Return the cells of all pairs of units, (n, m) each; with `sym` above the diagonal."""
    i, j = some[:, None], every[None, :]
    return (np.minimum(i, j), np.maximum(i, j)) if sym else (i, j)


def _ends(spans: Spans | None) -> tuple[Ints, Ints]:
    """Return where spans start and end; there are none where a score is not a number."""
    nothing = np.zeros(0, dtype=np.int64)
    return (nothing, nothing) if spans is None else (spans.starts, spans.ends)


def _names(entities: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return what relations call each entity."""
    return [
        place if entity.get("entity_id") is None else entity["entity_id"]
        for place, entity in enumerate(entities)
    ]
