"""Counts of entities and other things found in texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2, IOBES

from dlk.errors import DataError
from dlk.nlp import tags
from dlk.nlp.metrics.entities import EntityMetrics, ThingCounts

LABELS = ("LOC", "art-work", "PER")
SEQEVAL = {"BIO": IOB2, "BIOES": IOBES}


def metrics(**options):
    return EntityMetrics(truth="entities_info", sentence="sentence", **options)


def entity(start, end, *labels):
    return {"start": start, "end": end, "labels": list(labels)}


def counted(truth, predicted, sentence="New York is big", **options):
    found = metrics(**options)
    row = {"_row": 0, "_part": 0, "sentence": sentence, "entities_info": truth}
    found.update({}, [row], [{"entities_info": predicted}])
    return found.compute()


@st.composite
def tagged(draw):
    """Return a scheme and (true, predicted) tags of some sentences: any sequences, valid or not."""
    scheme = draw(st.sampled_from(sorted(SEQEVAL)))
    words = st.sampled_from(tags.tag_set(LABELS, scheme))
    # seqeval's strict mode needs one word at least
    pairs = st.lists(st.tuples(words, words), min_size=1, max_size=9)
    return scheme, draw(st.lists(pairs, min_size=1, max_size=5))


def test_an_answer_that_there_is_not_is_no_entity():
    nowhere = {"start": None, "end": None, "labels": ["LOC"]}
    assert counted([nowhere], [entity(0, 3, "LOC")])["precision"] == 0.0
    assert counted([nowhere, entity(0, 3, "LOC")], [entity(0, 3, "LOC")])["f1"] == 1.0
    with pytest.raises(DataError, match="expected"):
        counted([{"start": None, "end": 3, "labels": ["LOC"]}], [])


@settings(deadline=None)
@given(tagged=tagged(), strict=st.booleans())
def test_scores_are_those_of_seqeval(tagged, strict):
    scheme, sentences = tagged
    true = [[one for one, _ in pairs] for pairs in sentences]
    predicted = [[other for _, other in pairs] for pairs in sentences]
    found = ThingCounts()
    for one, other in zip(true, predicted, strict=True):
        found.update(*(
            [(s.label, (s.start, s.end)) for s in tags.decode(words, scheme, strict=strict)]
            for words in (one, other)
        ))  # fmt: skip
    options = {"mode": "strict", "scheme": SEQEVAL[scheme]} if strict else {}
    scores = found.compute()
    for name, function in (
        ("precision", precision_score),
        ("recall", recall_score),
        ("f1", f1_score),
    ):
        for suffix, average in (("", "micro"), ("_macro", "macro")):
            if average == "macro" and not found.table():
                expected = 0.0  # seqeval takes the mean of nothing
            else:
                expected = function(true, predicted, average=average, zero_division=0, **options)
            assert scores[name + suffix] == pytest.approx(expected, abs=1e-12)


def test_three_copies_of_one_right_entity_are_one_hit():
    right = entity(0, 8, "LOC")
    scores = counted([right], [right, right, right])
    assert (scores["precision"], scores["recall"], scores["f1"]) == (1 / 3, 1.0, 0.5)
    assert counted([right, right], [right])["recall"] == 0.5


def test_copies_of_one_text_are_matched_one_to_one_where_positions_do_not_count():
    york = "York York York"
    three = [entity(start, start + 4, "LOC") for start in (0, 5, 10)]
    scores = counted(three[:1], three, york, ignore_position=True)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (1 / 3, 1.0, 0.5)


def test_position_counts_unless_it_is_ignored():
    sentence = "York, York"
    one, other = entity(0, 4, "LOC"), entity(6, 10, "LOC")
    assert counted([one], [other], sentence)["f1"] == 0.0
    assert counted([one], [other], sentence, ignore_position=True)["f1"] == 1.0
    assert counted([one], [entity(6, 10, "PER")], sentence, ignore_position=True)["f1"] == 0.0


def test_ignored_characters_do_not_count_at_the_ends():
    sentence = '"New York"!'
    inner, outer = entity(1, 9, "LOC"), entity(0, 11, "LOC")
    for ignore_position in (False, True):
        options = {"ignore_position": ignore_position}
        assert counted([inner], [outer], sentence, **options)["f1"] == 0.0
        assert counted([inner], [outer], sentence, ignore_char=['"', "!"], **options)["f1"] == 1.0


def test_ignored_labels_are_neither_true_nor_predicted():
    both = [entity(0, 3, "PER"), entity(4, 8, "LOC")]
    assert counted(both, [both[1]], ignore_labels=["PER"])["f1"] == 1.0
    assert counted([both[1]], both, ignore_labels=["PER"])["f1"] == 1.0
    assert counted(both, [both[1]])["f1"] == pytest.approx(2 / 3)


def test_an_unknown_truth_counts_nothing_and_an_empty_one_counts_what_was_found():
    found = metrics()
    rows = [
        {"_row": 0, "_part": 0},
        {"_row": 1, "_part": 0, "entities_info": None},
    ]
    answers = [{"entities_info": [entity(0, 3, "LOC")]}] * 2
    found.update({}, rows, answers)
    assert found.compute() == {}
    assert counted([], [entity(0, 3, "LOC")])["precision"] == 0.0
    assert counted([], [])["f1"] == 0.0


def test_null_is_a_miss_of_all():
    scores = counted([entity(0, 3, "LOC")], None)
    assert scores["recall"] == 0.0


def test_a_row_in_windows_counts_once():
    found = metrics()
    row = {"_row": 4, "entities_info": [entity(0, 3, "LOC")]}
    found.update({}, [row | {"_part": 0}, row | {"_part": 1}], [{"entities_info": []}])
    assert found.table() == [
        {"label": "LOC", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1, "predicted": 0}
    ]


def test_an_entity_with_two_labels_is_two():
    found = counted([entity(0, 3, "LOC", "PER")], [entity(0, 3, "PER")])
    assert (found["precision"], found["recall"]) == (1.0, 0.5)


def test_the_table_has_a_row_per_type_sorted():
    found = metrics()
    row = {"_row": 0, "entities_info": [entity(0, 3, "b"), entity(4, 5, "a")]}
    found.update({}, [row], [{"entities_info": [entity(0, 3, "b"), entity(4, 5, "c")]}])
    assert [(line["label"], line["f1"], line["support"]) for line in found.table()] == [
        ("a", 0.0, 1),
        ("b", 1.0, 1),
        ("c", 0.0, 0),
    ]


@settings(deadline=None)
@given(rows=st.lists(st.tuples(*[st.lists(st.sampled_from([("a", 1), ("a", 2), ("b", 1)]))] * 2)))
def test_parts_merged_in_any_order_score_as_one_pass(rows):
    whole, backwards = ThingCounts(), ThingCounts()
    for truth, predicted in rows:
        whole.update(truth, predicted)
    for truth, predicted in reversed(rows):
        part = ThingCounts()
        part.update(truth, predicted)
        backwards.merge(json.loads(json.dumps(part.state())))
    assert backwards.compute() == whole.compute()
    assert backwards.table() == whole.table()


@pytest.mark.parametrize("wrong", ["LOC", {"start": 0, "labels": ["x"]}, {"start": None}])
def test_a_truth_that_is_no_entity_names_row_and_column(wrong):
    with pytest.raises(DataError, match=r'row 0, column "entities_info": expected .*, got'):
        counted([wrong], [])


def test_texts_that_are_compared_must_be_there():
    with pytest.raises(DataError, match=r'row 0: .* "sentence" holds none'):
        counted([entity(0, 3, "x")], [], sentence=None, ignore_position=True)
