"""Entities as spans of characters to a tag per word, and each word's first piece.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", §5.3: the representation of a word is that of its first piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import Columns
from dlk.nlp.align import Pieces, word_units_of_windows
from dlk.nlp.subprocessor.configs import SeqLabFirstpieceRelabelConfig
from dlk.nlp.subprocessor.seq_lab_relabel import SeqLabRelabel, Units, mask_of
from dlk.nlp.unit_columns import piece_columns, word_columns
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup

__all__ = ["SeqLabFirstpieceRelabel"]


@register("subprocessor", "seq_lab_firstpiece_relabel")
class SeqLabFirstpieceRelabel(SeqLabRelabel):
    """As seq_lab_relabel, with words as units.

    Words are those of the tokenizer (`word_ids`): of its pre-tokeniser, or the words that rows
    brought. In every stage it also writes `gather_index`, the position of each word's first piece,
    and `word_index`, for each piece the number of its word in the record (-1 for none).

    A word that the edge of a window cuts is one of the windows that hold its first piece, and its
    place in the text is the whole word's.

    A record without any word, such as that of an empty text, has one empty unit whose
    `gather_index` is -1: no batch is without units.
    """

    unit_keys = ("unit_offsets", "unit_mask", "gather_index", "word_index")

    def __init__(self, config: SeqLabFirstpieceRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.word_ids = self.input_map["word_ids"]

    def units(self, text: str, windows: Sequence[Pieces]) -> list[Units]:
        """Return the words of the records of a row; see `SeqLabRelabel.units`."""
        return [
            {
                "unit_offsets": words.offsets or [(0, 0)],
                "unit_mask": mask_of(words.offsets) or [0],
                "gather_index": words.gather_index or [-1],
                "word_index": words.word_index,
            }
            for words in word_units_of_windows(text, windows, sequence=self.sequence)
        ]

    def columns_of(self, texts: Sequence[str], columns: Columns) -> dict[str, Ragged]:
        """Return the words of records that are alone; see `SeqLabRelabel.columns_of`."""
        pieces = piece_columns(texts, columns[self.offsets])
        words = word_columns(pieces, columns[self.word_ids])
        return {
            "unit_offsets": words.units.offsets(),
            "unit_mask": words.units.mask(),
            "gather_index": words.units.column(words.gather_index),
            "word_index": pieces.column(words.word_index),
        }

    def pieces(self, position: int, columns: Columns) -> Pieces:
        """Return the pieces of a record, with their words."""
        return super().pieces(position, columns)._replace(word_ids=columns[self.word_ids][position])
