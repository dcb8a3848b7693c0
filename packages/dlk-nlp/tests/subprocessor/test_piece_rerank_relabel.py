"""The order of shuffled words to cells."""

from __future__ import annotations

from typing import ClassVar

from dlk.config import make
from dlk.data.subprocessor.base import TransformContext
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance

BAD = [None, "012", [0, 1], [0, 0, 1], [0, 1, 3], [0.0, 1.0, 2.0], [False, True, 2]]


class TestPieceRerank(SubprocessorConformance):
    component = ("subprocessor", "piece_rerank_relabel")
    columns: ClassVar = {
        "word_ids": [[None, 0, 0, 1, 2, None], [None, None], [0]],
        "rank_info": [[2, 0, 1], [], [0]],
    }
    bad: ClassVar = {
        "word_ids": [[None, 0, 0, 1, 2, None]] * len(BAD),
        "rank_info": BAD,
    }


def cells(word_ids, ranks):
    step = register.build(make("subprocessor", "piece_rerank_relabel"))
    ctx = TransformContext("train", "train", [0])
    made = step.transform({"word_ids": [word_ids], "rank_info": [ranks], "_row": [0]}, ctx)
    assert not ctx.bad
    return made["rank_cells"][0], ctx.counts


def test_each_piece_is_followed_by_the_next_one_in_the_right_order():
    """ "you are How": How (piece 4), you (1 and 2), are (3)."""
    assert cells([None, 0, 0, 1, 2, None], [1, 2, 0]) == ([[4, 1, 1], [1, 2, 1], [2, 3, 1]], {})


def test_the_word_and_the_piece_with_number_0_count_as_others_do():
    assert cells([0, 1], [1, 0]) == ([[1, 0, 1]], {})


def test_pieces_around_a_word_that_was_cut_follow_nothing():
    assert cells([0, 1], [0, 2, 1]) == ([], {"words cut by truncation": 1})


def test_without_the_order_there_is_only_the_mask():
    step = register.build(make("subprocessor", "piece_rerank_relabel"))
    made = step.transform(
        {"word_ids": [[None, 0, None]], "_row": [0]}, TransformContext("online", "online", [0])
    )
    assert made == {"unit_mask": [[0, 1, 0]]}
