"""Start values of a word table: the rows of a file of vectors that a vocabulary needs.

Sources of such files: Pennington et al. 2014 (GloVe); Mikolov et al. 2013, arXiv:1301.3781
(word2vec); Bojanowski et al. 2017, arXiv:1607.04606 (fastText).
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.tokenizer_file import read_tokenizer
from dlk.data.vocabulary import Vocabulary
from dlk.errors import DataError
from dlk.nlp.subprocessor._vectors import open_vectors
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta
    from dlk.nlp.subprocessor.configs import TokenEmbeddingConfig

__all__ = ["TokenEmbedding"]

Matrix = NDArray[np.float32]


@register("subprocessor", "token_embedding")
class TokenEmbedding(Subprocessor):
    """Writes a table of vectors, one row per id, to the meta folder, and no column.

    A word has the vector that stands in the file for the word itself; else for its lower case, its
    upper case or its form with a capital; else one drawn from a normal distribution of mean 0 with
    the standard deviation that the vectors found have in each place. The draw depends on the word
    and the processor's seed alone, so neither on the order of words nor on what else is missing.
    The row of the pad word is zero.

    The entry in `meta.json`, so `_G.meta.token_embedding` in configs, tells `size`, `dim`, and how
    many words were found (`exact`, `by_case`) or not (`missing`).
    """

    learns = True

    def __init__(self, config: TokenEmbeddingConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.embedding_file: str = config.embedding_file
        self.words_file: str | None = config.words_file
        self.width: int = config.embedding_size
        self.vocab: str | None = config.vocab
        self.tokenizer_path: str | None = config.tokenizer_path
        self.extend: int | None = config.extend_vocab
        self.file: str = config.token_embedding
        self.makes = (self.file,)
        bounds = config.bias_clip_range
        self.lower: float = -np.inf if bounds.lower is None else bounds.lower
        self.upper: float = np.inf if bounds.upper is None else bounds.upper

    def fit(self, chunks: Iterable[Columns], meta: Meta) -> None:
        """Read the file once, and put the table into `meta`; the rows of data are not looked at.

        Raises:
            DataError: a file cannot be read, the vocabulary is not there, or no word is found.
        """
        words, pad, known = self._words(meta)
        table = _Table(words, self.width)
        more: dict[str, None] = {}
        tail = bytearray()  # the vectors of `more`, one after the other
        source = open_vectors(self.embedding_file, self.width, words_file=self.words_file)
        for number, (word, vector) in enumerate(source.rows(table, self.extend)):
            table.take(word, vector)
            is_first = self.extend is None or number < self.extend
            if is_first and word and word not in known and word not in more:
                more[word] = None
                tail += vector.tobytes()
        if not table.found:
            raise DataError(
                f"{self.embedding_file} has a vector for none of the {len(words)} words, such as "
                f"{', '.join(repr(word) for word in sorted(words)[:10])}"
            )
        self._complete(table, words, pad)
        if more:
            self._extend(meta, more)
        exact = sum(rank == 0 for rank in table.found.values())
        numbers = {
            "size": len(words) + len(more),
            "dim": self.width,
            "exact": exact,
            "by_case": len(table.found) - exact,
            "missing": len(words) - len(table.found) - (pad is not None),
        }

        def write(handle: IO[bytes]) -> None:
            shape = (numbers["size"], self.width)
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            handle.write(table.rows.data)
            handle.write(tail)

        meta.put_start(self.file, numbers, write)

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return nothing: the step makes a table, and writes no column."""
        return {}

    def _words(self, meta: Meta) -> tuple[Sequence[str], int | None, Container[str]]:
        """Return the words by id, the id of padding, and what is no new word."""
        if self.tokenizer_path is not None:
            words, pad = _tokens(self.tokenizer_path)
            return words, pad, words
        assert self.vocab is not None  # by the config's rules
        if self.vocab not in meta:
            raise DataError(
                f"there is no {self.vocab} yet: the step that learns it (token_gather, "
                "char_gather) must stand before token_embedding"
            )
        vocabulary = meta.vocabulary(self.vocab)
        return vocabulary.words, vocabulary.pad_id, vocabulary

    def _complete(self, table: _Table, words: Sequence[str], pad: int | None) -> None:
        """Fill the rows of words that the file lacks, and empty that of padding."""
        if pad is not None:
            table.found.pop(pad, None)
            table.rows[pad] = 0.0
        # in the order of the words, so that sums do not depend on that of the ids
        spread = _spread(table.rows, sorted(table.found, key=words.__getitem__))
        for row, word in enumerate(words):
            if row not in table.found and row != pad:
                drawn = spread * self._drawn(word)
                table.rows[row] = np.clip(drawn, self.lower, self.upper)

    def _drawn(self, word: str) -> NDArray[np.float64]:
        text = f"{self.setup.seed}:{word}".encode("utf-8", errors="surrogatepass")
        seed = int.from_bytes(hashlib.sha256(text).digest())
        return np.random.default_rng(seed).standard_normal(self.width)

    def _extend(self, meta: Meta, more: Iterable[str]) -> None:
        """Give the vocabulary new words behind its own."""
        assert self.vocab is not None
        vocabulary = Vocabulary.load(meta.path(self.vocab))
        for word in more:  # one by one: this order is that of the table
            vocabulary.add({word: 0}, min_freq=0)
        meta.put_vocabulary(self.vocab, vocabulary)


class _Table:
    """Rows by id, filled in as words of a file come by."""

    def __init__(self, words: Sequence[str], width: int) -> None:
        self.rows: Matrix = np.zeros((len(words), width), dtype=np.float32)
        self.found: dict[int, int] = {}
        """How far the form found lies from the word, by row: 0 is the word itself."""
        self._forms: dict[str, list[tuple[int, int]]] = {}
        for row, word in enumerate(words):
            forms = dict.fromkeys((word, word.lower(), word.upper(), word.capitalize()))
            for rank, form in enumerate(forms):
                self._forms.setdefault(form, []).append((rank, row))

    def __contains__(self, word: object) -> bool:
        return word in self._forms

    def take(self, word: str, vector: NDArray[np.float32]) -> None:
        """Give the vector to the words of which this is the best form so far; the first counts."""
        for rank, row in self._forms.get(word, ()):
            if rank < self.found.get(row, len(self._forms)):
                self.found[row] = rank
                self.rows[row] = vector


def _spread(rows: Matrix, ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the standard deviation of each column over some rows; of one row, that of all."""
    if len(ids) == 1:
        return np.full(rows.shape[1], rows[ids].std(dtype=np.float64))
    total = np.zeros((2, rows.shape[1]))
    for start in range(0, len(ids), 4096):
        block = rows[ids[start : start + 4096]].astype(np.float64)
        total += np.stack([block.sum(axis=0), (block**2).sum(axis=0)])
    mean, mean_square = total / max(len(ids), 1)
    spread: NDArray[np.float64] = np.sqrt(np.maximum(mean_square - mean**2, 0.0))
    return spread


def _tokens(path: str) -> tuple[Sequence[str], int | None]:
    """Return the tokens of a tokenizer by id, and the id of padding."""
    tokenizer = read_tokenizer(path)
    ids = tokenizer.get_vocab(with_added_tokens=True)
    words = [""] * (max(ids.values(), default=-1) + 1)
    for word, number in ids.items():
        words[number] = word
    if tokenizer.padding is not None:
        return words, int(tokenizer.padding["pad_id"])
    known = (tokenizer.token_to_id(pad) for pad in ("[PAD]", "<pad>", "<|pad|>"))
    return words, next((found for found in known if found is not None), None)
