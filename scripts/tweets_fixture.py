"""Make `tests/fixtures/tweets` anew from the tweets that the examples use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from examples.data import Row, ner, write_jsonl

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "tweets"
NAMED = {"train": 48, "valid": 10, "test": 18}  # tweets with names
PLAIN = {"train": 12, "valid": 4, "test": 6}  # and without
LONGEST = 110  # characters: a small fixture should be read easily


def chosen(rows: Sequence[Row], named: int, plain: int) -> list[Row]:
    """Return the first short tweets of both kinds that address nobody, in the split's order."""
    fit = [
        {key: row[key] for key in ("uuid", "sentence", "entities_info")}
        for row in rows
        if row["sentence"].isascii()
        and len(row["sentence"]) < LONGEST
        and not any(mark in row["sentence"].lower() for mark in ("@", "http", "www", "fuck"))
    ]
    with_names = [row for row in fit if row["entities_info"]][:named]
    without = [row for row in fit if not row["entities_info"]][:plain]
    return sorted(with_names + without, key=lambda row: str(row["uuid"]))


def tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a small WordPiece tokenizer, by which most names are several pieces."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  # no password
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))],
    )
    made.enable_padding(length=32)
    made.enable_truncation(24)
    return made


def main() -> None:
    """Write rows and tokenizer."""
    rows = {name: chosen(split, NAMED[name], PLAIN[name]) for name, split in ner().items()}
    write_jsonl(rows, FOLDER)
    tokenizer([row["sentence"] for row in rows["train"]]).save(str(FOLDER / "tokenizer.json"))


if __name__ == "__main__":
    main()
