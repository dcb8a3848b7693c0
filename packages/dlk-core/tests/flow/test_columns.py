"""Columns through the steps of a processor."""

from __future__ import annotations

from typing import Any

import pytest

from dlk.config import make
from dlk.flow.columns import Raw, Stored, follow_processor, is_slip

WORDS = {"gather_columns": ["words"]}


def processor(**steps: Any) -> Any:
    keep = steps.pop("keep", [])
    parts = {key.replace("__", "#"): values for key, values in steps.items()}
    children = {f"@subprocessor@{key}".replace("_label#", "-label#"): v for key, v in parts.items()}
    return make("processor", "default", {"keep": keep, **children})


def ids(source: str, written: str, **more: Any) -> dict[str, Any]:
    return {"input_map": {"tokens": source}, "output_map": {"token_ids": written}, **more}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("inputs_ids", "input_ids"),
        ("label_id", "label_ids"),
        ("lables", "labels"),
        ("sentense", "sentence"),
    ],
)
def test_a_slip_of_the_pen_is_one(name, known):
    assert is_slip(name, [known, "something_else"])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("input_ids_a", "input_ids_b"),  # two sides
        ("sentence1", "sentence2"),
        ("text_12", "text_3"),
        ("label", "labels_ids"),
        ("ids", "id"),  # too short to be sure
        ("words", "cards"),  # two letters are much of five
        ("match", "watch_it"),
        ("values", "label_ids"),
        ("label_ids", "label_ids"),
    ],
)
def test_another_name_is_no_slip(name, known):
    assert not is_slip(name, [known])


def test_what_steps_write_is_stored_beside_what_the_data_has():
    stored, found = follow_processor(
        processor(token_gather__w=WORDS, token2id__i=ids("words", "input_ids")),
        Raw({"train": frozenset({"words", "uuid"})}, ("train",), {"train": "train.jsonl"}),
    )
    assert not found
    assert stored.names() == ["input_ids", "uuid", "words"]
    assert stored.files == {"token_vocab.json": "w"}
    assert stored.ids == {"input_ids": "token_vocab.json"}
    assert stored.lacks("label_ids")
    assert not stored.lacks("uuid")


def test_without_data_the_columns_that_steps_need_of_it_are_gathered():
    stored, found = follow_processor(
        processor(keep=["uuid"], token_gather__w=WORDS, token2id__i=ids("words", "input_ids")),
        Raw(),
    )
    assert not found
    assert list(stored.needed) == ["words", "uuid"]
    assert not stored.lacks("anything")


def test_a_step_before_the_one_that_writes_what_it_reads_is_told():
    _, found = follow_processor(
        processor(
            token_gather__w=WORDS,
            token2id__more=ids("input_ids", "more_ids"),
            token2id__i=ids("words", "input_ids"),
        ),
        Raw({"train": frozenset({"words"})}, ("train",), {"train": "train.jsonl"}),
    )
    (one,) = found
    assert one.message == 'reads the column "input_ids", which i writes only after it.'


def test_a_step_that_is_off_in_a_split_writes_nothing_there():
    _, found = follow_processor(
        processor(
            token_gather__w=WORDS,
            token2id__i=ids("words", "input_ids", train_data_set=["train"]),
            token2id__more=ids("input_ids", "more_ids", vocab="token_vocab.json"),
        ),
        Raw(
            dict.fromkeys(("train", "valid"), frozenset({"words"})),
            ("train", "valid"),
            {"train": "train.jsonl", "valid": "valid.jsonl"},
        ),
    )
    assert [(f.code, f.value) for f in found] == [("unknown-column", "input_ids")]


def test_a_step_in_prediction_that_reads_what_training_alone_makes_is_told():
    _, found = follow_processor(
        processor(
            token_gather__w=WORDS,
            token2id__i=ids("words", "input_ids", online_data_set=[]),
            token2id__more=ids("input_ids", "more_ids", vocab="token_vocab.json"),
        ),
        Raw(),
    )
    (one,) = found
    assert one.code == "not-in-stage"
    assert "which i does not write in the stage online" in one.message


def test_a_vocabulary_learnt_twice_under_one_name_is_told():
    _, found = follow_processor(processor(token_gather__a=WORDS, token_gather__b=WORDS), Raw())
    (one,) = found
    assert (one.code, one.value) == ("missing-meta", "token_vocab.json")
    assert "and so does a" in one.message


def test_a_learner_that_is_switched_off_makes_nothing():
    _, found = follow_processor(
        processor(
            token_gather__w={**WORDS, "train_data_set": []},
            token2id__i=ids("words", "input_ids"),
        ),
        Raw(),
    )
    (one,) = found
    assert one.message.startswith("needs token_vocab.json, and no step makes it.")


def test_an_open_folder_lacks_nothing():
    assert not Stored(is_open=True).lacks("anything")


def test_number_and_part_of_a_row_are_always_stored():
    assert not Stored(raw=frozenset()).lacks("_row")
    assert Stored(raw=frozenset()).lacks("other")


def test_what_steps_make_for_one_another_is_stored_only_where_keep_names_it():
    tokens = {"tokenizer_path": "tokenizer.json"}
    stored, found = follow_processor(processor(fast_tokenizer__t=tokens), Raw())
    assert not found
    assert list(stored.columns) == ["input_ids"]
    assert stored.passed["offsets"] == "t"
    assert stored.lacks("offsets")
    stored, found = follow_processor(processor(fast_tokenizer__t=tokens, keep=["offsets"]), Raw())
    assert not found
    assert not stored.lacks("offsets")
    assert stored.columns == {"input_ids": "t", "offsets": "t"}


def test_a_column_of_the_data_that_nobody_asks_a_step_for_stays():
    data = Raw({"train": frozenset({"sentence", "tokens"})}, ("train",), {"train": "train.jsonl"})
    tokens = {"tokenizer_path": "tokenizer.json"}
    stored, _ = follow_processor(processor(fast_tokenizer__t=tokens), data)
    assert not stored.lacks("tokens")
    stored, _ = follow_processor(
        processor(fast_tokenizer__t=tokens, token_gather__g={"gather_columns": ["tokens"]}), data
    )
    assert stored.lacks("tokens")
