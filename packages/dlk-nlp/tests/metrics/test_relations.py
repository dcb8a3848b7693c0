"""Scores of relations, beside a count by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.nlp.metrics.relations import EndMetrics, RelationMetrics

ENTITY = st.tuples(st.integers(0, 2), st.sampled_from("AB"))
PAIR = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("xy"))
ROW = st.tuples(st.lists(ENTITY, min_size=4, max_size=4), st.lists(PAIR, max_size=4))


def as_data(entities, relations):
    return {
        "entities_info": [
            {"start": start, "end": start + 1, "labels": [kind]} for start, kind in entities
        ],
        "relations_info": [{"from": a, "to": b, "labels": [label]} for a, b, label in relations],
    }


def metrics(*, given=None, sym=False):
    entities = EndMetrics(truth="entities_info", sentence="sentence")
    return RelationMetrics(
        entities, truth="relations_info", given=given or (lambda out, rows: [[] for _ in rows]),
        sym=sym,
    )  # fmt: skip


def f1_by_hand(rows, found, *, typed, sym):
    hits = total = 0
    for pair in zip(rows, found, strict=True):
        counts = []
        for entities, relations in pair:
            ends = [entity if typed else entity[0] for entity in entities]
            both = [(ends[a], ends[b], label) for a, b, label in relations]
            if sym:
                both = [(*sorted(ends), label) for *ends, label in both]
            counts.append(Counter(both))
        hits += (counts[0] & counts[1]).total()
        total += counts[0].total() + counts[1].total()
    return 2 * hits / total if total else 0.0


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(ROW, ROW), min_size=1, max_size=3), sym=st.booleans())
def test_strict_and_boundaries_are_counts_of_multisets(pairs, sym):
    rows, found = ([pair[side] for pair in pairs] for side in (0, 1))
    scored = metrics(sym=sym)
    data = [{"_row": number, "_part": 0, **as_data(*row)} for number, row in enumerate(rows)]
    scored.update({}, data, [as_data(*row) for row in found])
    scores = scored.compute()
    for name, typed in (("rel", True), ("rel_boundary", False)):
        assert scores[f"{name}_f1"] == pytest.approx(f1_by_hand(rows, found, typed=typed, sym=sym))


def test_relations_of_true_entities_are_those_that_are_given():
    row = {"_row": 0, "_part": 0, **as_data([(0, "A"), (1, "B")], [(0, 1, "x")])}
    scored = metrics(given=lambda out, rows: [row["relations_info"]])
    scored.update({}, [row], [{"entities_info": [], "relations_info": []}])
    scores = scored.compute()
    assert (scores["rel_f1"], scores["rel_given_f1"]) == (0.0, 1.0)


@pytest.mark.parametrize("missing", ["entities_info", "relations_info"])
def test_rows_of_which_a_truth_is_unknown_do_not_count(missing):
    row = {"_row": 0, "_part": 0, **as_data([(0, "A")], [(0, 0, "x")])}
    scored = metrics()
    answer = {"entities_info": [], "relations_info": []}
    scored.update({}, [{k: v for k, v in row.items() if k != missing}], [answer])
    scored.update({}, [{**row, missing: None}], [answer])
    assert scored.compute() == {}


def test_a_relation_of_an_entity_that_stands_nowhere_is_missed():
    row = {"_row": 0, "_part": 0, **as_data([(0, "A"), (1, "B")], [(0, 1, "x"), (1, 0, "x")])}
    row["entities_info"][1].update(start=None, end=None)
    scored = metrics()
    scored.update({}, [row], [{"entities_info": [], "relations_info": []}])
    for name in ("rel", "rel_boundary", "rel_given"):
        assert scored.counts[name].table()[0]["support"] == 2


def test_what_training_never_saw_is_missed_and_never_left_out():
    """An entity and a relation of types that no vocabulary holds, and nothing is found."""
    row = {"_row": 0, "_part": 0, **as_data([(0, "unseen"), (1, "B")], [(0, 1, "new")])}
    scored = metrics()
    scored.update({}, [row], [as_data([(1, "B")], [])])
    scores = scored.compute()
    assert scores["ent_recall"] == 0.5
    assert {row["label"]: row["support"] for row in scored.table()} == {
        "unseen": 1,
        "B": 1,
        "new": 1,
    }
    assert (scores["rel_recall"], scores["rel_f1"], scores["rel_given_f1"]) == (0.0, 0.0, 0.0)
    # with both ends right the relation is still missed, and wrong where it has another type
    scored.update({}, [row], [as_data([(0, "unseen"), (1, "B")], [(0, 1, "x")])])
    relations = {line["label"]: line["support"] for line in scored.counts["rel"].table()}
    assert relations == {"new": 2, "x": 0}
