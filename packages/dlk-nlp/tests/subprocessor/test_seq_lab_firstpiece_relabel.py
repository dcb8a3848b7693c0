"""Entities to a tag per word."""

from __future__ import annotations

from typing import ClassVar

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


def entity(start, end, *labels):
    return {"start": start, "end": end, "labels": list(labels)}


COLUMNS = {
    "sentence": ["abcd e fg", "", " "],
    "offsets": [
        [(0, 0), (0, 2), (2, 4), (5, 6), (7, 8), (8, 9), (0, 0)],
        [(0, 0), (0, 0)],
        [(0, 1)],
    ],
    "word_ids": [[None, 0, 0, 1, 2, 2, None], [None, None], [0]],
    "entities_info": [[entity(2, 6, "x"), entity(7, 9, "y")], [], []],
}


class TestSeqLabFirstpieceRelabel(SubprocessorConformance):
    component = ("subprocessor", "seq_lab_firstpiece_relabel")
    columns: ClassVar = COLUMNS
    bad: ClassVar = {
        "sentence": ["ab", "ab"],
        "offsets": [[(0, 2)], [(0, 2)]],
        "word_ids": [[0], [0, 0]],
        "entities_info": [[entity(0, 3, "x")], []],
    }


def relabel(columns, stage="train", **config):
    name = "seq_lab_firstpiece_relabel"
    step = register.build(make("subprocessor", name, **config), Setup(Meta.empty()))
    ctx = TransformContext(stage, stage, list(range(len(columns["sentence"]))))
    made = step.transform({**columns, "_row": ctx.rows}, ctx)
    assert not ctx.bad
    return {name: list(values) for name, values in made.items()}, ctx.counts


def test_words_are_tagged_and_tell_their_first_piece():
    made, counts = relabel(COLUMNS)
    assert made == {
        "labels": [["B-x", "I-x", "B-y"], ["X"], ["X"]],
        "unit_offsets": [[[0, 4], [5, 6], [7, 9]], [[0, 0]], [[0, 0]]],
        "unit_mask": [[1, 1, 1], [0], [0]],
        "gather_index": [[1, 3, 4], [-1], [-1]],
        "word_index": [[-1, 0, 0, 1, 2, 2, -1], [-1, -1], [-1]],
    }
    assert counts == {"entities": 2, "entities snapped to whole units": 1}


def test_without_the_truth_the_words_are_the_same():
    made, _ = relabel(COLUMNS)
    bare = {name: values for name, values in COLUMNS.items() if name != "entities_info"}
    for stage in ("predict", "online"):
        found, _ = relabel(bare, stage)
        assert found == {name: values for name, values in made.items() if name != "labels"}


def test_the_outputs_have_the_names_of_the_config():
    made, _ = relabel(COLUMNS, output_map={"gather_index": "firsts", "unit_offsets": "places"})
    assert made["firsts"] == [[1, 3, 4], [-1], [-1]]
    assert made["places"][0][0] == [0, 4]


def test_the_words_of_the_other_text_of_a_pair_are_none():
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 2), (0, 2)]],
        "word_ids": [[0, 0]],
        "sequence_ids": [[0, 1]],
        "entities_info": [[entity(0, 2, "x")]],
    }
    made, _ = relabel(columns, sequence=1)
    assert (made["labels"], made["gather_index"], made["word_index"]) == (
        [["B-x"]],
        [[1]],
        [[-1, 0]],
    )


def test_an_entity_inside_of_a_word_that_windows_cut_is_labelled_once():
    """ "abcdefgh" has four pieces, of which each window has three."""
    offsets = [[(0, 1), (2, 4), (4, 6), (6, 8)], [(4, 6), (6, 8), (8, 10), (11, 12)]]
    columns = {
        "sentence": ["a bcdefghi j"] * 2,
        "offsets": offsets,
        "word_ids": [[0, 1, 1, 1], [1, 1, 1, 2]],
        "entities_info": [[entity(4, 6, "x")]] * 2,
        "_row": [0, 0],
    }
    step = register.build(make("subprocessor", "seq_lab_firstpiece_relabel"), Setup(Meta.empty()))
    ctx = TransformContext("train", "train", [0, 0])
    made = step.transform(columns, ctx)
    assert made["unit_offsets"].tolist() == [[[0, 1], [2, 10]], [[11, 12]]]
    assert made["labels"] == [["O", "B-x"], ["O"]]
    assert ctx.counts == {"entities": 1, "entities snapped to whole units": 1}
