"""The postprocessor `span_relation`: relations there and back, and what it measures."""

from __future__ import annotations

import functools
import tracemalloc
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
from dlk.errors import DataError, DlkError
from dlk.nlp.postprocessor import _spans
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


@functools.cache
def components(meta, *, sym, separate):
    """Steps, collate and postprocessor that belong together."""
    pairs = {
        "cells": "relation_cells",
        "mask": "unit_mask",
        "layers": 2 * len(TYPES) if separate else 2,
        "triangle": sym,
    }
    spans = {"cells": "span_cells", "mask": "unit_mask", "triangle": True}
    groups = len(TYPES) if separate else 1
    return (
        built("subprocessor", "span_cls_relabel", meta, vocab="entity_vocab.json"),
        built("subprocessor", "span_relation_relabel", meta, sym=sym, label_seperate=separate),
        built("data_collate", "span", meta, matrices={"spans": spans, "pairs": pairs}),
        built("postprocessor", "span_relation", meta, sym=sym, relation_groups=groups),
    )


def there_and_back(meta, rows, *, sym=False, separate=False):
    spans, pairs, collate, post = components(meta, sym=sym, separate=separate)
    columns, counts = columns_of(rows, spans, [pairs])
    depths = {"span_cells": 2, "relation_cells": 2, "unit_mask": 1}
    batch = collate({k: Ragged.from_lists(columns[k], depth=d) for k, d in depths.items()})
    out = {
        "entity_logits": one_hot(batch["spans"], len(KINDS) + 1),
        "relation_logits": one_hot(batch["pairs"], 2 if separate else len(TYPES) + 1),
    }
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


@settings(deadline=None, max_examples=40)
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


@settings(deadline=None, max_examples=40)
@given(data=st.data(), sym=st.booleans(), distinct=st.sampled_from(["heads", "tails"]))
def test_several_types_of_one_pair_come_back_with_a_pair_of_matrices_each(
    meta, data, sym, distinct
):
    rows = data.draw(st.lists(annotated(distinct), min_size=1, max_size=3))
    decoded, _, counts = there_and_back(meta, rows, sym=sym, separate=True)
    for row, prediction in zip(rows, decoded, strict=True):
        assert relations_in(prediction, sym=sym) == relations_in(row, sym=sym)
    twice = counts.pop("relations given twice", 0)
    assert counts.get("relations", 0) - twice == sum(
        len(set(relations_in(row, sym=sym))) for row in rows
    )
    assert set(counts) <= {"entities", "relations"}


@settings(deadline=None, max_examples=40)
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


# What is found, said by hand ----------------------------------------------------------------------


def record(
    *relation_cells, entities=((0, 0, 1), (2, 3, 2), (5, 5, 3)), size=6, matrices=2, types=4
):
    """Outputs of one record of letters: cells (matrix, i, j, type[, logit]), and entities."""
    entity_logits = torch.zeros(1, size, size, 4)
    for i, j, kind in entities:
        entity_logits[0, i, j, kind] = 9.0
    relation_logits = torch.zeros(1, matrices, size, size, types)
    for matrix, i, j, kind, *logit in relation_cells:
        relation_logits[0, matrix, i, j, kind] = logit[0] if logit else 9.0
    return {"entity_logits": entity_logits, "relation_logits": relation_logits}


def letters(first=0, last=6, number=0, part=0, **more):
    units = [[2 * place, 2 * place + 1] for place in range(first, last)]
    row = {"_row": number, "_part": part, "sentence": "a b c d e f", "unit_offsets": units}
    return {**row, **more}


def triples(prediction):
    """(from, to, type) of a prediction, the ends as texts."""
    texts = {e["entity_id"]: e["text"] for e in prediction["entities_info"]}
    return [(texts[r["from"]], texts[r["to"]], *r["labels"]) for r in prediction["relations_info"]]


def decode(meta, out, *rows, **config):
    component = built("postprocessor", "span_relation", meta, **config)
    return component.decode(out, list(rows) or [letters()])


def test_heads_and_tails_that_agree_are_a_relation_with_its_probability(meta):
    (found,) = decode(meta, record((0, 0, 2, 1, 2.0), (1, 0, 3, 1, 1.0)))
    assert triples(found) == [("a", "c d", "works")]
    head, tail = (torch.tensor([0.0, x, 0.0, 0.0]).softmax(-1)[1] for x in (2.0, 1.0))
    assert found["relations_info"][0]["score"] == pytest.approx(float(head * tail))


@pytest.mark.parametrize(
    "cells",
    [
        [(0, 0, 2, 1)],  # the tails have none
        [(1, 0, 3, 1)],  # the heads have none
        [(0, 0, 2, 1), (1, 0, 3, 2)],  # the tails have another type
        [(0, 0, 2, 1), (1, 3, 0, 1)],  # the tails have it in the other direction
        [(0, 0, 2, 1), (1, 0, 2, 1)],  # the tails of some other entity
    ],
)
def test_without_the_agreement_of_heads_and_tails_there_is_none(meta, cells):
    (found,) = decode(meta, record(*cells))
    assert found["relations_info"] == []
    assert len(found["entities_info"]) == 3


def test_every_type_is_found_not_only_the_first(meta):
    cells = [(m, *pair, kind) for pair, kind in (((0, 5), 2), ((5, 0), 3)) for m in (0, 1)]
    (found,) = decode(meta, record(*cells))
    assert triples(found) == [("a", "f", "lives"), ("f", "a", "knows")]


def test_the_group_says_the_type(meta):
    cells = [(2 * group + m, 0, 5, 1) for group in (1, 2) for m in (0, 1)]
    out = record(*cells, matrices=6, types=2)
    (found,) = decode(meta, out, relation_groups=3)
    assert triples(found) == [("a", "f", "lives"), ("a", "f", "knows")]


def test_without_direction_a_relation_is_once_from_the_first(meta):
    out = record(*[(m, *pair, 1) for pair in ((0, 5), (5, 0)) for m in (0, 1)])
    (found,) = decode(meta, out, sym=True)
    assert triples(found) == [("a", "f", "works")]
    (found,) = decode(meta, out)
    assert triples(found) == [("a", "f", "works"), ("f", "a", "works")]


def test_entities_in_no_relation_can_be_left_out(meta):
    out = record((0, 0, 5, 1), (1, 0, 5, 1))
    (found,) = decode(meta, out, unrelated_entity=False)
    assert [(e["entity_id"], e["text"]) for e in found["entities_info"]] == [(0, "a"), (2, "f")]
    assert triples(found) == [("a", "f", "works")]


def test_relations_between_given_entities_keep_their_ids(meta):
    given = [
        {"start": 0, "end": 1, "labels": ["PER"], "entity_id": "x", "note": 1},
        {"start": 10, "end": 11, "labels": ["ORG"], "entity_id": "y"},
    ]
    out = record((0, 0, 5, 1), (1, 0, 5, 1), entities=())
    (found,) = decode(meta, out, letters(entities_info=given), entities="given")
    assert found["entities_info"] == given
    (relation,) = found["relations_info"]
    assert (relation["from"], relation["to"], relation["labels"]) == ("x", "y", ["works"])


def test_a_given_entity_that_stands_nowhere_is_in_no_relation(meta):
    given = [
        {"start": None, "end": None, "labels": ["PER"]},
        {"start": 0, "end": 1, "labels": ["PER"]},
        {"start": 10, "end": 11, "labels": ["ORG"]},
    ]
    out = record((0, 0, 5, 1), (1, 0, 5, 1), entities=())
    (found,) = decode(meta, out, letters(entities_info=given), entities="given")
    assert [(r["from"], r["to"]) for r in found["relations_info"]] == [(1, 2)]


def test_given_entities_must_be_given(meta):
    with pytest.raises(DataError, match='column "entities_info", which is not there'):
        decode(meta, record(), letters(), entities="given")
    with pytest.raises(DataError, match=r'expected \{"start": 0'):
        decode(meta, record(), letters(entities_info=[{"start": 0}]), entities="given")


def windows(one, other):
    """Two windows of four letters that share two."""
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    return both, [letters(0, 4), letters(2, 6, part=1)]


def test_the_window_that_sees_more_around_a_pair_decides_on_it(meta):
    """c-d ends the first of two windows of a to d and c to f, and begins the second."""
    kept = {"size": 4, "types": 4}
    ends = ((0, 0, 1), (2, 2, 1), (3, 3, 2))
    one = record(
        (0, 2, 3, 1, 1.0), (1, 2, 3, 1, 1.0), (0, 0, 2, 3), (1, 0, 2, 3), entities=ends, **kept
    )
    other = record(
        (0, 0, 1, 2, 5.0), (1, 0, 1, 2, 5.0), entities=((0, 0, 1), (1, 1, 2), (3, 3, 3)), **kept
    )
    out, rows = windows(one, other)
    (found,) = decode(meta, out, *rows)  # as much on both sides: the later decides
    assert triples(found) == [("a", "c", "knows"), ("c", "d", "lives")]
    (alone,) = decode(
        meta, {name: value[1:] for name, value in out.items()}, {**rows[1], "_part": 0}
    )
    assert found["relations_info"][1]["score"] == alone["relations_info"][0]["score"]
    (found,) = decode(meta, out, rows[0], letters(2, 4, part=1))  # now the text ends with both
    assert triples(found) == [("a", "c", "knows"), ("c", "d", "works")]


def test_the_heads_and_tails_of_a_pair_are_of_one_window(meta):
    """The first window is sure of the heads of b-c, the second of its tails."""
    kept = {"size": 5, "types": 4}
    one = record((0, 1, 2, 1, 9.0), entities=((1, 1, 1), (2, 2, 1)), **kept)
    other = record((1, 0, 1, 1, 9.0), entities=((0, 0, 1), (1, 1, 1)), **kept)
    out, _ = windows(one, other)
    (found,) = decode(meta, out, letters(0, 5), letters(1, 6, part=1))
    assert found["relations_info"] == []


@pytest.mark.parametrize("tails", [[], [(1, 1, 2, 2)]])
def test_a_window_that_does_not_decide_makes_no_relation(meta, tails):
    """The second window is sure of b-c, of which the first sees more."""
    kept = {"size": 5, "types": 4}
    one = record((0, 1, 2, 1), *tails, entities=((1, 1, 1), (2, 2, 1)), **kept)
    other = record((0, 0, 1, 1), (1, 0, 1, 1), entities=((0, 0, 1), (1, 1, 1)), **kept)
    out, _ = windows(one, other)
    (found,) = decode(meta, out, letters(0, 5), letters(1, 6, part=1))
    assert found["relations_info"] == []
    (alone,) = decode(meta, {name: value[1:] for name, value in out.items()}, letters(1, 6))
    assert triples(alone) == [("b", "c", "works")]


def test_entities_that_share_no_window_are_not_related(meta):
    one = record((0, 0, 3, 1), (1, 0, 3, 1), entities=((0, 0, 1),), size=4)
    other = record((0, 0, 3, 1), (1, 0, 3, 1), entities=((3, 3, 1),), size=4)
    out, rows = windows(one, other)
    (found,) = decode(meta, out, *rows)
    assert [e["text"] for e in found["entities_info"]] == ["a", "f"]
    assert found["relations_info"] == []


def test_a_model_that_relates_everything_is_bounded_and_says_so(meta):
    out = record(entities=[(i, i, 1) for i in range(6)])
    out["relation_logits"][..., 1] = 1.0 + torch.rand(1, 2, 6, 6)
    (every,) = decode(meta, out)
    assert len(every["relations_info"]) == 36
    assert "left_out" not in every
    (found,) = decode(meta, out, max_relations_per_unit=2)
    assert found["left_out"] == {"entities": 0, "relations": 24}
    best = sorted((r["score"] for r in every["relations_info"]), reverse=True)[:12]
    assert sorted((r["score"] for r in found["relations_info"]), reverse=True) == best


@pytest.mark.parametrize("config", [{}, {"entities": "given"}])
def test_work_and_memory_grow_with_the_windows_of_a_text_not_with_their_square(
    meta, monkeypatch, config
):
    """A model that has learnt nothing finds entities and relations everywhere."""
    component = built("postprocessor", "span_relation", meta, **config)
    room, asked, peaks = 10, [], []
    place = _spans._place

    def counted(values, among, wanted):
        asked[-1] += len(wanted)
        return place(values, among, wanted)

    monkeypatch.setattr(_spans, "_place", counted)
    for count in (8, 32):
        length = count * (room - 4) + 4
        text = " ".join("x" * length)
        given = [{"start": 2 * n, "end": 2 * n + 1, "labels": ["PER"]} for n in range(length)]
        rows = [
            {
                **letters(part * (room - 4), part * (room - 4) + room, part=part),
                "sentence": text,
                "entities_info": given,
            }
            for part in range(count)
        ]
        out = record(entities=(), size=room)
        out = {name: value.expand(count, *value.shape[1:]).clone() for name, value in out.items()}
        for value in out.values():
            value[..., 1] = 9.0
        asked.append(0)
        tracemalloc.start()
        (found,) = component.decode(out, rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found["relations_info"]) > 5 * length
    assert asked[1] <= 5 * asked[0]  # four times the windows
    assert peaks[1] < 6 * peaks[0], peaks


def test_many_pairs_are_looked_at_in_parts(meta, monkeypatch):
    out = record(entities=[(i, i, 1) for i in range(6)])
    generator = torch.Generator().manual_seed(0)
    out["relation_logits"] = torch.randn(1, 2, 6, 6, 4, generator=generator)
    for config in ({}, {"sym": True}):
        whole = decode(meta, out, **config)
        assert whole[0]["relations_info"]
        for name in ("PAIRS_AT_ONCE", "SCORED_AT_ONCE"):
            monkeypatch.setattr(f"dlk.nlp.postprocessor.span_relation.{name}", 7)
        assert decode(meta, out, **config) == whole


def measured(meta, out, *rows, **config):
    component = built("postprocessor", "span_relation", meta, **config)
    metrics = component.new_metrics()
    metrics.update(out, list(rows), component.decode(out, list(rows)))
    return metrics


TRUE_ENTITIES = [
    {"start": 0, "end": 1, "labels": ["PER"]},
    {"start": 4, "end": 7, "labels": ["ORG"]},
    {"start": 10, "end": 11, "labels": ["LOC"]},
]


def test_strict_wants_the_entities_types_and_boundaries_does_not(meta):
    """The first entity has another type than the model says; both relations are there."""
    true = [{**TRUE_ENTITIES[0], "labels": ["LOC"]}, *TRUE_ENTITIES[1:]]
    relations = [{"from": a, "to": b, "labels": ["works"]} for a, b in ((0, 1), (1, 2))]
    row = letters(entities_info=true, relations_info=relations)
    out = record((0, 0, 2, 1), (1, 0, 3, 1), (0, 2, 5, 1), (1, 3, 5, 1))
    scores = measured(meta, out, row).compute()
    assert scores["ent_f1"] == pytest.approx(2 / 3)
    assert scores["rel_f1"] == scores["rel_precision"] == scores["rel_recall"] == 0.5
    assert scores["rel_boundary_f1"] == scores["rel_given_f1"] == 1.0


def test_a_relation_of_an_entity_not_found_is_missed_end_to_end_and_found_where_given(meta):
    relations = [{"from": 0, "to": 1, "labels": ["works"]}]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    out = record((0, 0, 2, 1), (1, 0, 3, 1), entities=((0, 0, 1),))
    scores = measured(meta, out, row).compute()
    assert scores["rel_recall"] == scores["rel_boundary_recall"] == 0.0
    assert scores["rel_given_f1"] == 1.0


def test_given_entities_at_one_place_are_related_once(meta):
    """Both entities at "a" are found related to "f", as no cell can tell them apart."""
    given = [
        {"start": 0, "end": 1, "labels": ["PER"]},
        {"start": 0, "end": 1, "labels": ["LOC"]},
        {"start": 10, "end": 11, "labels": ["ORG"]},
    ]
    truth = [{"from": 0, "to": 2, "labels": ["works"]}]
    out = record((0, 0, 5, 1), (1, 0, 5, 1))
    row = letters(entities_info=given, relations_info=truth)
    scores = measured(meta, out, row).compute()
    assert scores["rel_given_f1"] == 1.0


def test_a_relation_to_an_entity_that_is_not_there_is_missed(meta):
    relations = [
        {"from": 0, "to": 9, "labels": ["works"]},
        {"from": 0, "to": 1, "labels": ["works"]},
    ]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    scores = measured(meta, record((0, 0, 2, 1), (1, 0, 3, 1)), row).compute()
    assert (scores["rel_precision"], scores["rel_recall"]) == (1.0, 0.5)


def test_the_other_direction_is_right_only_where_there_is_none(meta):
    relations = [{"from": 1, "to": 0, "labels": ["works"]}]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    out = record((0, 0, 2, 1), (1, 0, 3, 1))
    assert measured(meta, out, row).compute()["rel_f1"] == 0.0
    assert measured(meta, out, row, sym=True).compute()["rel_f1"] == 1.0


def test_copies_of_one_answer_are_one_hit(meta):
    """Without positions three pairs of the same texts are one relation, true once."""
    sentence = "a b a b a b"
    entities = [
        {"start": 0, "end": 1, "labels": ["PER"]},
        {"start": 2, "end": 3, "labels": ["ORG"]},
    ]
    relations = [{"from": 0, "to": 1, "labels": ["works"]}]
    row = letters(entities_info=entities, relations_info=relations, sentence=sentence)
    pairs = ((0, 1), (2, 3), (4, 5))
    cells = [(m, *pair, 1) for pair in pairs for m in (0, 1)]
    kinds = [(i, i, 1 + i % 2) for i in range(6)]
    scores = measured(meta, record(*cells, entities=kinds), row, ignore_position=True).compute()
    assert scores["rel_precision"] == scores["ent_precision"] == pytest.approx(1 / 3)
    assert scores["rel_recall"] == scores["ent_recall"] == 1.0


def test_types_to_ignore_are_neither_found_nor_counted(meta):
    relations = [{"from": 0, "to": 1, "labels": ["works"]}]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    metrics = measured(
        meta, record((0, 0, 2, 1), (1, 0, 3, 1)), row,
        ignore_relations=["works"], ignore_labels=["LOC"],
    )  # fmt: skip
    assert [(line["kind"], line["label"]) for line in metrics.table()] == [
        ("entity", "ORG"),
        ("entity", "PER"),
    ]


def test_relations_of_entities_that_do_not_count_do_not_count(meta):
    relations = [{"from": 0, "to": 2, "labels": ["works"]}]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    metrics = measured(meta, record((0, 0, 5, 1), (1, 0, 5, 1)), row, ignore_labels=["LOC"])
    assert all(line["kind"] == "entity" for line in metrics.table())


def test_a_score_that_is_no_number_gives_null_and_counts_as_missed(meta):
    relations = [{"from": 0, "to": 1, "labels": ["works"]}]
    row = letters(entities_info=TRUE_ENTITIES, relations_info=relations)
    out = record((0, 0, 2, 1), (1, 0, 3, 1))
    out["relation_logits"][0, 1, 3, 5, 0] = float("nan")
    component = built("postprocessor", "span_relation", meta)
    (found,) = component.decode(out, [row])
    assert found["entities_info"] is found["relations_info"] is None
    assert measured(meta, out, row).compute()["rel_recall"] == 0.0


def test_scores_of_another_shape_are_refused(meta):
    with pytest.raises(DlkError, match=r"must be \(B, 2, L, L, 4\).*got \(1, 4, 6, 6, 4\)"):
        decode(meta, record(matrices=4))
    with pytest.raises(DlkError, match=r"must be \(B, 6, L, L, 2\)"):
        decode(meta, record(matrices=6), relation_groups=3)


def test_groups_are_as_many_as_types(meta):
    with pytest.raises(DlkError, match=r"has 3 types.*relation_groups is 2"):
        built("postprocessor", "span_relation", meta, relation_groups=2)


def test_a_truth_that_is_no_relation_is_named(meta):
    row = letters(entities_info=TRUE_ENTITIES, relations_info=[{"from": 0, "labels": ["x"]}])
    with pytest.raises(DataError, match='row 0, column "relations_info": expected'):
        measured(meta, record(), row)


def test_entity_ids_are_texts_or_whole_numbers(meta):
    true = [{**TRUE_ENTITIES[0], "entity_id": 1.5}]
    row = letters(entities_info=true, relations_info=[{"from": 0, "to": 0, "labels": ["works"]}])
    with pytest.raises(DataError, match=r"an entity_id is a text or a whole number, got 1\.5"):
        measured(meta, record(), row)
