"""Copies of the examples to check: their configs, a few rows, and stand-ins for large files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FIXTURES = Path(__file__).resolve().parent / "fixtures"

Row = dict[str, Any]
TEXT: Row = {"sentence": "How far is it ?", "labels": "NUM"}
TAGS: Row = {
    "sentence": "Ada wrote",
    "entities_info": [{"start": 0, "end": 3, "labels": ["PER"]}],
}
PAIR: Row = {
    "sentence_a": "one text",
    "sentence_b": "another",
    "labels": "match",
    "match": 1,
    "id_a": 1,
    "id_b": 2,
}
ROWS: dict[str, Row] = {
    "001_first_example": TEXT,
    "text_cls": {**TEXT, "fine": "NUM:dist"},
    "text_match": PAIR,
    "text_reg": {"sentence": "a film", "values": 1.5, "domain": "movies"},
    "sequence_labeling": TAGS,
    "span_cls": TAGS,
    "span_relation_extraction": {**TAGS, "relations_info": []},
}
PAIRS = (
    ("001_first_example", "process.jsonc", "fit.jsonc"),
    ("text_cls", "process.jsonc", "fit.jsonc"),
    ("text_cls", "process_multi.jsonc", "fit_multi.jsonc"),
    ("text_match", "process_bi.jsonc", "fit_bi.jsonc"),
    ("text_match", "process_cross.jsonc", "fit_cross.jsonc"),
    ("text_reg", "process.jsonc", "fit.jsonc"),
    ("sequence_labeling", "process_pieces.jsonc", "fit_crf.jsonc"),
    ("sequence_labeling", "process_pieces.jsonc", "fit_first_piece.jsonc"),
    ("sequence_labeling", "process_pieces.jsonc", "fit_lstm.jsonc"),
    ("sequence_labeling", "process_pieces.jsonc", "fit_lstm_crf.jsonc"),
    ("sequence_labeling", "process_words.jsonc", "fit_words.jsonc"),
    ("span_cls", "process.jsonc", "fit.jsonc"),
    ("span_relation_extraction", "process.jsonc", "fit.jsonc"),
)
"""Every pair of configs that the examples ship: example, process config, fit config."""


def copy_of(example: str, folder: Path, *, rows: bool = True) -> Path:
    """Copy an example's configs and components; put small files where it names large ones.

    Args:
        example: name of its folder.
        folder: where it goes.
        rows: whether there is raw data, of the columns that the example's has.
    """
    skip = shutil.ignore_patterns("data", "logs", "processed", "__pycache__", "*.md")
    made = folder / example
    shutil.copytree(EXAMPLES / example, made, ignore=skip)
    data = made / "data"
    (data / "minilm").mkdir(parents=True)
    (data / "glove").mkdir()
    shutil.copyfile(FIXTURES / "trec" / "tokenizer.json", data / "minilm" / "tokenizer.json")
    shape = {"hidden_size": 384, "vocab_size": 30522, "max_position_embeddings": 512}
    (data / "minilm" / "config.json").write_text(json.dumps(shape))
    for name in ("glove_6B_50d_emb.npy", "glove_6B_index.parquet"):
        (data / "glove" / name).write_bytes(b"")
    for split in ("train", "valid", "test") if rows else ():
        line = json.dumps(ROWS[example]) + "\n"
        (data / f"{split}.jsonl").write_text(line * 3)
    return made


def edited(file: Path, old: str, new: str) -> None:
    """Put a text in the place of the only one such in a file."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name} holds {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


def place_of(file: Path, text: str) -> tuple[int, int]:
    """Return line and column, from 1, of the only such text in a file; | is the very place."""
    content, at = file.read_text(encoding="utf-8"), max(text.find("|"), 0)
    wanted = text.replace("|", "", 1)
    assert content.count(wanted) == 1, f"{file.name} holds {wanted!r} {content.count(wanted)} times"
    before = content[: content.index(wanted) + at]
    return before.count("\n") + 1, len(before) - before.rfind("\n")
