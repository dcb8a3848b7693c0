"""Small tokenizers of every kind, for tests of what depends on one: offsets, words, windows.

They are made here of a few lines of many scripts, in milliseconds, are the same in every process,
and hold no published vocabulary.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

__all__ = ["KINDS", "trained_tokenizer"]

KINDS = (
    "wordpiece",
    "bytelevel",
    "bytelevel_trimmed",
    "roberta",
    "unigram",
    "unigram_nfkd",
    "bytefallback",
    "wordlevel",
)
"""What `trained_tokenizer` makes."""

_CORPUS = (
    "Hello world, this is a test of many things: the quick brown fox jumps over the lazy dog.",
    "naïve café déjà vu, Ångström, ﬁne oﬃce, straße, İstanbul, ıssız, Ǆ, ½ ﷺ №",
    "nai\u0308ve cafe\u0301 de\u0301ja\u0300 vu A\u030angstro\u0308m",
    "你好 世界。今日は良い天気ですね。안녕하세요 세계 ｆｕｌｌｗｉｄｔｈ",
    "שָׁלוֹם עולם, مرحبا بالعالم، می\u200cخواهم, नमस्ते दुनिया, ไทยภาษา",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈 😀 a\u200bb \u202dc\u202c 12345 67.8% $9",
)
_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_ROBERTA = ["<pad>", "<unk>", "<s>", "</s>"]


@cache
def _trained(kind: str) -> str:
    made = _MAKERS[kind]()
    return str(made.to_str())


def trained_tokenizer(kind: str) -> Tokenizer:
    """Return a fresh copy of the tokenizer of a kind.

    Args:
        kind: one of `KINDS`. ``wordpiece`` has BERT's normaliser, which lowers, strips accents and
            removes control characters; ``bytelevel`` has offsets with the leading space,
            ``bytelevel_trimmed`` without, and ``roberta`` adds special tokens; ``unigram_nfkd``
            has a normaliser that changes lengths; ``bytefallback`` splits what it does not know
            into bytes, has no pre-tokeniser, and so one word; ``wordlevel`` knows few words.
    """
    return Tokenizer.from_str(_trained(kind))


def _wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a word, no secret
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers the letters inside of words as it meets them, in the order of a hash map
    # that is another in each process, and of two pairs that are as frequent it joins the one with
    # the smaller numbers (huggingface/tokenizers#1794). So they are numbered here.
    letters = sorted(set(made.normalizer.normalize_str("".join(_CORPUS))))
    specials = [*_MARKS, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=320, special_tokens=specials, show_progress=False
    )
    made.train_from_iterator(_CORPUS, trainer)
    whole = json.loads(made.to_str())
    whole["added_tokens"] = [token for token in whole["added_tokens"] if token["content"] in _MARKS]
    made = Tokenizer.from_str(json.dumps(whole))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def _bytelevel(specials: Sequence[str] = ()) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(specials))
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(specials),
        show_progress=False,
    )
    made.train_from_iterator(_CORPUS, trainer)
    return made


def _bytelevel_trimmed() -> Tokenizer:
    made = _bytelevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def _roberta() -> Tokenizer:
    made = _bytelevel(_ROBERTA)
    made.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2))
    return made


def _unigram(normalizer: str = "NFKC") -> Tokenizer:
    """Return a model of the characters and the runs of them that the corpus repeats.

    They are counted here: the scores of the library's trainer differ from run to run, in one thread
    too, since it adds them up in the order of a hash map.
    """
    normal = getattr(normalizers, normalizer)()
    split = pre_tokenizers.Metaspace()
    words = [
        word for line in _CORPUS for word, _ in split.pre_tokenize_str(normal.normalize_str(line))
    ]
    counts = Counter(
        word[start:end]
        for word in words
        for start in range(len(word))
        for end in range(start + 1, min(start + _LONGEST, len(word)) + 1)
    )
    kept = [(piece, n) for piece, n in sorted(counts.items()) if n > 1 or len(piece) == 1]
    total = sum(n for _, n in kept)
    pieces = [("<unk>", 0.0), *((piece, math.log(n / total)) for piece, n in kept)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.normalizer = normal
    made.pre_tokenizer = split
    made.add_special_tokens(["<unk>"])
    return made


_LONGEST = 6
"""Characters of a piece, at most."""


def _unigram_nfkd() -> Tokenizer:
    made = _unigram("NFKD")
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    return made


def _bytefallback() -> Tokenizer:
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefgh", "ab", "▁a"]
    model = models.BPE(
        vocab={word: number for number, word in enumerate(words)},
        merges=[("a", "b"), ("▁", "a")],
        unk_token="<unk>",  # noqa: S106 - as above
        byte_fallback=True,
    )
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return made


def _wordlevel() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106 - as above
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        _CORPUS,
        trainers.WordLevelTrainer(vocab_size=60, special_tokens=_MARKS, show_progress=False),
    )
    return made


_MAKERS = {
    "wordpiece": _wordpiece,
    "bytelevel": _bytelevel,
    "bytelevel_trimmed": _bytelevel_trimmed,
    "roberta": _roberta,
    "unigram": _unigram,
    "unigram_nfkd": _unigram_nfkd,
    "bytefallback": _bytefallback,
    "wordlevel": _wordlevel,
}
