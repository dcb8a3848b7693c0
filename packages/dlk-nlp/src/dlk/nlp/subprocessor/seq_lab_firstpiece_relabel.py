"""Entities as spans of characters to a tag per word, and each word's first piece.

Source: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", §5.3: the representation of a word is that of its first piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlk.data.subprocessor.base import Columns
from dlk.nlp.align import word_units
from dlk.nlp.subprocessor.configs import SeqLabFirstpieceRelabelConfig
from dlk.nlp.subprocessor.seq_lab_relabel import SeqLabRelabel, Units, mask_of
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

    A record without any word, such as that of an empty text, has one empty unit whose
    `gather_index` is -1: no batch is without units.
    """

    unit_keys = ("unit_offsets", "unit_mask", "gather_index", "word_index")

    def __init__(self, config: SeqLabFirstpieceRelabelConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.word_ids = self.input_map["word_ids"]

    def units(self, position: int, columns: Columns, *, goes_on: bool) -> Units:
        """Return the words of a record; see `SeqLabRelabel.units`."""
        words = word_units(
            columns[self.sentence][position],
            columns[self.offsets][position],
            columns[self.word_ids][position],
            sequence_ids=self.texts_of(position, columns),
            sequence=self.sequence,
            goes_on=goes_on,
        )
        return {
            "unit_offsets": words.offsets or [(0, 0)],
            "unit_mask": mask_of(words.offsets) or [0],
            "gather_index": words.gather_index or [-1],
            "word_index": words.word_index,
        }
