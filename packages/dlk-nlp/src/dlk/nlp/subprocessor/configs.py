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
from dlk.data.subprocessor.configs import (
    GatherConfig,
    SubprocessorConfig,
    vocabulary_numbers,
)

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
        help="columns written where a later step reads them, stored where `keep` names them: "
        "words, (start, end) of each in characters, and their numbers",
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
        writes = tuple(name for name in self.output_map.values() if name)
        return Signature(
            reads=tuple(self.input_map[key] for key in self.text_keys()),
            writes=writes,
            passing=writes,
            makes=(),
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
        help="columns written, and stored where `keep` names them: as many words, or characters, "
        "as were read",
    )

    def signature(self) -> Signature:
        """Reads and writes words by a vocabulary, texts by a tokenizer."""
        key = "tokens" if self.vocab else "sentence"
        written = self.output_map[f"norm_{key}"]
        return Signature(
            reads=(self.input_map[key],),
            writes=(written,),
            passing=(written,),
            meta=(self.vocab or self.tokenizer,),
            makes=() if self.vocab else (self.tokenizer,),
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
            makes=(),
            ids={self.output_map["char_ids"]: self.vocab},
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
        return Signature(
            meta=(self.token_embedding, *((self.vocab,) if self.vocab else ())),
            makes=(self.token_embedding,),
            numbers={self.token_embedding: ("size", "dim", "exact", "by_case", "missing")},
        )

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


# Spans, relations and order -----------------------------------------------------------------------


@cregister("subprocessor", "span_cls_relabel")
class SpanClsRelabelConfig(SubprocessorConfig):
    """Entities in characters to cells over units (pieces or words), nested ones too."""

    level = StrField(
        "piece", options=["piece", "word"], help="units that entities start and end at"
    )
    vocab = StrField(
        "label_vocab.json",
        help='vocabulary of the types in the meta folder, gathered with "pad": null, "unk": "O"',
    )
    drop = StrField(
        "none",
        options=["none", "longer", "shorter"],
        help="which of two entities that overlap is dropped; none: both are kept",
    )
    entity_priority = ListField(
        [],
        help="types, the first one preferred: where entities of nearly one length overlap "
        "(priority_trigger), and where two have the same units",
    )
    priority_trigger = IntField(
        1,
        minimum=0,
        help="largest difference of two lengths, in characters, for entity_priority to decide",
    )
    mask_fill = IntField(-100, help="id of cells that losses ignore: cut entities, unknown types")
    mask_first_sent = BoolField(
        False,
        help="pairs of texts: entities stand in the second (sentence: its column), and the first "
        "has no units, as in questions about a text",
    )
    null_to_zero_index = BoolField(
        False,
        help="an entity whose start and end are null is the cell of the first piece, [CLS]: a "
        "question without an answer",
    )
    strict = BoolField(
        False,
        help="an entity that begins or ends inside of a unit is lost, instead of reaching to the "
        "ends of the units it touches",
    )
    input_map = MapField(
        {
            "sentence": "sentence",
            "offsets": "offsets",
            "word_ids": "word_ids",
            "sequence_ids": "sequence_ids",
            "entities_info": "entities_info",
        },
        help="columns read: word_ids at level word, sequence_ids with mask_first_sent, "
        "entities_info (the truth) in the stage train",
    )
    output_map = MapField(
        {
            "span_cells": "span_cells",
            "entity_units": "entity_units",
            "unit_offsets": "unit_offsets",
            "unit_mask": "unit_mask",
            "gather_index": "gather_index",
            "word_index": "word_index",
        },
        help="columns written: units in every stage (gather_index and word_index at level word), "
        "cells and the units of each entity where the truth is given",
    )

    def signature(self) -> Signature:
        """Reads the text and its pieces, and the truth; writes units, and cells of the truth."""
        words = ("gather_index", "word_index") if self.level == "word" else ()
        reads = ["sentence", "offsets"]
        reads += ["word_ids"] if self.level == "word" else []
        reads += ["sequence_ids"] if self.mask_first_sent else []
        writes = ("span_cells", "entity_units", "unit_offsets", "unit_mask", *words)
        return Signature(
            reads=tuple(self.input_map[key] for key in reads),
            targets=(self.input_map["entities_info"],),
            writes=tuple(self.output_map[key] for key in writes),
            meta=(self.vocab,),
            makes=(),
            supervised=(self.output_map["span_cells"], self.output_map["entity_units"]),
            ids={self.output_map["span_cells"]: self.vocab},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield options that do not go together."""
        yield from SubprocessorConfig.rules(self)
        if self.null_to_zero_index and self.level == "word":
            yield "null_to_zero_index", 'words have no [CLS] among them: expected level "piece"'
        wrong = [label for label in self.entity_priority if not isinstance(label, str)]
        if wrong:
            yield "entity_priority", f"expected types, got {wrong}"


@cregister("subprocessor", "span_relation_relabel")
class SpanRelationRelabelConfig(SubprocessorConfig):
    """Relations to cells of matrices over units, by the units that span_cls_relabel wrote."""

    predict_data_set = ListField([], help="relations of data to predict are unknown")
    online_data_set = ListField([], help="relations are unknown when serving")
    vocab = StrField(
        "relation_vocab.json",
        help='vocabulary of the types in the meta folder, gathered with "pad": null, "unk": "O"',
    )
    label_seperate = BoolField(
        False, help="a pair of matrices for each type, so that a cell can have several types"
    )
    sym = BoolField(False, help="relations have no direction: cells stand above the diagonal")
    mask_fill = IntField(-100, help="id of cells that losses ignore: unknown types")
    input_map = MapField(
        {
            "entity_units": "entity_units",
            "entities_info": "entities_info",
            "relations_info": "relations_info",
        },
        help="columns read: the truth, and the units of its entities",
    )
    output_map = MapField({"relation_cells": "relation_cells"}, help="column written")

    def signature(self) -> Signature:
        """Reads the truth and the units of its entities, writes cells."""
        return Signature(
            targets=tuple(self.input_map.values()),
            writes=(self.output_map["relation_cells"],),
            meta=(self.vocab,),
            makes=(),
            supervised=(self.output_map["relation_cells"],),
            ids={} if self.label_seperate else {self.output_map["relation_cells"]: self.vocab},
        )


@cregister("subprocessor", "piece_rerank_relabel")
class PieceRerankRelabelConfig(SubprocessorConfig):
    """The right order of shuffled words to cells: which piece follows which."""

    input_map = MapField(
        {"word_ids": "word_ids", "rank_info": "rank_info"},
        help="columns read: the word of each piece, and (the truth) the right place of each word",
    )
    output_map = MapField(
        {"rank_cells": "rank_cells", "unit_mask": "unit_mask"},
        help="columns written: [i, j, 1] where piece j follows piece i, and 1 for pieces of words",
    )

    def signature(self) -> Signature:
        """Reads word numbers and the truth; writes cells and the mask."""
        return Signature(
            reads=(self.input_map["word_ids"],),
            targets=(self.input_map["rank_info"],),
            writes=(self.output_map["rank_cells"], self.output_map["unit_mask"]),
            makes=(),
            supervised=(self.output_map["rank_cells"],),
        )


# Tags ---------------------------------------------------------------------------------------------


@cregister("subprocessor", "seq_lab_relabel")
class SeqLabRelabelConfig(SubprocessorConfig):
    """Entities as spans of characters to a tag per piece."""

    scheme = StrField("BIO", options=["BIO", "BIOES", "IO"], help="how tags say where spans begin")
    vocab: str | None = StrField(
        None,
        additions=[None],
        help="vocabulary of all tags, learnt here and written into the meta folder, with label_ids "
        "by it; null: labels are words, for token_gather and token2id-label",
    )
    ignore = StrField("X", help="word of units without a tag, such as special tokens; its id: -100")
    strict = BoolField(
        False,
        help="leave out entities that are no whole units, such as parts of words, and count them; "
        "false: tag the units that they touch, and count them too",
    )
    drop = StrField(
        "shorter",
        options=["shorter", "longer", "none"],
        help="which of two overlapping entities goes (and is counted); none: the row is bad",
    )
    entity_priority = ListField(
        [], help="labels, the strongest first, that decide between overlapping entities"
    )
    priority_trigger = IntField(
        1,
        minimum=0,
        help="largest difference in characters at which entity_priority decides before drop does",
    )
    clean_droped_entity = BoolField(
        False,
        help="store the truth without the entities that no tag says, so that metrics do not know "
        "of them; false: metrics count them as missed",
    )
    sequence: int | None = IntField(
        None,
        minimum=0,
        maximum=1,
        additions=[None],
        help="which text of a pair the sentence is, so that the other's pieces have no tag; "
        "null: there is one text",
    )
    input_map = MapField(
        {
            "sentence": "sentence",
            "offsets": "offsets",
            "sequence_ids": "sequence_ids",
            "entities_info": "entities_info",
        },
        help="columns read: entities_info where the truth is known, sequence_ids with `sequence`; "
        "offsets of words make each word a unit",
    )
    output_map = MapField(
        {
            "labels": "labels",
            "label_ids": "label_ids",
            "unit_offsets": "unit_offsets",
            "unit_mask": "unit_mask",
            "entities_info": "entities_info",
        },
        help="columns written: labels, or with vocab label_ids, and labels where a later step "
        "reads them or `keep` names them; entities_info with clean_droped_entity",
    )

    def signature(self) -> Signature:
        """Reads text and offsets, and the entities as truth; writes units and tags."""
        unwritten = set()
        if self.vocab is None:
            unwritten.add("label_ids")
        if not self.clean_droped_entity:
            unwritten.add("entities_info")
        unread = {"entities_info"} | ({"sequence_ids"} if self.sequence is None else set())
        learnt = () if self.vocab is None else (self.vocab,)
        tags = ("labels", "label_ids", "entities_info")
        return Signature(
            reads=tuple(name for key, name in self.input_map.items() if key not in unread),
            targets=(self.input_map["entities_info"],),
            writes=tuple(name for key, name in self.output_map.items() if key not in unwritten),
            passing=(self.output_map["labels"],) if learnt else (),
            meta=learnt,
            makes=learnt,
            numbers=dict.fromkeys(learnt, vocabulary_numbers(pad=None, unk=None)),
            supervised=tuple(self.output_map[key] for key in tags if key not in unwritten),
            ids={} if self.vocab is None else {self.output_map["label_ids"]: self.vocab},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a word for ignored units that is a tag, and priorities that are no labels."""
        yield from SubprocessorConfig.rules(self)
        if self.ignore == "O" or "-" in self.ignore or not self.ignore:
            yield "ignore", f'expected a word that is no tag, such as "X", got "{self.ignore}"'
        names = list(self.entity_priority)
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            yield "entity_priority", f"expected labels, each once, got {names}"


@cregister("subprocessor", "seq_lab_firstpiece_relabel")
class SeqLabFirstpieceRelabelConfig(SeqLabRelabelConfig):
    """Entities as spans of characters to a tag per word, and each word's first piece."""

    input_map = MapField(
        {
            "sentence": "sentence",
            "offsets": "offsets",
            "word_ids": "word_ids",
            "sequence_ids": "sequence_ids",
            "entities_info": "entities_info",
        },
        help="columns read: entities_info where the truth is known, sequence_ids with `sequence`",
    )
    output_map = MapField(
        {
            "labels": "labels",
            "label_ids": "label_ids",
            "unit_offsets": "unit_offsets",
            "unit_mask": "unit_mask",
            "gather_index": "gather_index",
            "word_index": "word_index",
            "entities_info": "entities_info",
        },
        help="columns written: labels, or with vocab label_ids, and labels where a later step "
        "reads them or `keep` names them; entities_info with clean_droped_entity",
    )
