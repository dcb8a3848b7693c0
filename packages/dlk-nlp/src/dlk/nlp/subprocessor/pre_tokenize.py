"""Texts to words with their places, without any tokenizer file."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from dlk.data.ragged import Ragged
from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.nlp.subprocessor._text import checked_texts, flaw_of_list
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.subprocessor.configs import PreTokenizeConfig

__all__ = ["PreTokenize"]

Offsets = list[tuple[int, int]]
Places = Sequence[Sequence[Sequence[int]]]
"""Of each text, start and end of its words."""

_SPLITTERS: dict[str, Callable[[], Any]] = {
    "bert": pre_tokenizers.BertPreTokenizer,
    "whitespace": pre_tokenizers.Whitespace,
    "whitespacesplit": pre_tokenizers.WhitespaceSplit,
}
# kinds of characters: runs of one kind are words, but for the first, and each of the second is one
_SPACE, _ALONE, _LETTER, _OTHER = range(4)
_KINDS = {
    "bert": dict.fromkeys(string.punctuation, _ALONE),
    "whitespace": dict.fromkeys(f"{string.ascii_letters}{string.digits}_", _LETTER),
    "whitespacesplit": {},
}


def _kinds(method: str) -> NDArray[np.uint8]:
    """Return the kind of each character of ASCII, (128,), as the splitter sees it."""
    # no splitter knows the four separators more of Python's white space
    kinds = _KINDS[method] | dict.fromkeys(" \t\n\v\f\r", _SPACE)
    return np.array([kinds.get(chr(code), _OTHER) for code in range(128)], dtype=np.uint8)


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
        self._kinds = _kinds(config.method) if splitter else None

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return words, offsets and word numbers, those that are wanted."""
        words, places = (self._split if self._splitter else self._given)(columns, ctx)
        cut = self.max_length
        if cut is not None:
            lost = [len(each) - cut for each in words if len(each) > cut]
            ctx.count("texts cut by max_length", len(lost))
            ctx.count("words cut by max_length", sum(lost))
            words = [each[:cut] for each in words]
            places = [each[:cut] for each in places]
        made: Columns = {"tokens": words, "offsets": places}
        if ctx.wants(self.output_map["word_ids"]):
            made["word_ids"] = [list(range(len(each))) for each in words]
        wanted = {key: name for key, name in self.output_map.items() if ctx.wants(name)}
        return {name: made[key] for key, name in wanted.items()}

    def _split(self, columns: Columns, ctx: TransformContext) -> tuple[list[list[str]], Places]:
        """Return the words of texts: of ASCII at once, of others by the library."""
        assert self._splitter is not None
        (column,) = self.columns
        texts = checked_texts(columns[column], column, ctx)
        plain = [position for position, text in enumerate(texts) if text.isascii()]
        words, places = self._split_ascii([texts[position] for position in plain])
        if len(plain) == len(texts):
            return words, places
        others = [position for position, text in enumerate(texts) if not text.isascii()]
        found = [self._splitter.pre_tokenize_str(texts[position]) for position in others]
        words += [[word for word, _ in each] for each in found]
        more = Ragged.from_lists([[place for _, place in each] for each in found], np.int64, 2)
        order = np.argsort([*plain, *others])
        return [words[at] for at in order], Ragged.joined([places, more]).take(order)

    def _split_ascii(self, texts: Sequence[str]) -> tuple[list[list[str]], Ragged]:
        assert self._kinds is not None
        joined = "".join(texts)
        kinds = self._kinds[np.frombuffer(joined.encode("ascii"), np.uint8)]
        first = np.cumsum([0, *map(len, texts)])
        begins = np.zeros(len(joined) + 1, dtype=np.bool_)  # a word, or a space between words
        begins[1:-1] = (kinds[1:] != kinds[:-1]) | (kinds[1:] == _ALONE)
        begins[first] = True
        bounds = np.flatnonzero(begins)
        is_word = kinds[bounds[:-1]] != _SPACE
        starts, ends = bounds[:-1][is_word], bounds[1:][is_word]
        edges = np.searchsorted(starts, first)
        flat = [joined[s:e] for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]
        words = [flat[low:high] for low, high in pairwise(edges.tolist())]
        pairs = np.stack([starts, ends], axis=1) - np.repeat(first[:-1], np.diff(edges))[:, None]
        return words, Ragged(pairs.reshape(-1), (edges, np.arange(0, pairs.size + 1, 2)))

    def _given(self, columns: Columns, ctx: TransformContext) -> tuple[list[list[str]], Places]:
        """Return the words that rows bring."""
        first, second = self.columns
        rows: list[tuple[list[str], Offsets]] = []
        pairs = zip(columns[first], columns[second], strict=True)
        for position, (words, places) in enumerate(pairs):
            if flaw := flaw_of_list(words):
                ctx.bad_row(position, first, words, flaw)
                rows.append(([], []))
                continue
            try:
                offsets = checked(places, words) if self.places_given else place(words, places)
            except ValueError as error:
                ctx.bad_row(position, second, places, str(error))
                rows.append(([], []))
                continue
            rows.append((list(words), offsets))
        return [words for words, _ in rows], [offsets for _, offsets in rows]


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
