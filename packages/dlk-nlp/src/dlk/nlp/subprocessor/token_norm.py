"""Rewrites words that are unknown as they stand, and known with digits as 0 or in lower case."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.tokenizer_file import keep_tokenizer, read_tokenizer
from dlk.errors import DataError
from dlk.nlp.subprocessor._text import checked_texts, flaw_of_list
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta
    from dlk.nlp.subprocessor.configs import TokenNormConfig

__all__ = ["TokenNorm", "lower"]


@register("subprocessor", "token_norm")
class TokenNorm(Subprocessor):
    """Replaces an unknown word by the first of these that is known; else the word stays.

    Its digits as 0, its lower case, both. No text changes its length, so offsets stay true: a
    character whose lower case is longer stays as it is.

    With `vocab`, words are rewritten by a vocabulary of the meta folder; where `token_embedding`
    extends it by the words of a vector file, an unseen "Orange" becomes the "orange" that has a
    vector. With `tokenizer_path`, texts are rewritten where that tokenizer sees unknown words; it
    needs an unknown token, so WordPiece or word level.
    """

    def __init__(self, config: TokenNormConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.vocab: str | None = config.vocab
        self.changes: list[Callable[[str], str]] = []
        if config.zero_digits_replaced:
            self.changes.append(zero_digits)
        if config.lowercase:
            self.changes.append(lower)
        if len(self.changes) == 2:
            self.changes.append(lambda word: lower(zero_digits(word)))
        self.file: str = config.tokenizer
        self._tokenizer: Tokenizer | None = None
        if config.tokenizer_path is not None:
            kept = self.file in setup.meta
            path = setup.meta.path(self.file) if kept else config.tokenizer_path
            self._tokenizer = _load(path)
            self.stores = True

    def store(self, meta: Meta) -> None:
        """Put a copy of the tokenizer into the meta folder.

        Raises:
            DataError: another step keeps a different tokenizer under the same name.
        """
        assert self._tokenizer is not None
        keep_tokenizer(meta, self.file, self._tokenizer.to_str(pretty=False), {})

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return the words, or the texts, rewritten, where a step reads them."""
        if not any(map(ctx.wants, self.writes)):
            return {}
        if self._tokenizer is None:
            return self._words(columns, ctx)
        return self._texts(columns, ctx, self._tokenizer)

    def _words(self, columns: Columns, ctx: TransformContext) -> Columns:
        column = self.input_map["tokens"]
        assert self.vocab is not None
        rewritten = _Rewritten(self.changes, self.setup.meta.vocabulary(self.vocab))
        rows: list[list[str]] = []
        count = 0
        for position, words in enumerate(columns[column]):
            if flaw := flaw_of_list(words):
                rows.append([])
                ctx.bad_row(position, column, words, flaw)
            else:
                rows.append([rewritten[word] for word in words])
                count += sum(map(operator.ne, words, rows[-1]))
        ctx.count("words rewritten", count)
        return {self.output_map["norm_tokens"]: rows}

    def _texts(self, columns: Columns, ctx: TransformContext, tokenizer: Tokenizer) -> Columns:
        column = self.input_map["sentence"]
        texts = checked_texts(columns[column], column, ctx)
        splitter = tokenizer.pre_tokenizer
        split = [
            splitter.pre_tokenize_str(text) if splitter else [(text, (0, len(text)))]
            for text in texts
        ]
        places = [[place for _, place in words] for words in split]
        words = {
            text[start:end] for text, row in zip(texts, places, strict=True) for start, end in row
        }
        variants = {change(word) for word in words for change in self.changes}
        rewritten = _Rewritten(self.changes, _known(tokenizer, words | variants))
        rows = []
        count = 0
        for text, row in zip(texts, places, strict=True):
            pieces, end_before = [], 0
            for start, end in row:
                word = text[start:end]
                new = rewritten[word]
                count += new != word
                pieces += [text[end_before:start], new]
                end_before = end
            rows.append("".join([*pieces, text[end_before:]]))
        ctx.count("words rewritten", count)
        return {self.output_map["norm_sentence"]: rows}


class _Rewritten(dict[str, str]):
    """What each word becomes, found once."""

    def __init__(self, changes: Iterable[Callable[[str], str]], known: Container[str]) -> None:
        super().__init__()
        self.changes = tuple(changes)
        self.known = known

    def __missing__(self, word: str) -> str:
        self[word] = found = next((each for each in self._tried(word) if each in self.known), word)
        return found

    def _tried(self, word: str) -> Iterator[str]:
        yield word
        for change in self.changes:
            yield change(word)


def zero_digits(word: str) -> str:
    """Return the word with 0 for every decimal digit, of any script."""
    if word.isalpha():
        return word
    return "".join("0" if char.isdecimal() else char for char in word)


def lower(word: str) -> str:
    """Return the word in lower case, of the same length.

    Characters whose lower case is longer, such as İ, stay.
    """
    found = word.lower()
    if len(found) == len(word):
        return found
    return "".join(low if len(low := char.lower()) == 1 else char for char in word)


def _known(tokenizer: Tokenizer, words: set[str]) -> set[str]:
    """Return the words in whose pieces the unknown token is not."""
    listed = sorted(words)
    unknown = tokenizer.token_to_id(str(_unknown_token(tokenizer)))
    encoded = tokenizer.encode_batch_fast(listed, add_special_tokens=False)
    return {word for word, each in zip(listed, encoded, strict=True) if unknown not in each.ids}


def _unknown_token(tokenizer: Tokenizer) -> Any:
    return getattr(tokenizer.model, "unk_token", None)


def _load(path: str) -> Tokenizer:
    tokenizer = read_tokenizer(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    token = _unknown_token(tokenizer)
    if token is None or tokenizer.token_to_id(token) is None:
        raise DataError(
            f"{path} has no unknown token, so it knows every word: token_norm would do nothing. "
            "Leave the step out."
        )
    return tokenizer
