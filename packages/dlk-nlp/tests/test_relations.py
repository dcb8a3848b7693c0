"""Which entities a relation names."""

from __future__ import annotations

import pytest

from dlk.nlp.relations import Relation, entity_places, relations_of


def relation(source, target, *labels):
    return {"from": source, "to": target, "labels": list(labels)}


def test_entities_are_named_by_their_id_or_else_by_their_place():
    entities = [{"entity_id": "a"}, {}, {"entity_id": None}, {"entity_id": 7}]
    assert entity_places(entities) == {"a": 0, 1: 1, 2: 2, 7: 3}


@pytest.mark.parametrize("second", [{"entity_id": 1}, {}])
def test_two_entities_of_one_name_are_refused(second):
    with pytest.raises(ValueError, match="entities 0 and 1 are both called 1"):
        entity_places([{"entity_id": 1}, second])


def test_a_relation_with_several_labels_is_as_many():
    found = list(relations_of([{}, {}], [relation(0, 1, "x", "y"), relation(1, 1, "z")]))
    assert found == [Relation(0, 1, "x"), Relation(0, 1, "y"), Relation(1, 1, "z")]


def test_an_entity_that_is_not_there_is_none():
    assert list(relations_of([{}], [relation(0, "b", "x")])) == [Relation(0, None, "x")]


def test_a_number_and_its_text_are_two_names():
    assert list(relations_of([{"entity_id": "0"}], [relation("0", 0, "x")])) == [
        Relation(0, None, "x")
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        {"from": 0, "to": 1},
        {"from": 0, "labels": ["x"]},
        relation(0, None, "x"),
        relation(True, 0, "x"),
        {"from": 0, "to": 0, "labels": "x"},
        {"from": 0, "to": 0, "labels": [1]},
        relation(0, 0),
        relation(0, 0, ""),
    ],
)
def test_what_is_no_relation_is_refused(wrong):
    with pytest.raises(ValueError, match="id of an entity"):
        list(relations_of([{}], [wrong]))


@pytest.mark.parametrize("name", [1.5, [], True])
def test_an_id_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="an entity_id is a text or a whole number"):
        entity_places([{"entity_id": name}])
