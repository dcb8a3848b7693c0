"""What the steps say of a text, or a word, that is no Unicode."""

from __future__ import annotations

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.registry import register
from dlk.testing.tokenizers import trained_tokenizer

HALF = "a \ud800 b"
ENTITY = {"start": 0, "end": 1, "labels": [HALF]}
RELATION = {"from": 0, "to": 0, "labels": [HALF]}


@pytest.fixture
def meta(tmp_path):
    made = Meta(tmp_path / "meta")
    made.save()
    known = Vocabulary(unk="O")
    known.add({"a": 1, "b": 1})
    for file in ("token_vocab.json", "char_vocab.json", "label_vocab.json", "relation_vocab.json"):
        made.put_vocabulary(file, known)
    trained_tokenizer("wordpiece").save(str(tmp_path / "tokenizer.json"))
    return made


@pytest.mark.parametrize(
    ("name", "config", "column", "flawed", "sound"),
    [
        ("fast_tokenizer", {"tokenizer_path": "tokenizer.json"}, "sentence", HALF, "a"),
        ("pre_tokenize", {}, "sentence", HALF, "a é"),
        ("pre_tokenize", {"method": "words"}, "pretokenized_words", ["a", HALF], ["a"]),
        ("token_norm", {"tokenizer_path": "tokenizer.json"}, "sentence", HALF, "a é"),
        ("token_norm", {"vocab": "token_vocab.json"}, "tokens", ["a", HALF], ["a"]),
        ("token2charid", {"source": "tokens"}, "tokens", ["a", HALF], ["a"]),
        ("token2charid", {"source": "offsets"}, "sentence", HALF, "a"),
        ("seq_lab_relabel", {}, "sentence", HALF, "a"),
        ("seq_lab_relabel", {}, "entities_info", [ENTITY], []),
        ("span_cls_relabel", {}, "sentence", HALF, "a"),
        ("span_cls_relabel", {}, "entities_info", [ENTITY], []),
        ("token_gather", {"gather_columns": ["x"]}, "x", [HALF], ["a"]),
        ("char_gather", {"gather_columns": ["x"]}, "x", ["a", HALF], ["a"]),
        (
            "token_gather",
            {"gather_columns": [{"column": "relations_info", "trace": "labels"}]},
            "relations_info",
            [RELATION],
            [],
        ),
    ],
)
def test_a_row_that_is_no_unicode_is_named_with_what_to_do(
    meta, tmp_path, name, config, column, flawed, sound
):
    if "tokenizer_path" in config:
        config = {**config, "tokenizer_path": str(tmp_path / "tokenizer.json")}
    step = register.build(make("subprocessor", name, config), Setup(meta))
    others = {"sentence": "a", "tokens": ["a"], "offsets": [[0, 1]], "entities_info": []}
    read = dict.fromkeys((*step.reads, *step.targets))
    columns = {each: [others.get(each)] * 3 for each in read if each != column}
    columns[column] = [sound, flawed, sound]
    ctx = TransformContext("train", "train", [4, 5, 6], frozenset(step.writes))
    if step.learns:
        step.screen({each: columns[each] for each in step.learns_from}, ctx)
    else:
        step.transform({**columns, "_row": [4, 5, 6]}, ctx)
    assert [(row, bad.column) for row, bad in ctx.bad.items()] == [(5, column)]
    assert "half of a surrogate pair (\\ud800) stands at 2" in str(ctx.bad[5])
    assert "mend the text where it comes from" in str(ctx.bad[5])
    assert str(ctx.bad[5]).isascii()
