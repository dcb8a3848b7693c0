"""Options of the subprocessors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dlk.config import (
    MISSING,
    AnyField,
    AssetField,
    Base,
    BoolField,
    IntField,
    ListField,
    MapField,
    NestField,
    Signature,
    StrField,
    cregister,
)

__all__ = [
    "FastTokenizerConfig",
    "GatherConfig",
    "SubprocessorConfig",
    "Token2IdConfig",
    "Token2IdLabelConfig",
    "TokenGatherConfig",
]

NORMALIZERS = ("bert", "nfc", "nfd", "nfkc", "nfkd", "lowercase", "strip", "strip_accents")
PRE_TOKENIZERS = ("bert", "bytelevel", "metaspace", "whitespace", "whitespacesplit")
_SPLITS = {
    "train_data_set": ("train", "valid", "test"),
    "predict_data_set": ("predict",),
    "online_data_set": ("online",),
}


@cregister()
class SubprocessorConfig(Base):
    """Which splits a step runs on, and how the columns it reads and writes are called."""

    train_data_set = ListField(
        ["train", "valid", "test"], help="splits the step runs on while training data is processed"
    )
    predict_data_set = ListField(
        ["predict"], help='["predict"]: the step runs on data to predict; []: it does not'
    )
    online_data_set = ListField(
        ["online"], help='["online"]: the step runs when serving; []: it does not'
    )
    input_map = MapField({}, help="columns read")
    output_map = MapField({}, help="columns written")

    def splits(self, stage: str) -> tuple[str, ...]:
        """Return the splits that the step runs on in a stage (train, predict or online)."""
        return tuple(getattr(self, f"{stage}_data_set"))

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a problem for each split that the stage does not have."""
        for name, known in _SPLITS.items():
            wrong = [split for split in getattr(self, name) if split not in known]
            if wrong:
                yield name, f"expected some of {list(known)}, got {wrong}"


@cregister("subprocessor", "fast_tokenizer")
class FastTokenizerConfig(SubprocessorConfig):
    """Texts, or pairs of texts, to ids by a `tokenizers` JSON file."""

    tokenizer_path = AssetField(
        MISSING, bundle=False, help="tokenizer.json of the `tokenizers` library"
    )
    tokenizer = StrField(
        "tokenizer.json",
        help="name of the copy in the meta folder; its entry gives size and special ids",
    )
    input_type = StrField("single", options=["single", "pair"], help="one text a row, or two")

    class Truncation:
        """How long texts are cut."""

        max_length = IntField(
            512,
            minimum=1,
            additions=[None],
            help="largest number of tokens, with special ones; null: no limit",
        )
        direction = StrField("right", options=["right", "left"], help="the end that is cut off")
        stride = IntField(0, minimum=0, help="tokens that neighbouring windows share")
        strategy = StrField(
            "longest_first",
            options=["longest_first", "only_first", "only_second"],
            help="which text of a pair is cut",
        )

    truncation: Any = NestField(Truncation, help="how long texts are cut")

    class ProcessData:
        """How the texts are given."""

        is_pretokenized = BoolField(False, help="rows hold lists of words instead of texts")
        add_special_tokens = BoolField(
            True, help="add the tokens of the post-processor ([CLS], [SEP])"
        )

    process_data: Any = NestField(ProcessData, help="how the texts are given")
    expand_examples = BoolField(
        False, help="cut long texts into windows, each a record, instead of dropping their ends"
    )
    fix_offset = BoolField(
        False,
        help="offsets of words count from the text's start, by the column of the words' offsets",
    )
    normalizer = AnyField(
        "default",
        help="default: the file's; null: no; bert, nfc, nfd, nfkc, nfkd, lowercase, strip, "
        "strip_accents, or a list",
    )
    pre_tokenizer = AnyField(
        "default",
        help="default: the file's; null: no; bert, bytelevel, metaspace, whitespace, "
        "whitespacesplit, or a list",
    )
    post_processor = StrField(
        "default",
        options=["default", "bert", "roberta", None],
        help="what adds special tokens; bert: [CLS] text [SEP]; roberta: <s> text </s>; default: "
        "the file's; null: nothing",
    )
    input_map = MapField(
        {
            "sentence": "sentence",
            "sentence_a": "sentence_a",
            "sentence_b": "sentence_b",
            "pretokenized_words": "pretokenized_words",
            "pretokenized_words_a": "pretokenized_words_a",
            "pretokenized_words_b": "pretokenized_words_b",
            "pretokenized_word_offsets": "pretokenized_word_offsets",
            "pretokenized_word_offsets_a": "pretokenized_word_offsets_a",
            "pretokenized_word_offsets_b": "pretokenized_word_offsets_b",
        },
        help="columns read: those of the input type, as texts or as words",
    )
    output_map = MapField(
        {
            "ids": "input_ids",
            "type_ids": "type_ids",
            "attention_mask": "attention_mask",
            "tokens": "tokens",
            "special_tokens_mask": "special_tokens_mask",
            "offsets": "offsets",
            "word_ids": "word_ids",
            "sequence_ids": "sequence_ids",
        },
        help="columns written: ids, type_ids of pairs; others where a later step reads them, "
        "stored where `keep` names them",
    )

    def text_keys(self) -> tuple[str, ...]:
        """Return the keys of `input_map` that hold the texts (or words) of the input type."""
        base = "pretokenized_words" if self.process_data.is_pretokenized else "sentence"
        return (base,) if self.input_type == "single" else (f"{base}_a", f"{base}_b")

    def offset_keys(self) -> tuple[str, ...]:
        """Return the keys of `input_map` that hold the words' offsets; none unless `fix_offset`."""
        if not self.fix_offset:
            return ()
        return tuple(
            key.replace("pretokenized_words", "pretokenized_word_offsets")
            for key in self.text_keys()
        )

    def signature(self) -> Signature:
        """Reads the columns of the input type.

        Writes every output it can make, and `_part` with windows; what is made on demand is for the
        steps after it.
        """
        writes = tuple(self.output_map.values()) + (("_part",) if self.expand_examples else ())
        always = ("ids", "type_ids") if self.input_type == "pair" else ("ids",)
        return Signature(
            reads=tuple(self.input_map[key] for key in self.text_keys() + self.offset_keys()),
            writes=writes,
            passing=tuple(name for key, name in self.output_map.items() if key not in always),
            meta=(self.tokenizer,),
            makes=(self.tokenizer,),
            ids={self.output_map["ids"]: self.tokenizer},
        )

    def surveyed(self) -> Signature:
        """The signature with how many ids the tokenizer's file has."""
        plain = self.signature()
        count = _count_of_ids(self.tokenizer_path)
        return replace(plain, ids={self.output_map["ids"]: count}) if count else plain

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield what does not fit together among truncation, windows and offsets."""
        yield from SubprocessorConfig.rules(self)
        cut = self.truncation
        if cut.stride and not self.expand_examples:
            yield "truncation.stride", "windows share tokens only where expand_examples is true"
        if self.expand_examples and cut.max_length is None:
            yield "truncation.max_length", "windows need a length, got null"
        if cut.max_length is not None and cut.stride >= cut.max_length:
            yield (
                "truncation.stride",
                f"expected less than max_length {cut.max_length}, got {cut.stride}",
            )
        if self.expand_examples and self.input_type == "pair" and cut.strategy == "longest_first":
            yield (
                "truncation.strategy",
                'windows over pairs cut one text: expected "only_first" or "only_second"',
            )
        if self.input_type == "single" and cut.strategy == "only_second":
            yield (
                "truncation.strategy",
                'a single text has no second one: expected "longest_first" or "only_first"',
            )
        if self.fix_offset and not self.process_data.is_pretokenized:
            yield (
                "fix_offset",
                "offsets of texts need no mending: it is for process_data.is_pretokenized",
            )
        for field, known in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS)):
            for name, options in parts_of(getattr(self, field)):
                if name not in known or not isinstance(options, Mapping):
                    options_example = '{"bytelevel": {"add_prefix_space": false}}'
                    yield (
                        field,
                        f"expected default, null, one or a list of {', '.join(known)} "
                        f"(with options: {options_example}), got {name!r}",
                    )


def _count_of_ids(path: str) -> int:
    """Return how many ids a tokenizer.json has; 0 where it cannot be told."""
    try:
        with open(path, encoding="utf-8") as handle:
            plain = json.load(handle)
        words = plain["model"]["vocab"]  # ids by word, or, of a unigram model, a list of words
        ids = [len(words) - 1, *(words.values() if isinstance(words, dict) else ())]
        ids += [token["id"] for token in plain.get("added_tokens") or ()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0  # whoever builds the tokenizer says what is wrong with it
    return max(ids) + 1 if all(type(number) is int for number in ids) else 0


def parts_of(value: Any) -> list[tuple[Any, Any]]:
    """Return (name, options) of each part that `normalizer` or `pre_tokenizer` names."""
    if value is None or value == "default":
        return []
    found: list[tuple[Any, Any]] = []
    for part in value if isinstance(value, list) else [value]:
        found += part.items() if isinstance(part, Mapping) else [(part, {})]
    return found


@cregister()
class GatherConfig(SubprocessorConfig):
    """What the steps share that learn a vocabulary from columns of the training split."""

    train_data_set = ListField(["train"], help="the split it learns from; [] switches it off")
    predict_data_set = ListField([], help="nothing is learnt there")
    online_data_set = ListField([], help="nothing is learnt there")
    gather_columns = ListField(
        MISSING,  # type: ignore[arg-type]  # stands for a required field of any kind
        help='columns of words, or {"column": "entities", "trace": "labels"} for words in dicts',
    )
    pad = StrField("[PAD]", additions=[None], help="word for padding, id 0; null: none")
    unk = StrField(
        "[UNK]", additions=[None], help="word for unknown ones; null: none, as for labels"
    )
    ignore = StrField(
        None, additions=[None], help="word whose id is -100, which losses ignore; null: none"
    )
    update = AssetField(
        None,
        additions=[None],
        bundle=False,
        help="vocabulary to start from, whose ids stay; null: none",
    )
    min_freq = IntField(1, minimum=1, help="words seen less often are left out")
    most_common = IntField(
        -1, minimum=-1, help="at most so many words beside the special ones; -1: all"
    )

    @property
    def file(self) -> str:
        """Name of the vocabulary in the meta folder, whatever the step calls it."""
        raise TypeError(f"{type(self).__name__} must say which file it writes")

    def sources(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return (column, keys to follow inside its dicts) for each gathered column."""
        found: list[tuple[str, tuple[str, ...]]] = []
        for each in self.gather_columns:
            if isinstance(each, str):
                found.append((each, ()))
            else:
                trace = str(each.get("trace") or "")
                found.append((each["column"], tuple(key for key in trace.split(".") if key)))
        return tuple(found)

    def signature(self) -> Signature:
        """Reads the gathered columns; writes no column but a vocabulary."""
        return Signature(
            reads=tuple(dict.fromkeys(column for column, _ in self.sources())),
            meta=(self.file,),
            makes=(self.file,),
            numbers={self.file: vocabulary_numbers(pad=self.pad, unk=self.unk)},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield gathered columns that are neither a name nor a column with a trace."""
        yield from SubprocessorConfig.rules(self)
        if "valid" in self.train_data_set or "test" in self.train_data_set:
            yield (
                "train_data_set",
                f'a vocabulary is learnt from ["train"] alone, got {list(self.train_data_set)}',
            )
        if not self.gather_columns:
            yield "gather_columns", "expected at least one column"
        for each in self.gather_columns:
            fits = isinstance(each, str) or (
                isinstance(each, dict)
                and isinstance(each.get("column"), str)
                and set(each) <= {"column", "trace"}
                and isinstance(each.get("trace", ""), str)
            )
            if not fits:
                yield (
                    "gather_columns",
                    f'expected a column or {{"column": …, "trace": …}}, got {each!r}',
                )


def vocabulary_numbers(*, pad: str | None, unk: str | None) -> tuple[str, ...]:
    """Return the numbers that a vocabulary with these special words has, as `Vocabulary` does."""
    named = {"pad_id": pad, "unk_id": unk}
    return ("size", *(name for name, word in named.items() if word is not None))


@cregister("subprocessor", "token_gather")
class TokenGatherConfig(GatherConfig):
    """Learns a vocabulary of words from columns of the training split."""

    token_vocab = StrField("token_vocab.json", help="name of the vocabulary in the meta folder")

    @property
    def file(self) -> str:
        """The vocabulary's file."""
        return str(self.token_vocab)


@cregister("subprocessor", "token2id")
class Token2IdConfig(SubprocessorConfig):
    """Words to ids by a learnt vocabulary; nested lists keep their shape."""

    vocab = StrField("token_vocab.json", help="name of the vocabulary in the meta folder")
    input_map = MapField({"tokens": "tokens"}, help="column of words, or of nested lists of them")
    output_map = MapField({"token_ids": "token_ids"}, help="column of ids, in the same shape")

    def signature(self) -> Signature:
        """Reads the words, writes the ids, needs the vocabulary."""
        return Signature(
            reads=(self.input_map["tokens"],),
            writes=(self.output_map["token_ids"],),
            meta=(self.vocab,),
            makes=(),
            ids={self.output_map["token_ids"]: self.vocab},
        )


@cregister("subprocessor", "token2id-label")
class Token2IdLabelConfig(Token2IdConfig):
    """Labels to ids; not where the truth is unknown: in prediction and serving."""

    predict_data_set = ListField([], help="labels of data to predict are unknown")
    online_data_set = ListField([], help="labels are unknown when serving")
    vocab = StrField("label_vocab.json", help="name of the vocabulary in the meta folder")
    input_map = MapField({"tokens": "labels"}, help="column of labels, or of nested lists of them")
    output_map = MapField({"token_ids": "label_ids"}, help="column of ids, in the same shape")
