"""The right order of shuffled words to cells: which piece follows which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.subprocessor.configs import PieceRerankRelabelConfig

__all__ = ["PieceRerankRelabel"]


@register("subprocessor", "piece_rerank_relabel")
class PieceRerankRelabel(Subprocessor):
    """Writes a cell ``[i, j, 1]`` where piece j comes right after piece i in the right order.

    `rank_info` says of each word of the text as it is given at which place it stands in the right
    order: ``[2, 0, 1]`` for "you are How". The pieces of a word keep their order. Where the text
    was cut, words are missing: they are counted, and the pieces around them follow nothing.
    """

    def __init__(self, config: PieceRerankRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.source = self.input_map["word_ids"]
        self.truth = self.input_map["rank_info"]

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the mask of the units, and their cells where the order is given."""
        word_ids: Sequence[Sequence[int | None]] = columns[self.source]
        made: Columns = {
            self.output_map["unit_mask"]: [
                [int(word is not None) for word in words] for words in word_ids
            ]
        }
        if self.truth in columns:
            made[self.output_map["rank_cells"]] = [
                self._cells(position, words, columns[self.truth][position], ctx)
                for position, words in enumerate(word_ids)
            ]
        return made

    def _cells(
        self, position: int, words: Sequence[int | None], ranks: Any, ctx: TransformContext
    ) -> list[list[int]]:
        seen = {word for word in words if word is not None}
        if not _is_order(ranks) or max(seen, default=-1) >= len(ranks):
            reason = f"expected each number from 0 to the number of words ({len(seen)}) once"
            ctx.bad_row(position, self.truth, ranks, reason)
            return []
        ctx.count("words cut by truncation", len(ranks) - len(seen))
        pieces: list[list[int]] = [[] for _ in ranks]  # of each word, in the right order
        for place, word in enumerate(words):
            if word is not None:
                pieces[ranks[word]].append(place)
        cells: list[list[int]] = []
        before: int | None = None
        for mine in pieces:
            for place in mine:
                if before is not None:
                    cells.append([before, place, 1])
                before = place
            if not mine:
                before = None
        return cells


def _is_order(ranks: Any) -> bool:
    """Return whether the value holds each whole number from 0 up once."""
    return (
        isinstance(ranks, list | tuple)
        and all(type(rank) is int for rank in ranks)
        and sorted(ranks) == list(range(len(ranks)))
    )
