"""The characters of each word to ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.vocabulary import UnknownWordError, Vocabulary
from dlk.nlp.subprocessor._text import checked_texts, flaw_of_list
from dlk.nlp.unit_columns import flat_offsets
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.subprocessor.configs import Token2CharIdConfig

__all__ = ["Token2CharId"]


@register("subprocessor", "token2charid")
class Token2CharId(Subprocessor):
    """Writes a list of ids for each word: as long as the word, or `max_token_len`.

    An empty word (a special token, whose start is its end) has no ids. Padding is the collate's
    work. A row with an unknown character is a bad row where the vocabulary has no unknown word.
    """

    def __init__(self, config: Token2CharIdConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.vocab: str = config.vocab
        self.max_token_len: int = config.max_token_len
        self.by_offsets = config.source == "offsets"
        self.target = self.output_map["char_ids"]

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the ids, a list of lists per row."""
        known = self.setup.meta.vocabulary(self.vocab)
        codes, starts, ends, rows = (self._placed if self.by_offsets else self._given)(columns, ctx)
        lengths = ends - starts
        cut = lengths > self.max_token_len
        ctx.count("words cut by max_token_len", int(cut.sum()))
        lengths[cut] = self.max_token_len
        words = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        places = np.repeat(starts - words[:-1], lengths) + np.arange(words[-1])
        ids = _ids_of(codes[places], known)
        column = self.input_map["sentence" if self.by_offsets else "tokens"]
        for place in np.flatnonzero(ids == _NONE).tolist():
            word = np.searchsorted(words, place, side="right") - 1
            row = int(np.searchsorted(rows, word, side="right")) - 1
            error = UnknownWordError(chr(codes[places[place]]), known)
            ctx.bad_row(row, column, columns[column][row], f"{error.reason} ({self.vocab})")
        return {self.target: Ragged(ids, (rows, words))}

    def _given(self, columns: Columns, ctx: TransformContext) -> _Words:
        """Return the words that rows hold; none of a bad one."""
        column = self.input_map["tokens"]
        rows: list[Sequence[str]] = []
        for position, words in enumerate(columns[column]):
            flaw = flaw_of_list(words)
            if flaw:
                ctx.bad_row(position, column, words, flaw)
            rows.append(() if flaw else words)
        flat = list(chain.from_iterable(rows))
        edges = np.cumsum([0, *map(len, flat)])
        return _Words(_codes("".join(flat)), edges[:-1], edges[1:], np.cumsum([0, *map(len, rows)]))

    def _placed(self, columns: Columns, ctx: TransformContext) -> _Words:
        """Return the words between offsets; none of a bad row."""
        column, places = self.input_map["sentence"], self.input_map["offsets"]
        texts = checked_texts(columns[column], column, ctx)
        starts, ends, rows = flat_offsets(_sound(columns[places], places, ctx))
        record = np.repeat(np.arange(len(texts)), np.diff(rows))
        edges = np.cumsum([0, *map(len, texts)])
        outside = (starts < 0) | (ends < starts) | (ends > np.diff(edges)[record])
        for row in np.unique(record[outside]).tolist():
            reason = f"an offset leaves the text of {len(texts[row])} characters"
            ctx.bad_row(
                row, places, columns[places][row], f"expected (start, end) of each word: {reason}"
            )
        starts, ends = (np.where(outside, 0, each + edges[record]) for each in (starts, ends))
        return _Words(_codes("".join(texts)), starts, ends, rows)


class _Words(NamedTuple):
    """Words of a chunk as places in its characters.

    Attributes:
        codes: (characters,) of the texts of the chunk.
        starts: (N,) first character of each word.
        ends: (N,) after its last one.
        rows: (R + 1,) where the words of each row begin.
    """

    codes: NDArray[np.uint32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    rows: NDArray[np.int64]


def _sound(offsets: Sequence[Any], column: str, ctx: TransformContext) -> Sequence[Any]:
    """Return the offsets; in place of those of a bad row none."""
    try:
        flat_offsets(offsets)
    except (TypeError, ValueError):
        kept = list(offsets)
    else:
        return offsets
    for position, value in enumerate(offsets):
        try:
            flat_offsets([value])
        except (TypeError, ValueError) as error:
            kept[position] = []
            ctx.bad_row(position, column, value, f"expected (start, end) of each word: {error}")
    return kept


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


_NONE = -1  # no id: that of the ignored word is -100


def _ids_of(codes: NDArray[np.uint32], known: Vocabulary) -> NDArray[np.int64]:
    """Return the id of each character; `_NONE` of one that nobody knows."""
    there = np.zeros(codes.max(initial=0) + 1, dtype=np.bool_)
    there[codes] = True
    ids = np.full(len(there), _NONE, dtype=np.int64)
    for code in np.flatnonzero(there).tolist():
        if known.unk is not None or chr(code) in known:
            ids[code] = known.id(chr(code))
    return ids[codes]
