"""Entities to a tag per piece."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.store import open_split
from dlk.data.subprocessor.base import TransformContext
from dlk.errors import ConfigError, DataError
from dlk.preprocess import Process
from dlk.registry import register
from dlk.testing.data import SubprocessorConformance, tiny_tokenizer


def entity(start, end, *labels, **more):
    return {"start": start, "end": end, "labels": list(labels), **more}


COLUMNS = {
    "sentence": ["ab cd ef", "", "x", "  ab "],
    "offsets": [
        [(0, 0), (0, 2), (3, 5), (6, 8), (0, 0)],
        [(0, 0), (0, 0)],
        [(0, 0), (0, 1), (0, 0)],
        [(0, 0), (2, 4), (0, 0)],
    ],
    "entities_info": [
        [entity(0, 5, "per"), entity(6, 7, "loc", note="ignored")],
        [],
        [entity(0, 1, "per", "loc")],
        [entity(1, 4, "per")],
    ],
}
BAD = {
    "nothing": None,
    "a text": "ab",
    "no dict": ["ab"],
    "no start": [{"end": 1, "labels": ["x"]}],
    "no labels": [entity(0, 1)],
    "labels are no list": [{"start": 0, "end": 1, "labels": "x"}],
    "an empty label": [entity(0, 1, "")],
    "a number as label": [{"start": 0, "end": 1, "labels": [3]}],
    "start after end": [entity(2, 1, "x")],
    "empty": [entity(1, 1, "x")],
    "negative": [entity(-1, 1, "x")],
    "behind the text": [entity(0, 9, "x")],
    "a text as start": [entity("0", 1, "x")],
    "a bool as start": [entity(False, 1, "x")],
    "a fraction": [entity(0.5, 1, "x")],
    "an id that is a list": [entity(0, 1, "x", entity_id=[])],
}


class TestSeqLabRelabel(SubprocessorConformance):
    component = ("subprocessor", "seq_lab_relabel")
    columns: ClassVar = COLUMNS
    bad: ClassVar = {
        "sentence": ["ab cd ef"] * len(BAD),
        "offsets": [COLUMNS["offsets"][0]] * len(BAD),
        "entities_info": list(BAD.values()),
    }


class TestWithVocabulary(SubprocessorConformance):
    component = ("subprocessor", "seq_lab_relabel")
    config: ClassVar = {"vocab": "tags.json", "clean_droped_entity": True, "sequence": 0}
    columns: ClassVar = {
        **COLUMNS,
        "sequence_ids": [
            [None if start == end else 0 for start, end in each] for each in COLUMNS["offsets"]
        ],
    }
    bad: ClassVar = {
        **TestSeqLabRelabel.bad,
        "sequence_ids": [[None, 0, 0, 0, None]] * len(BAD),
    }


def relabel(columns, *, setup=None, stage="train", wanted=(), rows=None, **config):
    step = register.build(
        make("subprocessor", "seq_lab_relabel", **config), setup or Setup(Meta.empty())
    )
    size = len(columns["sentence"])
    ctx = TransformContext(stage, stage, rows or list(range(size)), frozenset(wanted))
    made = step.transform({**columns, "_row": ctx.rows}, ctx)
    return {name: list(values) for name, values in made.items()}, ctx


def one(text, offsets, *entities, **config):
    columns = {"sentence": [text], "offsets": [offsets], "entities_info": [list(entities)]}
    made, ctx = relabel(columns, **config)
    assert not ctx.bad
    return made["labels"][0], {key: n for key, n in ctx.counts.items() if key != "entities"}


LETTERS = "abcdefghij"
EACH = [(place, place + 1) for place in range(10)]


def letters(*entities, **config):
    """Tags of the text "abcdefghij", of which each letter is a unit."""
    tags, counts = one(LETTERS, EACH, *entities, **config)
    return " ".join(tags), counts


def test_pieces_are_tagged_and_special_tokens_carry_the_ignored_word():
    made, ctx = relabel(COLUMNS)
    assert made["labels"] == [
        ["X", "B-per", "I-per", "B-loc", "X"],
        ["X", "X"],
        ["X", "B-per", "X"],
        ["X", "B-per", "X"],
    ]
    assert made["unit_mask"] == [[0, 1, 1, 1, 0], [0, 0], [0, 1, 0], [0, 1, 0]]
    assert made["unit_offsets"][3] == [[0, 0], [2, 4], [0, 0]]
    assert ctx.counts == {
        "entities": 4,
        "entities snapped to whole units": 2,  # half of a piece; white space at an end
        "entities with several labels, tagged by the first": 1,
    }


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", "B-x I-x I-x B-x O O B-y I-y O O"),
        ("BIOES", "B-x I-x E-x S-x O O B-y E-y O O"),
        ("IO", "I-x I-x I-x I-x O O I-y I-y O O"),
    ],
)
def test_each_scheme_is_written_as_the_tags_say(scheme, tags):
    found, counts = letters(entity(0, 3, "x"), entity(3, 4, "x"), entity(6, 8, "y"), scheme=scheme)
    assert found == tags
    joined = {"entities joined with a neighbour of their type": 1} if scheme == "IO" else {}
    assert counts == joined


def test_a_label_with_a_dash_and_of_any_script_is_kept():
    assert letters(entity(0, 1, "art-work"), entity(1, 2, "地名"))[0].startswith(
        "B-art-work B-地名"
    )


def test_the_ignored_word_is_as_configured():
    assert one("a", [(0, 0), (0, 1)], ignore="none")[0] == ["none", "O"]


@pytest.mark.parametrize(
    ("config", "tags"),
    [
        ({}, "B-long I-long I-long O O"),
        ({"drop": "longer"}, "O O B-short I-short O"),
        ({"entity_priority": ["short"]}, "O O B-short I-short O"),
        ({"entity_priority": ["short", "long"]}, "O O B-short I-short O"),
        ({"entity_priority": ["long", "short"], "drop": "longer"}, "B-long I-long I-long O O"),
        # the sizes differ by 1: priority is not asked where the trigger is 0
        ({"entity_priority": ["short"], "priority_trigger": 0}, "B-long I-long I-long O O"),
    ],
)
def test_one_of_two_overlapping_entities_goes_and_is_counted(config, tags):
    both = entity(0, 3, "long"), entity(2, 4, "short")
    for pair in (both, both[::-1]):
        found, counts = letters(*pair, **config)
        assert found.startswith(tags)
        assert counts == {"entities overlapping another": 1}


def test_priority_decides_between_each_pair_anew():
    # b beats a by priority; c then meets b, the one that stayed, not a
    entities = [entity(0, 3, "a"), entity(2, 5, "b"), entity(4, 7, "c")]
    found, counts = letters(*entities, entity_priority=["b", "a", "c"])
    assert found == "O O B-b I-b I-b O O O O O"
    assert counts == {"entities overlapping another": 2}


def test_entities_that_meet_in_one_unit_overlap_though_their_characters_do_not():
    tags, counts = one("New-York x", [(0, 8), (9, 10)], entity(0, 3, "a"), entity(4, 8, "bb"))
    assert tags == ["B-bb", "O"]
    assert counts == {"entities overlapping another": 1, "entities snapped to whole units": 1}


def test_overlaps_make_a_row_bad_where_none_may_be_dropped():
    columns = {"sentence": [LETTERS], "offsets": [EACH]}
    nested = [entity(0, 3, "x"), entity(1, 2, "y")]
    _, ctx = relabel({**columns, "entities_info": [nested]}, drop="none")
    assert "entities 0 and 1 overlap" in ctx.bad[0].reason
    _, ctx = relabel({**columns, "entities_info": [nested[:1]]}, drop="none")
    assert not ctx.bad


def test_an_entity_given_twice_is_tagged_once_and_counted():
    assert letters(entity(0, 1, "x"), entity(0, 1, "x"), drop="none") == (
        "B-x" + " O" * 9,
        {"entities given twice": 1},
    )


def test_entities_at_one_place_may_have_ids_that_are_texts_and_numbers():
    assert letters(entity(0, 1, "x", entity_id="T1"), entity(0, 1, "x"), entity(3, 4, "y")) == (
        "B-x O O B-y" + " O" * 6,
        {"entities given twice": 1},
    )


def test_strict_leaves_out_what_is_no_whole_unit_and_ignores_the_units_it_touches():
    text, offsets = "abcd ef", [(0, 4), (5, 7)]
    assert one(text, offsets, entity(1, 4, "x")) == (
        ["B-x", "O"], {"entities snapped to whole units": 1},
    )  # fmt: skip
    assert one(text, offsets, entity(1, 4, "x"), strict=True) == (
        ["X", "O"], {"entities that are no whole units": 1},
    )  # fmt: skip
    # white space at an end holds no unit: the same words are said
    assert one(text, offsets, entity(0, 5, "x"), strict=True)[0] == ["B-x", "O"]


def test_an_entity_cut_by_truncation_is_counted_and_its_units_are_ignored():
    text, cut = "ab cd ef gh", [(0, 2), (3, 5)]
    assert one(text, cut, entity(3, 8, "x")) == (["O", "X"], {"entities cut by truncation": 1})
    assert one(text, cut, entity(6, 8, "x")) == (["O", "O"], {"entities cut by truncation": 1})
    left = [(6, 8), (9, 11)]
    assert one(text, left, entity(3, 8, "x")) == (["X", "O"], {"entities cut by truncation": 1})
    assert one(text, left, entity(0, 2, "x")) == (["O", "O"], {"entities cut by truncation": 1})


def test_an_entity_without_any_unit_is_counted():
    assert one("a \u200b b", [(0, 1), (4, 5)], entity(2, 3, "x")) == (
        ["O", "O"],
        {"entities without any unit": 1},
    )
    assert one("  ", [], entity(0, 2, "x")) == ([], {"entities without any unit": 1})


def windows(*entities, **config):
    """Tags of "abcdefghij" in windows of 4 letters that share 2."""
    parts = [[(0, 0), *EACH[at : at + 4]] for at in (0, 2, 4, 6)]
    columns = {
        "sentence": [LETTERS] * 4,
        "offsets": parts,
        "entities_info": [list(entities)] * 4,
    }
    made, ctx = relabel(columns, rows=[7] * 4, **config)
    assert not ctx.bad
    counts = {key: n for key, n in ctx.counts.items() if key != "entities"}
    return [" ".join(labels[1:]) for labels in made["labels"]], counts


def test_windows_tag_what_is_whole_in_them_and_ignore_what_their_edge_cuts():
    assert windows(entity(2, 4, "x"), entity(5, 8, "y")) == (
        ["O O B-x I-x", "B-x I-x O X", "O B-y I-y I-y", "X X O O"],
        {},
    )


def test_an_entity_that_no_window_holds_is_counted_once_and_ignored_in_all():
    assert windows(entity(1, 7, "x")) == (
        ["O X X X", "X X X X", "X X X O", "X O O O"],
        {"entities cut by the edges of windows": 1},
    )


def test_overlaps_are_decided_once_for_all_windows():
    # "y" loses to the longer "x", and is not tagged where it stands alone
    tags, counts = windows(entity(0, 3, "x"), entity(2, 4, "y"))
    assert tags == ["B-x I-x I-x O", "X O O O", "O O O O", "O O O O"]
    assert counts == {"entities overlapping another": 1}


def test_a_mark_behind_a_window_is_left_to_the_next_which_may_have_a_piece_for_it():
    columns = {
        "sentence": ["e\u0301"] * 2,
        "offsets": [[(0, 1)], [(1, 2)]],
        "entities_info": [[entity(0, 2, "x")]] * 2,
    }
    made, _ = relabel(columns, rows=[0, 0])
    assert made["unit_offsets"] == [[[0, 1]], [[1, 2]]]
    alone = {name: values[:1] for name, values in columns.items()}
    assert relabel(alone)[0]["unit_offsets"] == [[[0, 2]]]


def test_the_other_text_of_a_pair_has_no_tags():
    columns = {
        "sentence": ["ab"],
        "offsets": [[(0, 0), (0, 2), (0, 0), (0, 2), (0, 0)]],
        "sequence_ids": [[None, 0, None, 1, None]],
        "entities_info": [[entity(0, 2, "x")]],
    }
    assert relabel(columns, sequence=1)[0]["labels"] == [["X", "X", "X", "B-x", "X"]]
    assert relabel(columns, sequence=0)[0]["unit_mask"] == [[0, 1, 0, 0, 0]]


def test_offsets_that_are_none_make_a_bad_row():
    columns = {"sentence": ["a", None], "offsets": [[3], []], "entities_info": [[], []]}
    _, ctx = relabel(columns)
    assert {row: error.column for row, error in ctx.bad.items()} == {0: "offsets", 1: "sentence"}


def test_entities_read_as_arrays_are_lists():
    np = pytest.importorskip("numpy")
    given = np.array([{"start": np.int64(0), "end": np.int64(1), "labels": np.array(["x"])}])
    columns = {"sentence": ["a"], "offsets": [[(0, 1)]], "entities_info": [given]}
    assert relabel(columns)[0]["labels"] == [["B-x"]]


def test_the_stored_truth_can_be_cleaned_of_what_no_tag_says():
    entities = [entity(5, 8, "z", note="kept"), entity(0, 3, "x"), entity(1, 2, "y")]
    columns = {"sentence": [LETTERS], "offsets": [EACH], "entities_info": [entities]}
    made, _ = relabel(columns, clean_droped_entity=True)
    assert made["entities_info"] == [entities[:2]]
    assert "entities_info" not in relabel(columns)[0]


# With a vocabulary --------------------------------------------------------------------------------

TRAIN = [
    {"sentence": "a b c", "entities_info": [entity(0, 3, "x")]},
    {"sentence": "d", "entities_info": [entity(0, 1, "y")]},
    {"sentence": "", "entities_info": []},
]
TEST = [{"sentence": "a b c", "entities_info": [entity(0, 5, "x"), entity(0, 1, "y")]},
        {"sentence": "b c", "entities_info": [entity(0, 1, "new"), entity(2, 3, "y")]}]  # fmt: skip


@pytest.fixture
def process(tmp_path):
    tiny_tokenizer(tmp_path / "tokenizer.json")

    def build(*steps, stage="train", **relabel):
        values = {
            "processed_data_dir": str(tmp_path / "data"),
            "@subprocessor@fast_tokenizer": {"tokenizer_path": str(tmp_path / "tokenizer.json")},
            "@subprocessor@seq_lab_relabel": relabel,
        }
        for number, (name, options) in enumerate(steps):
            values[f"@subprocessor@{name}#{number}"] = options
        return Process({"@processor@default": values}, stage=stage)

    return build


def test_a_vocabulary_of_all_tags_of_the_scheme_is_learnt_on_the_training_split(process, tmp_path):
    made = process(vocab="tags.json", scheme="BIOES").run({"train": TRAIN, "test": TEST})
    vocabulary = Meta.load(tmp_path / "data").vocabulary("tags.json")
    expected = ["O", *(f"{letter}-{name}" for name in "xy" for letter in "BIES")]
    assert list(vocabulary) == expected
    assert vocabulary.id("X") == -100
    assert (vocabulary.count("O"), vocabulary.count("S-x")) == (2, 1)
    assert made.meta["tags"] == {"size": 9}
    rows = open_split(tmp_path / "data" / "test").rows(range(2), ["label_ids"])
    # I-x, never seen in training, is there; the unknown type is ignored, and told
    assert [row["label_ids"] for row in rows] == [[-100, 1, 2, 3, -100], [-100, -100, 8, -100]]
    assert made.counts["test"] == {
        "seq_lab_relabel: entities": 4,
        "seq_lab_relabel: entities of unknown type": 1,
        "seq_lab_relabel: entities overlapping another": 1,
    }
    info = json.loads((tmp_path / "data" / "test" / "split.json").read_text())
    assert "labels" not in info["columns"]


def test_the_tags_as_words_are_written_beside_the_ids_where_they_are_wanted(tmp_path):
    columns = {"sentence": ["a"], "offsets": [[(0, 1)]], "entities_info": [[entity(0, 1, "x")]]}
    step = register.build(
        make("subprocessor", "seq_lab_relabel", vocab="tags.json"), Setup(Meta(tmp_path))
    )
    step.setup.meta.save()
    step.fit([columns], step.setup.meta)
    for wanted in ((), ("labels",)):
        ctx = TransformContext("train", "train", [0], frozenset(wanted))
        made = step.transform({**columns, "_row": [0]}, ctx)
        assert list(made["label_ids"]) == [[1]]
        assert ("labels" in made) == bool(wanted)


def test_data_to_predict_and_requests_need_no_truth_and_get_the_same_units(process, tmp_path):
    process(vocab="tags.json").run({"train": TRAIN})
    bare = [{"sentence": row["sentence"]} for row in TRAIN]
    process(vocab="tags.json", stage="predict").run(bare)
    stored = {
        split: open_split(tmp_path / "data" / split).rows(range(3), ["unit_offsets", "unit_mask"])
        for split in ("train", "predict")
    }
    assert stored["train"] == stored["predict"]
    online = process(vocab="tags.json", stage="online").run(bare).columns
    assert [list(map(list, each)) for each in online["unit_offsets"]] == [
        row["unit_offsets"] for row in stored["train"]
    ]
    assert "label_ids" not in online
    broken = [{"sentence": "a", "entities_info": "of no use"}]
    assert not process(vocab="tags.json", stage="online").run(broken).errors


def test_labels_as_words_go_through_token_gather_and_token2id(process, tmp_path):
    gather = {"gather_columns": ["labels"], "token_vocab": "label_vocab.json"}
    gather |= {"pad": None, "unk": None, "ignore": "X"}
    process(("token_gather", gather), ("token2id-label", {})).run({"train": TRAIN})
    rows = open_split(tmp_path / "data" / "train").rows(range(3), ["label_ids", "labels"])
    words = Meta.load(tmp_path / "data").vocabulary("label_vocab.json")
    assert set(words) == {"O", "B-x", "I-x", "B-y"}
    assert [row["label_ids"] for row in rows] == [
        [words.id(label) for label in row["labels"]] for row in rows
    ]
    assert rows[0]["label_ids"][0] == -100


def test_two_steps_that_learn_the_same_vocabulary_are_a_config_error(process):
    gather = {"gather_columns": ["sentence"], "token_vocab": "tags.json"}
    both = process(("token_gather", gather), vocab="tags.json")
    with pytest.raises(ConfigError, match=r"learns tags\.json, and so does seq_lab_relabel"):
        both.run({"train": TRAIN})


def test_a_bad_entity_in_training_is_told_with_row_and_reason(process):
    wrong = {"sentence": "a", "entities_info": [entity(0, 2, "x")]}
    with pytest.raises(
        DataError, match=r"row 3.*entity 0: expected 0 <= start < end <= 1 .*0 and 2"
    ):
        process(vocab="tags.json").run({"train": [*TRAIN, wrong]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"ignore": "O"},
        {"ignore": "B-x"},
        {"ignore": ""},
        {"entity_priority": ["x", "x"]},
        {"entity_priority": [1]},
    ],
)
def test_options_that_do_not_fit_are_config_errors(wrong):
    with pytest.raises(ConfigError, match="expected"):
        make("subprocessor", "seq_lab_relabel", **wrong)


def test_a_hundred_thousand_characters_and_thousands_of_entities_take_a_moment():
    text = "abcd " * 20_000
    offsets = [(at, at + 4) for at in range(0, len(text), 5)]
    entities = [entity(at, at + 9, "x") for at in range(0, len(text), 25)]
    tags, counts = one(text, offsets, *entities)
    assert counts == {}
    assert tags[:6] == ["B-x", "I-x", "O", "O", "O", "B-x"]
