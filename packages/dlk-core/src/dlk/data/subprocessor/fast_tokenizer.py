"""Texts to ids by a `tokenizers` JSON file.

The same file, options and code in training and in serving.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors

from dlk.data.subprocessor.base import Columns, Subprocessor, TransformContext
from dlk.data.subprocessor.configs import FastTokenizerConfig, parts_of
from dlk.data.texts import flaw_of, flaw_of_words
from dlk.data.tokenizer_file import keep_tokenizer, read_tokenizer
from dlk.errors import ConfigError
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.data.meta import Meta
    from dlk.data.ragged import Ragged

__all__ = ["FastTokenizer"]

_NORMALIZERS = {
    "bert": normalizers.BertNormalizer,
    "nfc": normalizers.NFC,
    "nfd": normalizers.NFD,
    "nfkc": normalizers.NFKC,
    "nfkd": normalizers.NFKD,
    "lowercase": normalizers.Lowercase,
    "strip": normalizers.Strip,
    "strip_accents": normalizers.StripAccents,
}
_PRE_TOKENIZERS = {
    "bert": pre_tokenizers.BertPreTokenizer,
    "bytelevel": pre_tokenizers.ByteLevel,
    "metaspace": pre_tokenizers.Metaspace,
    "whitespace": pre_tokenizers.Whitespace,
    "whitespacesplit": pre_tokenizers.WhitespaceSplit,
}
# what adds special tokens, with the texts of the last and the first of them
_POST_PROCESSORS = {
    "bert": (processors.BertProcessing, "[SEP]", "[CLS]"),
    "roberta": (processors.RobertaProcessing, "</s>", "<s>"),
}
# the texts under which models keep their special tokens, in the order in which they are looked for
_SPECIALS = {
    "pad_id": ("[PAD]", "<pad>", "<|pad|>"),
    "unk_id": ("[UNK]", "<unk>", "<|unk|>"),
    "cls_id": ("[CLS]", "<s>"),
    "sep_id": ("[SEP]", "</s>"),
    "mask_id": ("[MASK]", "<mask>"),
    "bos_id": ("[BOS]", "<s>", "<bos>", "<|startoftext|>", "<|endoftext|>"),
    "eos_id": ("[EOS]", "</s>", "<eos>", "<|endoftext|>"),
}
_SPACE = "Ġ"  # how byte-level tokenizers write it, and nothing else
_AT_ONCE = 256
"""Rows encoded at once: what they take stays in the processor's caches, which saves a tenth of the
time of some thousands. Enough to share among threads."""
# encode_batch_fast leaves these empty
_SLOW_OUTPUTS = ("offsets", "word_ids", "sequence_ids", "tokens")


@register("subprocessor", "fast_tokenizer")
class FastTokenizer(Subprocessor):
    """Encodes one text or a pair a row, given as text or as words.

    Padding and truncation stored in the file are switched off: rows keep their own length, and only
    the options of the config cut. With `expand_examples` a long row becomes several records
    (`_part` 0, 1, …), windows in the order of the text that share `truncation.stride` tokens, with
    offsets and word ids that count from the text's start. A copy of the tokenizer as
    used goes to the meta folder, and is what later stages load: serving needs no file from outside.

    Outputs beside the ids (and the type ids of pairs) are made only where somebody reads them;
    without offsets and word ids the faster encoder of `tokenizers` is used. Safe to use from many
    threads.
    """

    stores = True

    def __init__(self, config: FastTokenizerConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.file: str = config.tokenizer
        kept = self.file in setup.meta
        self.path: str = setup.meta.path(self.file) if kept else config.tokenizer_path
        self.is_pair = config.input_type == "pair"
        self.is_pretokenized: bool = config.process_data.is_pretokenized
        self.add_special_tokens: bool = config.process_data.add_special_tokens
        self.expand: bool = config.expand_examples
        self.fix_offset: bool = config.fix_offset
        self.text_columns = [self.input_map[key] for key in config.text_keys()]
        self.offset_columns = [self.input_map[key] for key in config.offset_keys()]
        tokenizer = read_tokenizer(self.path)
        self._padding = tokenizer.padding
        tokenizer.no_padding()
        tokenizer.no_truncation()
        _apply_options(tokenizer, config)
        self._whole = (
            Tokenizer.from_str(tokenizer.to_str()) if self.expand and self.is_pair else None
        )
        self.copy: str = tokenizer.to_str(pretty=False)
        cut = config.truncation
        self.stride: int = cut.stride
        self.max_length: int | None = cut.max_length
        self.strategy: str = cut.strategy
        self.from_the_end = cut.direction == "left"
        self.room = 0  # tokens beside the special ones
        if cut.max_length is not None:
            specials = (
                tokenizer.num_special_tokens_to_add(self.is_pair) if self.add_special_tokens else 0
            )
            self.room = cut.max_length - specials
            if self.room <= cut.stride:
                raise ConfigError(
                    f"max_length {cut.max_length} leaves {self.room} tokens beside {specials} "
                    f"special ones, and windows share {cut.stride}: give more room"
                )
            tokenizer.enable_truncation(
                cut.max_length, stride=cut.stride, strategy=cut.strategy, direction=cut.direction
            )
        self.tokenizer, self.trims = _untrimmed(tokenizer)

    def store(self, meta: Meta) -> None:
        """Put the tokenizer as used into `meta`, with its size and special ids.

        Raises:
            DataError: another step keeps a different tokenizer under the same name.
        """
        numbers = _numbers(self.tokenizer, self._padding)
        keep_tokenizer(meta, self.file, self.copy, numbers)

    def transform(self, columns: Columns, ctx: TransformContext) -> Columns:
        """Return ids and the other outputs that are wanted.

        With windows, `_row` and `_part` too.
        """
        rows = len(columns[self.text_columns[0]])
        parts = [
            self._encoded(
                {name: values[start : start + _AT_ONCE] for name, values in columns.items()},
                replace(ctx, rows=ctx.rows[start : start + _AT_ONCE]),  # reports go to the same
            )
            for start in range(0, rows, _AT_ONCE)
        ]
        return _joined_parts(parts) if parts else self._encoded(columns, ctx)

    def _encoded(self, columns: Columns, ctx: TransformContext) -> Columns:
        given = [columns[name] for name in self.text_columns]
        words = self.is_pretokenized
        inputs = [
            list(texts)
            if not words and set(map(type, texts)) == {str} and all(map(str.isascii, texts))
            else [
                value
                if type(value) is str and not words and value.isascii()
                else self._checked(value, at, name, ctx)
                for at, value in enumerate(texts)
            ]
            for name, texts in zip(self.text_columns, given, strict=True)
        ]
        wanted = {key for key, name in self.output_map.items() if ctx.wants(name)}
        encodings = self._encode(inputs, ctx, fast=not wanted.intersection(_SLOW_OUTPUTS))
        positions: Sequence[int] = range(len(encodings))
        result: Columns = {}
        if self.expand:
            windows = [[encoding, *encoding.overflowing] for encoding in encodings]
            if self.from_the_end:  # then the library's first window is the text's last
                windows = [each[::-1] for each in windows]
            positions = [position for position, each in enumerate(windows) for _ in each]
            result["_row"] = [columns["_row"][position] for position in positions]
            result["_part"] = [part for each in windows for part in range(len(each))]
            encodings = [encoding for each in windows for encoding in each]
        if ctx.stage == "online":
            result[self.output_map["ids"]] = [encoding.ids for encoding in encodings]
        else:
            result[self.output_map["ids"]] = _ids(encodings)
        if self.is_pair or "type_ids" in wanted:
            result[self.output_map["type_ids"]] = [encoding.type_ids for encoding in encodings]
        for key in ("attention_mask", "tokens", "special_tokens_mask", "word_ids", "sequence_ids"):
            if key in wanted:
                result[self.output_map[key]] = [getattr(encoding, key) for encoding in encodings]
        if "offsets" in wanted:
            places = self._places(encodings, positions, inputs, columns, ctx)
            result[self.output_map["offsets"]] = _pairs(places, list(map(len, encodings)))
        return result

    def _checked(self, value: Any, position: int, column: str, ctx: TransformContext) -> Any:
        """Return the text or words, or an empty text in place of what is neither, or no Unicode."""
        if self.is_pretokenized:
            flaw = "expected a list of words"
            if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
                flaw = flaw_of_words(value)
        elif isinstance(value, str):
            flaw = flaw_of(value)
        else:
            flaw = "expected a text" if value is not None else "there is no text"
        if not flaw:
            return value
        ctx.bad_row(position, column, value, flaw)
        return [] if self.is_pretokenized else ""

    def _encode(self, inputs: list[list[Any]], ctx: TransformContext, *, fast: bool) -> list[Any]:
        rows: list[Any] = list(zip(*inputs, strict=True)) if self.is_pair else list(inputs[0])
        if self._whole is not None:
            rows = self._with_room(rows, inputs, ctx)
        encode = self.tokenizer.encode_batch_fast if fast else self.tokenizer.encode_batch
        options = {
            "is_pretokenized": self.is_pretokenized,
            "add_special_tokens": self.add_special_tokens,
        }
        try:
            return list(encode(rows, **options))
        except Exception:  # noqa: BLE001 - tokenizers raises bare Exception where a text cannot be cut
            found: list[Any] = []  # one of the rows: find it
        for position, row in enumerate(rows):
            try:
                found += encode([row], **options)
            except Exception as error:  # noqa: BLE001 - as above
                value = row if not self.is_pair else list(row)
                ctx.bad_row(
                    position, self.text_columns[0], value, f"the tokenizer refuses it: {error}"
                )
                found += encode([self._empty()], **options)
        return found

    def _empty(self) -> Any:
        text: Any = [] if self.is_pretokenized else ""
        return (text, text) if self.is_pair else text

    def _with_room(
        self, rows: list[Any], inputs: list[list[Any]], ctx: TransformContext
    ) -> list[Any]:
        """Return the rows, empty ones where the text kept whole leaves no room for windows."""
        assert self._whole is not None
        kept = 1 if self.strategy == "only_first" else 0
        lengths = self._whole.encode_batch_fast(
            inputs[kept], is_pretokenized=self.is_pretokenized, add_special_tokens=False
        )
        checked = []
        for position, (row, encoding) in enumerate(zip(rows, lengths, strict=True)):
            used = len(encoding.ids)
            room = self.room - used
            if room > self.stride:
                checked.append(row)
                continue
            checked.append(self._empty())
            reason = (
                f"its {used} tokens leave {max(room, 0)} for windows, which share {self.stride}"
            )
            ctx.bad_row(position, self.text_columns[kept], row[kept], reason)
        return checked

    def _places(
        self,
        encodings: list[Any],
        positions: Sequence[int],
        inputs: list[list[Any]],
        columns: Columns,
        ctx: TransformContext,
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield (start, end) in characters of each token, encoding by encoding.

        Of the text, or of the word unless `fix_offset`.
        """
        for encoding, position in zip(encodings, positions, strict=True):
            inside = self._trimmed(encoding, position, inputs) if self.trims else encoding.offsets
            if self.fix_offset:
                try:
                    inside = self._from_text_start(encoding, inside, position, columns)
                except (LookupError, TypeError):
                    column = self.offset_columns[0]
                    value = columns[column][position]
                    ctx.bad_row(position, column, value, "expected (start, end) of each word")
            yield inside

    def _trimmed(
        self, encoding: Any, position: int, inputs: list[list[Any]]
    ) -> list[tuple[int, int]]:
        """Return the offsets without the white space at the ends of pieces.

        A piece of spaces alone is empty, also where the space was added before a letter.
        """
        trimmed = []
        for (start, end), token, word, number in zip(
            encoding.offsets, encoding.tokens, encoding.word_ids, encoding.sequence_ids, strict=True
        ):
            if number is None:  # a special token
                trimmed.append((start, end))
                continue
            text = inputs[number][position]
            if self.is_pretokenized:
                text = text[word]
            held = text[start:end]
            first = end - len(held.lstrip())
            last = first if not token.strip(_SPACE) else start + len(held.rstrip())
            trimmed.append((first, max(first, last)))
        return trimmed

    def _from_text_start(
        self,
        encoding: Any,
        inside: list[tuple[int, int]],
        position: int,
        columns: Columns,
    ) -> list[tuple[int, int]]:
        words = [columns[column][position] for column in self.offset_columns]
        mended = []
        for (start, end), word, text in zip(
            inside, encoding.word_ids, encoding.sequence_ids, strict=True
        ):
            if word is None or text is None:  # a special token
                mended.append((start, end))
            else:
                first = words[text][word][0]
                mended.append((first + start, first + end))
        return mended


def _joined_parts(parts: Sequence[Columns]) -> Columns:
    """Return the columns of several parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: _one_after_other([part[name] for part in parts]) for name in parts[0]}


def _one_after_other(values: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if isinstance(values[0], list):
        return list(chain.from_iterable(values))
    from dlk.data.ragged import Ragged  # here: serving ids alone needs no numpy

    return Ragged.joined(cast("Sequence[Ragged]", values))


def _ids(encodings: Sequence[Any]) -> Ragged:
    """Return the ids of many encodings as one array, which is what a file takes."""
    import numpy as np  # here: serving ids alone needs no numpy

    from dlk.data.ragged import Ragged

    edges = np.zeros(len(encodings) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encodings), np.int64, len(encodings)), out=edges[1:])
    numbers = chain.from_iterable(map(attrgetter("ids"), encodings))
    return Ragged(np.fromiter(numbers, dtype=np.int64, count=int(edges[-1])), (edges,))


def _pairs(rows: Iterable[list[tuple[int, int]]], lengths: Sequence[int]) -> Ragged:
    """Return rows of so many pairs each, without keeping the pairs."""
    import numpy as np  # here: serving ids alone needs no numpy

    from dlk.data.ragged import Ragged

    edges = np.cumsum([0, *lengths])
    numbers = chain.from_iterable(chain.from_iterable(rows))
    flat = np.fromiter(numbers, dtype=np.int64, count=2 * int(edges[-1]))
    return Ragged(flat, (edges, np.arange(0, len(flat) + 1, 2)))


def _apply_options(tokenizer: Tokenizer, config: FastTokenizerConfig) -> None:
    """Replace the parts that the config names; replacing them twice changes nothing."""
    if config.normalizer != "default":
        tokenizer.normalizer = _joined("normalizer", config, _NORMALIZERS, normalizers.Sequence)
    if config.pre_tokenizer != "default":
        made = _joined("pre_tokenizer", config, _PRE_TOKENIZERS, pre_tokenizers.Sequence)
        tokenizer.pre_tokenizer = made
    post_processor: str | None = config.post_processor
    if post_processor is None:
        tokenizer.post_processor = None
    elif post_processor != "default":
        made, last, first = _POST_PROCESSORS[post_processor]
        ids = tokenizer.token_to_id(last), tokenizer.token_to_id(first)
        if None in ids:
            raise ConfigError(
                f'post_processor "{post_processor}" needs {first} and {last} in the tokenizer'
            )
        tokenizer.post_processor = made((last, ids[0]), (first, ids[1]))


def _untrimmed(tokenizer: Tokenizer) -> tuple[Tokenizer, bool]:
    """Return the tokenizer without trimming of offsets, and whether it trimmed.

    `tokenizers` trims by the piece, not the text: the first piece of a later window keeps its
    space, and a piece after a special token, where the space was added, loses its first letter.
    """
    added = tokenizer.post_processor
    if added is None or b'"trim_offsets":true' not in added.__getstate__().replace(b" ", b""):
        return tokenizer, False
    whole = json.loads(tokenizer.to_str())
    plain = whole["post_processor"]
    trimming = [part for part in (plain, *plain.get("processors", ())) if part.get("trim_offsets")]
    if not trimming:
        return tokenizer, False
    for part in trimming:
        part["trim_offsets"] = False
    return Tokenizer.from_str(json.dumps(whole)), True


def _joined(
    field: str, config: FastTokenizerConfig, known: Mapping[str, Any], sequence: Callable[..., Any]
) -> Any:  # Any: a part of a tokenizer, whose classes share no base
    """Return the parts that a field names, as one; None where it names none."""
    made = []
    for name, options in parts_of(getattr(config, field)):
        try:
            made.append(known[name](**options))
        except TypeError as error:
            raise ConfigError(f'{field} "{name}" takes no such options: {error}') from error
    return sequence(made) if made else None


def _numbers(tokenizer: Tokenizer, padding: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the size (added tokens included) and the ids of the special tokens that there are.

    `padding` is what the file says of it, which tells the id better than its text does.
    """
    found = {"size": max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1}
    for name, texts in _SPECIALS.items():
        ids = [tokenizer.token_to_id(text) for text in texts]
        known = next((found_id for found_id in ids if found_id is not None), None)
        if name == "pad_id" and padding is not None:
            known = padding["pad_id"]
        if known is not None:
            found[name] = known
    return found
