"""The options of dlk-nlp's subprocessors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlk.config import (
    MISSING,
    AssetField,
    BoolField,
    FloatField,
    IntField,
    ListField,
    MapField,
    NestField,
    Signature,
    StrField,
    cregister,
)
from dlk.data.subprocessor.configs import GatherConfig, SubprocessorConfig

# Words and characters -----------------------------------------------------------------------------


@cregister("subprocessor", "pre_tokenize")
class PreTokenizeConfig(SubprocessorConfig):
    """Texts to words with their places: what models over words start from."""

    method = StrField(
        "bert",
        options=["bert", "whitespace", "whitespacesplit", "words"],
        help="bert: split at spaces and around punctuation; whitespace: runs of letters, and of "
        "others; whitespacesplit: at spaces only; words: rows bring their words",
    )
    max_length = IntField(
        None,
        minimum=1,
        additions=[None],
        help="words kept of a text, the others are cut and counted; null: all",
    )
    input_map = MapField(
        {
            "sentence": "sentence",
            "pretokenized_words": "pretokenized_words",
            "pretokenized_word_offsets": "",
        },
        help='columns read; with "words": the words, and their offsets, or, where these are "", '
        "the text in which the words are looked for one after the other",
    )
    output_map = MapField(
        {"tokens": "tokens", "offsets": "offsets", "word_ids": "word_ids"},
        help="columns written: words, (start, end) of each in characters, and their numbers",
    )

    def text_keys(self) -> tuple[str, ...]:
        """Return the keys of `input_map` that are read."""
        if self.method != "words":
            return ("sentence",)
        with_offsets = bool(self.input_map["pretokenized_word_offsets"])
        places = "pretokenized_word_offsets" if with_offsets else "sentence"
        return ("pretokenized_words", places)

    def signature(self) -> Signature:
        """Reads the text, or words and where they stand; writes words, offsets and numbers."""
        return Signature(
            reads=tuple(self.input_map[key] for key in self.text_keys()),
            writes=tuple(name for name in self.output_map.values() if name),
        )


@cregister("subprocessor", "token_norm")
class TokenNormConfig(SubprocessorConfig):
    """Rewrites words that are unknown as they stand, and known with digits as 0 or lower case."""

    zero_digits_replaced = BoolField(True, help="try the word with every digit as 0")
    lowercase = BoolField(True, help="try the word in lower case")
    vocab: str | None = StrField(
        None,
        additions=[None],
        help="vocabulary of the meta folder that says which words are known: words are read",
    )
    tokenizer_path: str | None = AssetField(
        None,
        additions=[None],
        bundle=False,
        help="tokenizer.json that says which words are known, in place of vocab: texts are read",
    )
    tokenizer = StrField(
        "norm_tokenizer.json", help="name of the copy of that tokenizer in the meta folder"
    )
    input_map = MapField(
        {"sentence": "sentence", "tokens": "tokens"},
        help="columns read: tokens with vocab, sentence with tokenizer_path",
    )
    output_map = MapField(
        {"norm_sentence": "norm_sentence", "norm_tokens": "norm_tokens"},
        help="columns written: as many words, or characters, as were read",
    )

    def signature(self) -> Signature:
        """Reads and writes words by a vocabulary, texts by a tokenizer."""
        key = "tokens" if self.vocab else "sentence"
        return Signature(
            reads=(self.input_map[key],),
            writes=(self.output_map[f"norm_{key}"],),
            meta=(self.vocab or self.tokenizer,),
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a problem unless one thing says which words are known, and something is tried."""
        yield from SubprocessorConfig.rules(self)
        yield from _one_source(self.vocab, self.tokenizer_path)
        if not self.zero_digits_replaced and not self.lowercase:
            yield "lowercase", "expected zero_digits_replaced, lowercase or both, got neither"


@cregister("subprocessor", "char_gather")
class CharGatherConfig(GatherConfig):
    """Learns a vocabulary of characters from columns of the training split."""

    char_vocab = StrField("char_vocab.json", help="name of the vocabulary in the meta folder")

    @property
    def file(self) -> str:
        """The vocabulary's file."""
        return str(self.char_vocab)


@cregister("subprocessor", "token2charid")
class Token2CharIdConfig(SubprocessorConfig):
    """The characters of each word to ids."""

    vocab = StrField("char_vocab.json", help="name of the vocabulary in the meta folder")
    max_token_len = IntField(
        20, minimum=1, help="characters kept of a word, those after them are cut and counted"
    )
    source = StrField(
        "offsets",
        options=["offsets", "tokens"],
        help="where the characters stand: in the text, at the offsets, or in the column of words",
    )
    input_map = MapField(
        {"sentence": "sentence", "offsets": "offsets", "tokens": "tokens"},
        help="columns read: sentence and offsets, or tokens, as `source` says",
    )
    output_map = MapField(
        {"char_ids": "char_ids"},
        help="column of lists of ids, one per word: for key_padding_pairs_2d",
    )

    def signature(self) -> Signature:
        """Reads words, or the text and where they stand in it; needs the vocabulary."""
        keys = ("tokens",) if self.source == "tokens" else ("sentence", "offsets")
        return Signature(
            reads=tuple(self.input_map[key] for key in keys),
            writes=(self.output_map["char_ids"],),
            meta=(self.vocab,),
        )


@cregister("subprocessor", "token_embedding")
class TokenEmbeddingConfig(SubprocessorConfig):
    """The rows of a file of word vectors that a vocabulary needs, as start values."""

    train_data_set = ListField(["train"], help="made with the training split; [] switches it off")
    predict_data_set = ListField([], help="nothing is made there")
    online_data_set = ListField([], help="nothing is made there")
    embedding_file = AssetField(
        MISSING,
        bundle=False,
        help="GloVe, word2vec or fastText as text (.gz too), .parquet, or, with words_file, .npy "
        "or .safetensors",
    )
    words_file: str | None = AssetField(
        None,
        additions=[None],
        bundle=False,
        help="the words of the rows of .npy or .safetensors: .txt with one a line, or .parquet",
    )
    embedding_size = IntField(
        MISSING,
        minimum=1,
        help="width of a vector: so many numbers end a line, the word before may hold spaces",
    )
    vocab: str | None = StrField(
        None, additions=[None], help="vocabulary of the meta folder whose words need vectors"
    )
    tokenizer_path: str | None = AssetField(
        None,
        additions=[None],
        bundle=False,
        help="tokenizer.json whose tokens need vectors, in place of vocab",
    )
    extend_vocab = IntField(
        0,
        minimum=0,
        additions=[None],
        help="put so many words from the file's start into vocab, so that words unseen in "
        "training have their vectors; null: all words of the file",
    )
    token_embedding = StrField(
        "token_embedding.npy",
        help="name of the table in the meta folder: embedding_meta of the embedding",
    )

    class BiasClipRange:
        """Between which bounds drawn vectors are held."""

        lower = FloatField(None, additions=[None], help="least entry; null: none")
        upper = FloatField(None, additions=[None], help="largest entry; null: none")

    bias_clip_range: Any = NestField(
        BiasClipRange, help="bounds of the vectors drawn for words that the file lacks"
    )

    def signature(self) -> Signature:
        """Reads and writes no column, but the meta folder."""
        return Signature(meta=(self.token_embedding, *((self.vocab,) if self.vocab else ())))

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield what does not fit among files, vocabulary and bounds."""
        yield from SubprocessorConfig.rules(self)
        if "valid" in self.train_data_set or "test" in self.train_data_set:
            yield (
                "train_data_set",
                f'a table is made with ["train"] alone, got {list(self.train_data_set)}',
            )
        yield from _one_source(self.vocab, self.tokenizer_path)
        if self.extend_vocab != 0 and not self.vocab:
            yield "extend_vocab", "the words of a tokenizer are fixed: it is for vocab"
        rows_only = self.embedding_file.endswith((".npy", ".safetensors"))
        if rows_only != (self.words_file is not None):
            yield (
                "words_file",
                "rows of .npy and .safetensors need the words they belong to"
                if rows_only
                else "this format holds its words: words_file is for .npy and .safetensors",
            )
        if not self.token_embedding.endswith(".npy"):
            yield "token_embedding", f'expected a name ending in .npy, got "{self.token_embedding}"'
        bounds = self.bias_clip_range
        if bounds.lower is not None and bounds.upper is not None and bounds.lower > bounds.upper:
            yield (
                "bias_clip_range",
                f"expected lower <= upper, got {bounds.lower} and {bounds.upper}",
            )


def _one_source(vocab: str | None, tokenizer_path: str | None) -> Iterable[tuple[str, str]]:
    if (vocab is None) == (tokenizer_path is None):
        yield "vocab", f"expected vocab or tokenizer_path, got {'both' if vocab else 'neither'}"
