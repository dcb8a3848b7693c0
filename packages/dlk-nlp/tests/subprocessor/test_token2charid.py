"""Characters of words to ids."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance


def characters(unk: str | None = "[UNK]") -> Vocabulary:
    made = Vocabulary(pad="[PAD]", unk=unk)
    made.add(dict.fromkeys("abcdgo ", 1))  # ids from 2 on, the space first
    return made


class _Step(SubprocessorConformance):
    component = ("subprocessor", "token2charid")

    def prepare(self, meta: Meta) -> None:
        meta.put_vocabulary("char_vocab.json", characters())


class TestByOffsets(_Step):
    config: ClassVar = {"max_token_len": 2}
    columns: ClassVar = {
        "sentence": ["a dog", "", "good"],
        "offsets": [[(0, 0), (0, 1), (2, 5), (5, 5)], [], [[0, 4]]],
    }
    bad: ClassVar = {
        "sentence": [None, "a", "a", "a", "a"],
        "offsets": [[], None, [(0, 2)], [(1, 0)], [("0", 1)]],
    }


class TestByTokens(_Step):
    config: ClassVar = {"source": "tokens"}
    columns: ClassVar = {"tokens": [["a", "dog"], [], [""]]}
    bad: ClassVar = {"tokens": [None, "dog", [3]]}


@pytest.fixture
def run(tmp_path):
    def made(columns, *, unk="[UNK]", **values):
        meta = Meta(tmp_path / "meta")
        meta.put_vocabulary("char_vocab.json", characters(unk))
        step = register.build(make("subprocessor", "token2charid", values), Setup(meta))
        size = len(next(iter(columns.values())))
        ctx = TransformContext("online", "online", range(size))
        return list(step.transform({**columns, "_row": list(range(size))}, ctx)["char_ids"]), ctx

    return made


def test_each_word_has_the_ids_of_its_characters_and_an_empty_one_none(run):
    ids, _ = run({"sentence": ["a dog!"], "offsets": [[(0, 0), (0, 1), (2, 6)]]})
    assert ids == [[[], [3], [6, 8, 7, 1]]]


def test_a_character_outside_of_the_basic_plane_is_one_character(run):
    ids, _ = run({"sentence": ["😀 a 𝔘b"], "offsets": [[(0, 1), (2, 3), (4, 6)]]})
    assert ids == [[[1], [3], [1, 4]]]
    assert run({"tokens": [["😀", "a", "𝔘b"]]}, source="tokens")[0] == ids


def test_both_sources_agree(run):
    by_offsets, _ = run({"sentence": ["a dog"], "offsets": [[(0, 1), (2, 5)]]})
    by_tokens, _ = run({"tokens": [["a", "dog"]]}, source="tokens")
    assert by_offsets == by_tokens


def test_long_words_are_cut_and_counted(run):
    ids, ctx = run({"tokens": [["abc", "ab"], ["abcd"]]}, source="tokens", max_token_len=2)
    assert ids == [[[3, 4], [3, 4]], [[3, 4]]]
    assert ctx.counts == {"words cut by max_token_len": 2}


def test_a_character_nobody_knows_makes_a_bad_row_without_an_unknown_word(run):
    _, ctx = run({"tokens": [["dog"], ["d!g"]]}, source="tokens", unk=None)
    assert list(ctx.bad) == [1]
    assert "'!' is not in the vocabulary" in ctx.bad[1].reason


def test_ids_are_ragged_on_disk_and_padded_in_the_batch(tmp_path):
    folder = str(tmp_path / "processed")
    process = {
        "@processor@default": {
            "processed_data_dir": folder,
            "@subprocessor@pre_tokenize": {},
            "@subprocessor@char_gather": {"gather_columns": ["tokens"]},
            "@subprocessor@token2charid": {},
        }
    }
    rows = [{"sentence": "ab abc"}, {"sentence": ""}, {"sentence": "b"}]
    done = Process(process).run({"train": rows})
    assert done.meta["char_vocab"] == {"size": 5, "pad_id": 0, "unk_id": 1}
    datamodule = make(
        "datamodule",
        "default",
        {
            "predict_batch_size": 3,
            "@dataset@default": {"key_type_pairs": {"char_ids": "long"}},
            "@data_collate@default": {
                "key_padding_pairs_2d": {"char_ids": 0},
                "gen_mask": {"char_ids": "char_mask"},
            },
        },
    )
    columns = Process(process, stage="online").run(rows).columns
    batch = register.build(datamodule, Setup(Meta.load(folder))).batch(columns)
    b, a, c = 2, 3, 4  # by count, then by text
    assert batch["char_ids"].tolist() == [
        [[a, b, 0], [a, b, c]],
        [[0, 0, 0], [0, 0, 0]],
        [[b, 0, 0], [0, 0, 0]],
    ]
    assert np.array_equal(batch["char_mask"], batch["char_ids"] != 0)
