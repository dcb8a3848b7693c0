"""The characters of each word to ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.subprocessor.token2id import IdsOfTexts
from dlk.data.vocabulary import UnknownWordError
from dlk.nlp.subprocessor._text import are_words
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
        known = IdsOfTexts(self.setup.meta.vocabulary(self.vocab))
        ids = _IdsOfWords(known, self.max_token_len)
        rows: list[list[list[int]]] = []
        cut = 0
        for position in range(len(columns["_row"])):
            column, words = self._words(columns, position, ctx)
            if max(map(len, words), default=0) > self.max_token_len:
                cut += sum(len(word) > self.max_token_len for word in words)
            try:
                rows.append([ids[word] for word in words])
            except UnknownWordError as error:
                rows.append([])
                ctx.bad_row(
                    position, column, columns[column][position], f"{error.reason} ({self.vocab})"
                )
        ctx.count("words cut by max_token_len", cut)
        return {self.target: rows}

    def _words(
        self, columns: Columns, position: int, ctx: TransformContext
    ) -> tuple[str, Sequence[str]]:
        """Return the column that a bad character would stand in, and the words of a row."""
        if not self.by_offsets:
            column = self.input_map["tokens"]
            words = columns[column][position]
            if are_words(words):
                return column, words
            ctx.bad_row(position, column, words, "expected a list of words")
            return column, ()
        column, places = self.input_map["sentence"], self.input_map["offsets"]
        text, offsets = columns[column][position], columns[places][position]
        if not isinstance(text, str):
            ctx.bad_row(position, column, text, "expected a text")
            return column, ()
        try:
            size = len(text)
            held = [text[start:end] for start, end in offsets if 0 <= start <= end <= size]
            if len(held) < len(offsets):
                _refuse(offsets, size)
            return column, held
        except (TypeError, ValueError) as error:
            ctx.bad_row(position, places, offsets, f"expected (start, end) of each word: {error}")
            return column, ()


def _refuse(offsets: Sequence[Sequence[int]], size: int) -> None:
    for start, end in offsets:
        if not 0 <= start <= end <= size:
            raise ValueError(f"({start}, {end}) leaves the text of {size} characters")


class _IdsOfWords(dict[str, list[int]]):
    """The ids of the characters of each word, made once; rows share the lists."""

    def __init__(self, known: IdsOfTexts, max_token_len: int) -> None:
        super().__init__()
        self.known = known
        self.max_token_len = max_token_len

    def __missing__(self, word: str) -> list[int]:
        self[word] = made = [self.known[char] for char in word[: self.max_token_len]]
        return made
