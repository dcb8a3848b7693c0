"""Texts to words with their places, without any tokenizer file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import pre_tokenizers

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.nlp.subprocessor._text import are_words, checked_texts
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.subprocessor.configs import PreTokenizeConfig

__all__ = ["PreTokenize"]

Offsets = list[tuple[int, int]]

_SPLITTERS: dict[str, Callable[[], Any]] = {
    "bert": pre_tokenizers.BertPreTokenizer,
    "whitespace": pre_tokenizers.Whitespace,
    "whitespacesplit": pre_tokenizers.WhitespaceSplit,
}
_SPACE = r" \t-\r"  # of ASCII; no splitter knows the four separators more of Python's \s
_PUNCTUATION = r"!-/:-@\[-`{-~"
_ASCII_WORDS = {
    "bert": re.compile(f"[^{_SPACE}{_PUNCTUATION}]+|[{_PUNCTUATION}]"),
    "whitespace": re.compile(f"[0-9A-Za-z_]+|[^0-9A-Za-z_{_SPACE}]+"),
    "whitespacesplit": re.compile(f"[^{_SPACE}]+"),
}
"""The words of each splitter in a text of ASCII alone, found several times as fast."""


@register("subprocessor", "pre_tokenize")
class PreTokenize(Subprocessor):
    """Splits texts into words; each word is the text between its offsets, letter for letter.

    Words that rows bring (method "words") stay as they are. Their places are the column of offsets,
    or found by looking for one word after the other in the text.
    """

    def __init__(self, config: PreTokenizeConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.max_length: int | None = config.max_length
        self.columns = [self.input_map[key] for key in config.text_keys()]
        self.places_given = "pretokenized_word_offsets" in config.text_keys()
        splitter = _SPLITTERS.get(config.method)
        self._splitter = splitter() if splitter else None
        self._words = _ASCII_WORDS.get(config.method)

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return words, offsets and word numbers."""
        rows = self._split(columns, ctx) if self._splitter else self._given(columns, ctx)
        cut = self.max_length
        if cut is not None:
            lost = [len(words) - cut for words, _ in rows if len(words) > cut]
            ctx.count("texts cut by max_length", len(lost))
            ctx.count("words cut by max_length", sum(lost))
            rows = [(words[:cut], offsets[:cut]) for words, offsets in rows]
        made: Columns = {
            "tokens": [words for words, _ in rows],
            "offsets": [offsets for _, offsets in rows],
            "word_ids": [list(range(len(words))) for words, _ in rows],
        }
        return {self.output_map[key]: made[key] for key in made if self.output_map[key]}

    def _split(self, columns: Columns, ctx: TransformContext) -> list[tuple[list[str], Offsets]]:
        assert self._splitter is not None
        assert self._words is not None
        (column,) = self.columns
        rows: list[tuple[list[str], Offsets]] = []
        for text in checked_texts(columns[column], column, ctx):
            if text.isascii():
                places = [match.span() for match in self._words.finditer(text)]
                rows.append((self._words.findall(text), places))
                continue
            found = self._splitter.pre_tokenize_str(text)
            rows.append(([word for word, _ in found], [place for _, place in found]))
        return rows

    def _given(self, columns: Columns, ctx: TransformContext) -> list[tuple[list[str], Offsets]]:
        first, second = self.columns
        rows: list[tuple[list[str], Offsets]] = []
        pairs = zip(columns[first], columns[second], strict=True)
        for position, (words, places) in enumerate(pairs):
            if not are_words(words):
                ctx.bad_row(position, first, words, "expected a list of words")
                rows.append(([], []))
                continue
            try:
                offsets = checked(places, words) if self.places_given else place(words, places)
            except ValueError as error:
                ctx.bad_row(position, second, places, str(error))
                rows.append(([], []))
                continue
            rows.append((list(words), offsets))
        return rows


def place(words: Sequence[str], text: Any) -> Offsets:
    """Return where words stand in a text, each looked for behind the one before.

    Raises:
        ValueError: there is no text, or a word is not in the rest of it.
    """
    if not isinstance(text, str):
        raise ValueError("expected the text of the words")
    found: Offsets = []
    end = 0
    for number, word in enumerate(words):
        start = text.find(word, end)
        if start < 0:
            raise ValueError(f"word {number}, {word!r}, does not follow in the text")
        end = start + len(word)
        found.append((start, end))
    return found


def checked(places: Any, words: Sequence[str]) -> Offsets:
    """Return given offsets as pairs.

    Raises:
        ValueError: they are not one (start, end) per word, or not in order.
    """
    if not isinstance(places, list | tuple) or len(places) != len(words):
        raise ValueError(f"expected (start, end) of each of {len(words)} words")
    found: Offsets = []
    before = 0
    for number, pair in enumerate(places):
        fits = (
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and all(isinstance(bound, int) and not isinstance(bound, bool) for bound in pair)
        )
        if not fits or not before <= pair[0] <= pair[1]:
            raise ValueError(
                f"expected (start, end) of word {number}, behind the word before, got {pair!r}"
            )
        found.append((pair[0], pair[1]))
        before = pair[1]
    return found
