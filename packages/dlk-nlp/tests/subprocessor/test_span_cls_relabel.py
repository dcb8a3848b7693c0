"""Entities to cells over units."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


def entity(start, end, *labels, **more):
    return {"start": start, "end": end, "labels": list(labels), **more}


def put_labels(meta, labels=("per", "loc"), **specials):
    vocabulary = Vocabulary(**(specials or {"unk": "O"}))
    vocabulary.add({label: len(labels) - place for place, label in enumerate(labels)})
    meta.put_vocabulary("label_vocab.json", vocabulary)


COLUMNS = {
    "sentence": ["ab cd ef", "", "x", "  ab "],
    "offsets": [
        [(0, 0), (0, 1), (1, 2), (3, 5), (6, 8), (0, 0)],
        [(0, 0), (0, 0)],
        [(0, 0), (0, 1), (0, 0)],
        [(0, 0), (2, 4), (0, 0)],
    ],
    "word_ids": [[None, 0, 0, 1, 2, None], [None, None], [None, 0, None], [None, 0, None]],
    "sequence_ids": [
        [None, 1, 1, 1, 1, None],
        [None, None],
        [None, 1, None],
        [None, 1, None],
    ],
    "entities_info": [
        [entity(0, 5, "per"), entity(6, 7, "loc", note="ignored")],
        [],
        [entity(0, 1, "per")],
        [entity(1, 4, "per")],
    ],
}
BAD = [
    None,
    "ab",
    ["ab"],
    [{"end": 1, "labels": ["x"]}],
    [entity(2, 1, "x")],
    [entity(0, 9, "x")],
    [{"start": None, "end": None, "labels": ["x"]}],
]


class TestPieces(SubprocessorConformance):
    component = ("subprocessor", "span_cls_relabel")
    columns: ClassVar = COLUMNS
    bad: ClassVar = {
        **{name: [values[0]] * len(BAD) for name, values in COLUMNS.items()},
        "entities_info": BAD,
    }

    def prepare(self, meta):
        put_labels(meta)


class TestWords(TestPieces):
    config: ClassVar = {"level": "word", "drop": "shorter", "mask_first_sent": True}


class TestNoAnswer(TestPieces):
    config: ClassVar = {"null_to_zero_index": True, "drop": "longer", "strict": True}
    bad: ClassVar = {
        **{name: values[:-1] for name, values in TestPieces.bad.items()},
    }


@pytest.fixture
def meta(tmp_path):
    made = Meta(tmp_path)
    put_labels(made)
    return made


def relabel(meta, *, rows=None, stage="train", columns=None, **config):
    step = register.build(make("subprocessor", "span_cls_relabel", config), Setup(meta))
    given = dict(columns or COLUMNS)
    if stage != "train":
        del given["entities_info"]
    ctx = TransformContext(stage, stage, rows or list(range(len(given["sentence"]))))
    made = step.transform({**given, "_row": ctx.rows}, ctx)
    return made, ctx


LETTERS = "abcdefghij"
EACH = [(place, place + 1) for place in range(10)]


def letters(meta, *entities, **config):
    """Cells of "abcdefghij", of which each letter is a unit; and what was counted beside all."""
    columns = {"sentence": [LETTERS], "offsets": [EACH], "entities_info": [list(entities)]}
    made, ctx = relabel(meta, columns=columns, **config)
    assert not ctx.bad
    counts = {name: count for name, count in ctx.counts.items() if name != "entities"}
    return made["span_cells"][0], made["entity_units"][0], counts


def test_entities_are_cells_of_their_first_and_last_piece(meta):
    made, ctx = relabel(meta)
    assert made["span_cells"] == [[[1, 3, 1], [4, 4, 2]], [], [[1, 1, 1]], [[1, 1, 1]]]
    assert made["entity_units"] == [[[1, 3], [4, 4]], [], [[1, 1]], [[1, 1]]]
    assert made["unit_mask"] == [[0, 1, 1, 1, 1, 0], [0, 0], [0, 1, 0], [0, 1, 0]]
    assert made["unit_offsets"][3] == [(0, 0), (2, 4), (0, 0)]
    assert ctx.counts == {"entities": 4, "entities snapped to whole units": 2}


def test_at_word_level_units_are_words_and_say_where_their_pieces_are(meta):
    made, _ = relabel(meta, level="word")
    assert made["span_cells"] == [[[0, 1, 1], [2, 2, 2]], [], [[0, 0, 1]], [[0, 0, 1]]]
    assert made["unit_offsets"][0] == [(0, 2), (3, 5), (6, 8)]
    assert made["unit_mask"] == [[1, 1, 1], [], [1], [1]]
    assert made["gather_index"][0] == [1, 3, 4]
    assert made["word_index"][0] == [-1, 0, 0, 1, 2, -1]


def test_without_the_truth_there_are_units_and_nothing_else(meta):
    made, _ = relabel(meta, stage="online")
    assert set(made) == {"unit_offsets", "unit_mask"}


def test_nested_and_crossing_entities_are_all_kept(meta):
    given = [entity(0, 6, "per"), entity(2, 4, "loc"), entity(3, 8, "loc")]
    cells, _, counts = letters(meta, *given)
    assert cells == [[0, 5, 1], [2, 3, 2], [3, 7, 2]]
    assert counts == {}


@pytest.mark.parametrize(
    ("config", "cells"),
    [
        ({"drop": "shorter"}, [[0, 5, 1]]),
        ({"drop": "longer"}, [[4, 7, 2]]),
        ({"drop": "shorter", "entity_priority": ["loc"], "priority_trigger": 1}, [[0, 5, 1]]),
        ({"drop": "shorter", "entity_priority": ["loc"], "priority_trigger": 2}, [[4, 7, 2]]),
        ({"drop": "longer", "entity_priority": ["per"], "priority_trigger": 2}, [[0, 5, 1]]),
    ],
)
def test_of_two_that_overlap_one_goes_by_length_or_priority(meta, config, cells):
    found, units, counts = letters(meta, entity(0, 6, "per"), entity(4, 8, "loc"), **config)
    assert found == cells
    assert units.count([-1, -1]) == 1
    assert counts == {"entities overlapping another": 1}


def test_two_types_on_one_span_are_counted_and_the_first_is_kept(meta):
    cells, units, counts = letters(meta, entity(1, 3, "loc"), entity(1, 3, "per"))
    assert cells == [[1, 2, 2]]
    assert units == [[1, 2], [1, 2]]
    assert counts == {"entities of a second type on the same units": 1}


def test_priority_decides_between_two_types_on_one_span(meta):
    given = [entity(1, 3, "loc"), entity(1, 3, "per")]
    cells, _, counts = letters(meta, *given, entity_priority=["per"])
    assert cells == [[1, 2, 1]]
    assert counts == {"entities of a second type on the same units": 1}


def test_an_entity_with_two_labels_is_two_types_on_one_span(meta):
    cells, _, counts = letters(meta, entity(1, 3, "loc", "per"))
    assert cells == [[1, 2, 2]]
    assert counts == {"entities of a second type on the same units": 1}


def test_an_entity_that_is_lost_is_counted_once_and_with_several_labels_as_so_many(meta):
    columns = {
        "sentence": ["ab  cd"],
        "offsets": [[(0, 2), (4, 6)]],
        "entities_info": [[entity(2, 4, "new"), entity(3, 4, "loc", "per"), entity(0, 2, "new")]],
    }
    made, ctx = relabel(meta, columns=columns)
    assert made["span_cells"] == [[[0, 0, -100]]]
    lost = {"entities without any unit": 3, "entities of unknown type": 1}
    assert ctx.counts == {"entities": 4, **lost}


def test_an_entity_given_twice_is_counted(meta):
    cells, _, counts = letters(meta, entity(1, 3, "loc"), entity(1, 3, "loc"))
    assert cells == [[1, 2, 2]]
    assert counts == {"entities given twice": 1}


def test_a_label_never_seen_in_training_is_ignored_by_the_loss_and_counted(meta):
    cells, units, counts = letters(meta, entity(1, 3, "new"), entity(4, 5, "per"), mask_fill=-7)
    assert cells == [[1, 2, -7], [4, 4, 1]]
    assert units == [[1, 2], [4, 4]]
    assert counts == {"entities of unknown type": 1}


def test_a_known_label_wins_over_one_that_is_ignored(meta):
    cells, _, _ = letters(meta, entity(1, 3, "new"), entity(1, 3, "per"))
    assert cells == [[1, 2, 1]]


def test_labels_beyond_a_byte_and_two_keep_their_ids(tmp_path):
    meta = Meta(tmp_path)
    names = [f"label {number:05d}" for number in range(40_000)]
    put_labels(meta, names)
    cells, _, _ = letters(
        meta,
        entity(0, 1, names[126]),
        entity(0, 2, names[127]),
        entity(0, 3, names[32_767]),
        entity(0, 4, names[39_999]),
    )
    assert cells == [[0, 0, 127], [0, 1, 128], [0, 2, 32_768], [0, 3, 40_000]]


def test_an_entity_cut_by_truncation_is_counted_and_its_visible_part_ignored(meta):
    columns = {
        "sentence": [LETTERS],
        "offsets": [EACH[:6]],
        "entities_info": [[entity(4, 8, "per"), entity(8, 9, "loc"), entity(0, 1, "loc")]],
    }
    made, ctx = relabel(meta, columns=columns)
    assert made["span_cells"] == [[[0, 0, 2], [4, 5, -100]]]
    assert made["entity_units"] == [[[-1, -1], [-1, -1], [0, 0]]]
    assert ctx.counts == {"entities": 3, "entities cut by truncation": 2}


def windows(*entities):
    """The text in two windows of six letters that share two."""
    return {
        "sentence": [LETTERS] * 2,
        "offsets": [EACH[:6], EACH[4:]],
        "entities_info": [list(entities)] * 2,
    }


def test_each_window_has_the_entities_it_holds_whole(meta):
    columns = windows(entity(0, 2, "per"), entity(4, 6, "per"), entity(5, 8, "loc"))
    made, ctx = relabel(meta, columns=columns, rows=[3, 3])
    assert made["span_cells"] == [[[0, 1, 1], [4, 5, 1], [5, 5, -100]], [[0, 1, 1], [1, 3, 2]]]
    assert made["entity_units"] == [
        [[0, 1], [4, 5], [-1, -1]],
        [[-1, -1], [0, 1], [1, 3]],
    ]
    assert ctx.counts == {"entities": 3}


def test_an_entity_that_no_window_holds_whole_is_lost_and_counted_once(meta):
    made, ctx = relabel(meta, columns=windows(entity(1, 9, "per")), rows=[3, 3])
    assert made["span_cells"] == [[[1, 5, -100]], [[0, 4, -100]]]
    assert ctx.counts == {"entities": 1, "entities cut by the edges of windows": 1}


@pytest.mark.parametrize("level", ["piece", "word"])
def test_a_mark_behind_a_window_is_left_to_the_next_which_may_have_a_piece_for_it(meta, level):
    columns = {
        "sentence": ["e\u0301"] * 2,
        "offsets": [[(0, 1)], [(1, 2)]],
        "word_ids": [[0], [0]],
        "entities_info": [[entity(0, 2, "per")]] * 2,
    }
    made, _ = relabel(meta, rows=[0, 0], columns=columns, level=level)
    # a word is whole in the window with its first piece
    assert made["unit_offsets"] == ([[(0, 2)], []] if level == "word" else [[(0, 1)], [(1, 2)]])
    alone = {name: values[:1] for name, values in columns.items()}
    assert relabel(meta, columns=alone, level=level)[0]["unit_offsets"] == [[(0, 2)]]


@pytest.mark.parametrize("level", ["piece", "word"])
def test_a_mark_that_no_window_has_a_piece_for_is_kept_by_the_entity_before_it(meta, level):
    columns = {
        "sentence": ["e\u0301 ab"] * 2,
        "offsets": [[(0, 1)], [(3, 5)]],
        "word_ids": [[0], [1]],
        "entities_info": [[entity(0, 2, "per")]] * 2,
    }
    made, ctx = relabel(meta, rows=[0, 0], columns=columns, level=level)
    assert made["unit_offsets"] == [[(0, 2)], [(3, 5)]]
    assert ctx.counts == {"entities": 1}  # exactly: nothing was snapped


def test_an_entity_inside_of_a_word_that_windows_cut_has_one_cell(meta):
    columns = {
        "sentence": ["a bcdefghi j"] * 2,
        "offsets": [[(0, 1), (2, 4), (4, 6), (6, 8)], [(4, 6), (6, 8), (8, 10), (11, 12)]],
        "word_ids": [[0, 1, 1, 1], [1, 1, 1, 2]],
        "entities_info": [[entity(4, 6, "per"), entity(11, 12, "loc")]] * 2,
    }
    made, ctx = relabel(meta, columns=columns, rows=[0, 0], level="word")
    assert made["unit_offsets"] == [[(0, 1), (2, 10)], [(11, 12)]]
    assert made["span_cells"] == [[[1, 1, 1]], [[0, 0, 2]]]
    assert made["gather_index"] == [[0, 1], [3]]
    assert made["word_index"] == [[0, 1, 1, 1], [-1, -1, -1, 0]]
    assert ctx.counts == {"entities": 2, "entities snapped to whole units": 1}


def test_an_entity_inside_of_units_that_share_characters_takes_them_all(meta):
    """As in "▁" and "สวัสดี", both of which hold the first letter: what is read from a cell."""
    columns = {
        "sentence": ["abcdef gh"],
        "offsets": [[(0, 1), (0, 6), (7, 9)]],
        "entities_info": [[entity(3, 6, "per"), entity(3, 9, "loc")]],
    }
    made, ctx = relabel(meta, columns=columns)
    assert made["span_cells"] == [[[0, 1, 1], [0, 2, 2]]]
    assert made["entity_units"] == [[[0, 1], [0, 2]]]
    assert ctx.counts == {"entities": 2, "entities snapped to whole units": 2}


def test_an_entity_of_white_space_fits_no_unit_and_is_counted(meta):
    columns = {
        "sentence": ["a  b"],
        "offsets": [[(0, 1), (3, 4)]],
        "entities_info": [[entity(1, 3, "per")]],
    }
    made, ctx = relabel(meta, columns=columns)
    assert made["span_cells"] == [[]]
    assert ctx.counts == {"entities": 1, "entities without any unit": 1}


def test_strict_loses_what_is_no_whole_units(meta):
    columns = {
        "sentence": ["abc def"],
        "offsets": [[(0, 3), (4, 7)]],
        "entities_info": [[entity(0, 2, "per")]],
    }
    made, ctx = relabel(meta, columns=columns, strict=True)
    assert made["span_cells"] == [[[0, 0, -100]]]
    assert ctx.counts == {"entities": 1, "entities that are no whole units": 1}
    made, ctx = relabel(meta, columns=columns)
    assert made["span_cells"] == [[[0, 0, 1]]]
    assert ctx.counts == {"entities": 1, "entities snapped to whole units": 1}


def test_the_first_text_of_a_pair_has_no_units(meta):
    columns = {
        "sentence": ["ab cd"],
        "offsets": [[(0, 0), (0, 3), (0, 0), (0, 2), (3, 5), (0, 0)]],
        "sequence_ids": [[None, 0, None, 1, 1, None]],
        "entities_info": [[entity(0, 2, "per")]],
    }
    made, _ = relabel(meta, columns=columns, mask_first_sent=True)
    assert made["unit_mask"] == [[0, 0, 0, 1, 1, 0]]
    assert made["unit_offsets"][0][1] == (0, 0)
    assert made["span_cells"] == [[[3, 3, 1]]]


def test_a_question_without_an_answer_is_the_cell_of_the_first_piece(meta):
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 0), (0, 2), (0, 0)]],
        "entities_info": [[{"start": None, "end": None, "labels": ["per"]}]],
    }
    made, _ = relabel(meta, columns=columns, null_to_zero_index=True)
    assert made["span_cells"] == [[[0, 0, 1]]]
    assert made["unit_mask"] == [[1, 1, 0]]
    assert made["entity_units"] == [[[-1, -1]]]


def test_a_null_answer_of_unknown_type_is_counted_and_ignored(meta):
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 0), (0, 2), (0, 0)]],
        "entities_info": [
            [
                {"start": None, "end": None, "labels": ["unseen"]},
                {"start": 0, "end": 2, "labels": ["per"]},
            ]
        ],
    }
    made, ctx = relabel(meta, columns=columns, null_to_zero_index=True)
    assert made["span_cells"] == [[[0, 0, -100], [1, 1, 1]]]
    assert ctx.counts == {"entities": 2, "entities of unknown type": 1}
    columns["entities_info"][0].append({"start": None, "end": None, "labels": ["loc"]})
    made, ctx = relabel(meta, columns=columns, null_to_zero_index=True)
    assert made["span_cells"] == [[[0, 0, 2], [1, 1, 1]]]  # one of the two types is known


@given(
    labels=st.lists(st.lists(st.sampled_from(["per", "loc", "new"]), min_size=1), max_size=4),
    spans=st.lists(st.sampled_from([(0, 1), (0, 2), (1, 3), (2, 3)]), max_size=3),
    pieces=st.sampled_from([[], [(0, 0), (0, 1), (1, 2), (2, 2)]]),
)
def test_null_answers_less_those_that_are_lost_are_what_cells_say(
    tmp_path_factory, labels, spans, pieces
):
    meta = Meta(tmp_path_factory.mktemp("meta"))
    put_labels(meta)
    nulls = [entity(None, None, *mine) for mine in labels]
    columns = {
        "sentence": ["abc"],
        "offsets": [pieces],
        "entities_info": [nulls + [entity(*span, "loc") for span in spans]],
    }
    made, ctx = relabel(meta, columns=columns, null_to_zero_index=True)
    said = [cell for cell in made["span_cells"][0] if cell[2] != -100]
    assert all(cell[1] < len(pieces) for cell in made["span_cells"][0])
    counts = dict(ctx.counts)
    given = counts.pop("entities", 0)
    assert given == sum(len(set(mine)) for mine in labels) + len(spans)
    counts.pop("entities snapped to whole units", None)
    assert given - sum(counts.values()) == len(said)


@pytest.mark.parametrize("labels", [[], [None], [3], ["per", ""]])
def test_a_null_answer_without_a_type_is_a_bad_row(meta, labels):
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 0), (0, 2), (0, 0)]],
        "entities_info": [[entity(None, None, *labels)]],
    }
    _, ctx = relabel(meta, columns=columns, null_to_zero_index=True)
    assert "entity 0" in ctx.bad[0].reason
    assert "label" in ctx.bad[0].reason


def test_a_bad_entity_after_a_null_answer_is_named_by_its_own_place(meta):
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 0), (0, 2), (0, 0)]],
        "entities_info": [[entity(None, None, "per"), entity(0, 9, "per")]],
    }
    _, ctx = relabel(meta, columns=columns, null_to_zero_index=True)
    assert "entity 1: expected 0 <= start < end <= 2" in ctx.bad[0].reason


def test_null_answers_are_counted_on_pieces_only():
    with pytest.raises(ConfigError, match=r"words have no \[CLS\]"):
        make("subprocessor", "span_cls_relabel", {"null_to_zero_index": True, "level": "word"})


@pytest.mark.parametrize("specials", [{"pad": "[PAD]", "unk": "O"}, {"pad": "O"}])
def test_a_vocabulary_whose_first_word_is_a_label_is_refused(tmp_path, specials):
    meta = Meta(tmp_path)
    put_labels(meta, **specials)
    with pytest.raises(DataError, match='"pad": null and "unk": "O"'):
        relabel(meta)
