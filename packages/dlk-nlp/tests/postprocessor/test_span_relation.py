"""The postprocessor `span_relation`: relations there and back, and what it measures."""

from __future__ import annotations

from operator import itemgetter
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance

KINDS = ["PER", "ORG", "LOC"]
TYPES = ["works", "lives", "knows"]
LENGTH = 6


def span_meta(folder) -> Meta:
    meta = Meta(folder)
    for file, words in (("entity_vocab.json", KINDS), ("relation_vocab.json", TYPES)):
        vocabulary = Vocabulary(unk="O")
        vocabulary.add({word: len(words) - place for place, word in enumerate(words)})
        meta.put_vocabulary(file, vocabulary)
    return meta


@pytest.fixture(scope="module")
def meta(tmp_path_factory):
    return span_meta(tmp_path_factory.mktemp("meta"))


def offsets_of(words):
    """Words of one letter with a space between, and a special token around them."""
    return [[0, 0], *([2 * place, 2 * place + 1] for place in range(words)), [0, 0]]


class TestGiven(PostProcessorConformance):
    component = ("postprocessor", "span_relation")
    config: ClassVar = {"columns": ["uuid"], "entities": "given", "unrelated_entity": False}
    truth_columns = ("relations_info",)
    needed_columns = ("unit_offsets", "entities_info")
    groups, classes = 1, 4

    def meta(self, folder):
        return span_meta(folder)

    def batch(self, count, generator):
        return {
            "entity_logits": torch.randn(count, LENGTH, LENGTH, 4, generator=generator),
            "relation_logits": torch.randn(
                count, 2 * self.groups, LENGTH, LENGTH, self.classes, generator=generator
            ),
        }

    def row(self, number):
        words = 1 + number % (LENGTH - 2)
        return {
            "uuid": str(number),
            "sentence": " ".join("abcdefgh"[:words]),
            "unit_offsets": offsets_of(words),
            "entities_info": [
                {"start": 0, "end": 1, "labels": ["PER"], "entity_id": "e"},
                {"start": 0, "end": 2 * words - 1, "labels": ["LOC"], "entity_id": "f"},
            ],
            "relations_info": [{"from": "e", "to": "f", "labels": ["works"]}],
        }


class TestPredicted(TestGiven):
    truth_columns = ("entities_info", "relations_info")
    needed_columns = ("unit_offsets",)
    config: ClassVar = {"columns": ["uuid"], "overlap": "flat"}


class TestGroups(TestPredicted):
    config: ClassVar = {
        "relation_groups": 3,
        "sym": True,
        "ignore_relations": ["works"],
        "columns": ["uuid"],
    }
    groups, classes = 3, 2


# There and back: gold -> cells -> dense targets -> scores -> relations ----------------------------

WORDS = 6
TEXT = " ".join("abcdefgh"[:WORDS])


def built(kind, name, meta, **values):
    return register.build(make(kind, name, values), Setup(meta=meta))


def columns_of(rows, step, extra=()):
    """Run the span step over rows of one record each."""
    size = len(rows)
    columns = {
        "sentence": [TEXT] * size,
        "offsets": [offsets_of(WORDS)] * size,
        "entities_info": [row["entities_info"] for row in rows],
        "relations_info": [row["relations_info"] for row in rows],
        "_row": list(range(size)),
    }
    ctx = TransformContext("train", "train", columns["_row"])
    columns |= step.transform(columns, ctx)
    for more in extra:
        columns |= more.transform(columns, ctx)
    assert not ctx.bad
    return columns, ctx.counts


def one_hot(targets, classes):
    """Scores whose best class is the target; ignored cells are as sure of something wrong."""
    wrong = torch.full_like(targets, classes - 1)
    return 9.0 * torch.nn.functional.one_hot(torch.where(targets < 0, wrong, targets), classes)


def there_and_back(meta, rows, *, sym=False, separate=False):
    columns, counts = columns_of(
        rows,
        built("subprocessor", "span_cls_relabel", meta, vocab="entity_vocab.json"),
        [built("subprocessor", "span_relation_relabel", meta, sym=sym, label_seperate=separate)],
    )
    layers = 2 * len(TYPES) if separate else 2
    matrices = {
        "spans": {"cells": "span_cells", "mask": "unit_mask", "triangle": True},
        "pairs": {
            "cells": "relation_cells",
            "mask": "unit_mask",
            "layers": layers,
            "triangle": sym,
        },
    }
    collate = built("data_collate", "span", meta, matrices=matrices)
    depths = {"span_cells": 2, "relation_cells": 2, "unit_mask": 1}
    batch = collate({k: Ragged.from_lists(columns[k], depth=d) for k, d in depths.items()})
    out = {
        "entity_logits": one_hot(batch["spans"], len(KINDS) + 1),
        "relation_logits": one_hot(batch["pairs"], 2 if separate else len(TYPES) + 1),
    }
    post = built(
        "postprocessor",
        "span_relation",
        meta,
        sym=sym,
        relation_groups=len(TYPES) if separate else 1,
    )
    given = [
        {"_row": n, "_part": 0, "sentence": TEXT, "unit_offsets": units, **row}
        for n, (row, units) in enumerate(zip(rows, columns["unit_offsets"], strict=True))
    ]
    decoded = post.decode(out, given)
    metrics = post.new_metrics()
    metrics.update(out, given, decoded)
    return decoded, metrics.compute(), counts


def ends_of(entities):
    """Where each entity stands, by what relations call it."""
    return {
        e.get("entity_id", n): (e["start"], e["end"], *e["labels"]) for n, e in enumerate(entities)
    }


def relations_in(row, *, sym=False):
    ends = ends_of(row["entities_info"])
    found = set()
    for relation in row["relations_info"]:
        pair = (ends[relation["from"]], ends[relation["to"]])
        found |= {(tuple(sorted(pair)) if sym else pair, label) for label in relation["labels"]}
    return found


SPANS = st.tuples(st.integers(0, WORDS - 1), st.integers(0, WORDS - 1)).map(sorted).map(tuple)


HEAD, TAIL, HEAD_AND_TAIL = itemgetter(0), itemgetter(1), itemgetter(0, 1)


@st.composite
def annotated(draw, distinct):
    """Rows of entities on distinct spans, and relations between them, one type for each pair."""
    keys = {"heads": (HEAD,), "tails": (TAIL,), "both": (HEAD, TAIL), "spans": (HEAD_AND_TAIL,)}
    spans = draw(st.lists(SPANS, unique_by=keys[distinct], max_size=6))
    named = draw(st.booleans())
    entities = [
        {
            "start": 2 * first,
            "end": 2 * last + 1,
            "labels": [draw(st.sampled_from(KINDS))],
            **({"entity_id": f"e{place}"} if named else {}),
        }
        for place, (first, last) in enumerate(spans)
    ]
    ids = [f"e{place}" if named else place for place in range(len(spans))]
    relations = []
    if ids:
        pair = st.tuples(st.sampled_from(ids), st.sampled_from(ids))
        types = st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True)
        drawn = draw(st.dictionaries(pair, types, max_size=5))
        relations = [{"from": a, "to": b, "labels": labels} for (a, b), labels in drawn.items()]
    return {"entities_info": entities, "relations_info": relations}


def one_type_each(rows, *, sym):
    """The rows with one type for each pair of entities, as a shared pair of matrices can say."""
    kept = []
    for row in rows:
        seen, relations = set(), []
        for relation in row["relations_info"]:
            pair = (relation["from"], relation["to"])
            key = frozenset(pair) if sym else pair
            if key not in seen:
                seen.add(key)
                relations.append({**relation, "labels": relation["labels"][:1]})
        kept.append({**row, "relations_info": relations})
    return kept


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sym=st.booleans())
def test_relations_come_back_as_they_were(meta, data, sym):
    """Of entities with heads and tails of their own, gold cells say gold relations exactly."""
    rows = one_type_each(data.draw(st.lists(annotated("both"), min_size=1, max_size=3)), sym=sym)
    decoded, scores, counts = there_and_back(meta, rows, sym=sym)
    for row, prediction in zip(rows, decoded, strict=True):
        assert sorted(ends_of(prediction["entities_info"]).values()) == sorted(
            ends_of(row["entities_info"]).values()
        )
        assert relations_in(prediction, sym=sym) == relations_in(row, sym=sym)
    assert set(counts) <= {"entities", "relations"}
    if any(row["relations_info"] for row in rows):
        assert scores["rel_f1"] == scores["rel_boundary_f1"] == scores["rel_given_f1"] == 1


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sym=st.booleans(), distinct=st.sampled_from(["heads", "tails"]))
def test_several_types_of_one_pair_come_back_with_a_pair_of_matrices_each(
    meta, data, sym, distinct
):
    rows = data.draw(st.lists(annotated(distinct), min_size=1, max_size=3))
    decoded, _, counts = there_and_back(meta, rows, sym=sym, separate=True)
    for row, prediction in zip(rows, decoded, strict=True):
        assert relations_in(prediction, sym=sym) == relations_in(row, sym=sym)
    assert set(counts) <= {"entities", "relations"}


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_nested_entities_lose_no_relation(meta, data):
    """Entities that share heads and tails crosswise may gain one that two others imply."""
    rows = data.draw(st.lists(annotated("spans"), min_size=1, max_size=2))
    decoded, _, _ = there_and_back(meta, rows, separate=True)
    for row, prediction in zip(rows, decoded, strict=True):
        assert relations_in(prediction) >= relations_in(row)
        types = {label for _, label in relations_in(row)}
        for (source, target), label in relations_in(prediction) - relations_in(row):
            own = [pair for pair, other in relations_in(row) if other == label]
            assert label in types
            assert any(a[0] == source[0] and b[0] == target[0] for a, b in own)
            assert any(a[1] == source[1] and b[1] == target[1] for a, b in own)
