"""Relations to cells over units."""

from __future__ import annotations

from typing import ClassVar

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


def put_types(meta):
    vocabulary = Vocabulary(unk="O")
    vocabulary.add({"works": 3, "lives": 2})
    meta.put_vocabulary("relation_vocab.json", vocabulary)


def entity(name=None):
    return {"start": 0, "end": 1, "labels": ["x"], **({} if name is None else {"entity_id": name})}


def relation(source, target, *labels):
    return {"from": source, "to": target, "labels": list(labels)}


COLUMNS = {
    "entity_units": [[[1, 2], [4, 6]], [], [[0, 0], [2, 2], [1, 3]]],
    "entities_info": [[entity("a"), entity("b")], [], [entity(), entity(), entity()]],
    "relations_info": [
        [relation("b", "a", "works")],
        [],
        [relation(0, 1, "works"), relation(2, 2, "lives")],
    ],
}
BAD = [
    None,
    "works",
    ["works"],
    [{"from": "a", "labels": ["x"]}],
    [{"from": "a", "to": "b"}],
    [{"from": "a", "to": "b", "labels": "works"}],
    [{"from": "a", "to": 1.5, "labels": ["works"]}],
]


class TestShared(SubprocessorConformance):
    component = ("subprocessor", "span_relation_relabel")
    columns: ClassVar = COLUMNS
    bad: ClassVar = {
        "entity_units": [COLUMNS["entity_units"][0]] * len(BAD),
        "entities_info": [COLUMNS["entities_info"][0]] * len(BAD),
        "relations_info": BAD,
    }

    def prepare(self, meta):
        put_types(meta)


class TestSeparate(TestShared):
    config: ClassVar = {"label_seperate": True, "sym": True}


@pytest.fixture
def meta(tmp_path):
    made = Meta(tmp_path)
    put_types(made)
    return made


def relabel(meta, *relations, units=((1, 2), (4, 6), (5, 5)), windows=None, **config):
    """Cells of one row with entities 0, 1 and 2; and what was counted beside all."""
    step = register.build(make("subprocessor", "span_relation_relabel", config), Setup(meta))
    each = windows or [units]
    ctx = TransformContext("train", "train", [7] * len(each))
    columns = {
        "entity_units": [[list(unit) for unit in mine] for mine in each],
        "entities_info": [[entity() for _ in each[0]]] * len(each),
        "relations_info": [list(relations)] * len(each),
    }
    made = step.transform({**columns, "_row": ctx.rows}, ctx)
    assert not ctx.bad
    counts = {name: count for name, count in ctx.counts.items() if name != "relations"}
    return made["relation_cells"], counts


def test_heads_stand_in_one_matrix_and_tails_in_the_other(meta):
    cells, counts = relabel(meta, relation(1, 0, "lives"))
    assert cells == [[[0, 4, 1, 2], [1, 6, 2, 2]]]
    assert counts == {}


def test_sym_folds_the_direction(meta):
    one, _ = relabel(meta, relation(1, 0, "lives"), sym=True)
    other, _ = relabel(meta, relation(0, 1, "lives"), sym=True)
    assert one == other == [[[0, 1, 4, 2], [1, 2, 6, 2]]]


def test_each_type_has_a_pair_of_matrices_of_its_own(meta):
    cells, counts = relabel(meta, relation(0, 1, "works", "lives"), label_seperate=True)
    assert cells == [[[0, 1, 4, 1], [1, 2, 6, 1], [2, 1, 4, 1], [3, 2, 6, 1]]]
    assert counts == {}


def test_a_second_type_on_a_cell_is_counted_and_leaves_no_half_of_it(meta):
    """The heads of 1 and 2 differ, the tails of both relations to 0 too: only one cell clashes."""
    units = ((1, 2), (4, 6), (4, 5))
    given = [relation(1, 0, "works"), relation(2, 0, "lives")]
    cells, counts = relabel(meta, *given, units=units)
    assert cells == [[[0, 4, 1, 1], [1, 6, 2, 1]]]
    assert counts == {"relations on cells of another type": 1}


@pytest.mark.parametrize("separate", [False, True])
def test_a_relation_given_twice_is_counted_also_of_other_entities_on_the_same_units(meta, separate):
    given = [relation(0, 1, "works"), relation(0, 1, "works"), relation(0, 2, "works")]
    units = ((1, 2), (4, 6), (4, 6))
    cells, counts = relabel(meta, *given, units=units, label_seperate=separate)
    assert cells == [[[0, 1, 4, 1], [1, 2, 6, 1]]]
    assert counts == {"relations given twice": 2}


def test_a_relation_whose_cells_two_others_say_is_not_given_twice(meta):
    units = ((0, 1), (2, 3), (1, 4), (3, 5), (0, 4), (2, 5))
    heads_of_one, tails_of_other, both = ((0, 1), (2, 3), (4, 5))
    given = [relation(*ends, "works") for ends in (heads_of_one, tails_of_other, both)]
    cells, counts = relabel(meta, *given, units=units)
    assert cells == [[[0, 0, 2, 1], [0, 1, 3, 1], [1, 1, 3, 1], [1, 4, 5, 1]]]
    assert counts == {}


def test_a_relation_of_a_lost_entity_is_counted(meta):
    cells, counts = relabel(
        meta, relation(0, 1, "works"), relation(0, 2, "works"), units=((0, 0), (-1, -1), (2, 2))
    )
    assert cells == [[[0, 0, 2, 1], [1, 0, 2, 1]]]
    assert counts == {"relations of lost entities": 1}


def test_a_relation_of_an_entity_that_is_not_there_is_counted(meta):
    cells, counts = relabel(meta, relation(0, 9, "works"))
    assert cells == [[]]
    assert counts == {"relations of entities that are not there": 1}


def test_a_type_never_seen_in_training_is_ignored_by_the_loss_and_counted(meta):
    cells, counts = relabel(meta, relation(0, 1, "new"), mask_fill=-7)
    assert cells == [[[0, 1, 4, -7], [1, 2, 6, -7]]]
    assert counts == {"relations of unknown type": 1}


def test_relations_within_windows_are_cells_there_and_across_windows_counted(meta):
    first, second = ((0, 0), (3, 3), (-1, -1)), ((-1, -1), (0, 0), (2, 2))
    given = [relation(0, 1, "works"), relation(1, 2, "works"), relation(0, 2, "lives")]
    cells, counts = relabel(meta, *given, windows=[first, second])
    assert cells == [[[0, 0, 3, 1], [1, 0, 3, 1]], [[0, 0, 2, 1], [1, 0, 2, 1]]]
    assert counts == {"relations across windows of a text": 1}
