"""The postprocessor `seq_lab`."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2, IOBES

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DlkError
from dlk.nlp import tags
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance
from dlk.testing.tokenizers import KINDS, trained_tokenizer

LABELS = ("LOC", "art-work")
SEQEVAL = {"BIO": IOB2, "BIOES": IOBES}
SENTENCE = "In New York, Guernica hangs"
WORDS = [[0, 2], [3, 6], [7, 11], [11, 12], [13, 21], [22, 27]]
SPECIAL = [0, 0]


def tag_meta(folder, scheme="BIO", *, words=None, unk=None):
    vocabulary = Vocabulary(unk=unk, ignore="X")
    words = words or tags.tag_set(LABELS, scheme)
    vocabulary.add({word: len(words) - place for place, word in enumerate(words)})
    meta = Meta(folder)
    meta.put_vocabulary("label_vocab.json", vocabulary)
    return meta


class TestLogits(PostProcessorConformance):
    component = ("postprocessor", "seq_lab")
    truth_columns = ("entities_info",)
    needed_columns = ("unit_offsets",)
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "columns": ["uuid"],
        "predict_extend_return": {"vector": "pooled"},
    }

    def meta(self, folder):
        return tag_meta(folder)

    def batch(self, count, generator):
        return {
            "logits": 3 * torch.randn(count, 8, 5, generator=generator),
            "pooled": torch.randn(count, 3, generator=generator),
        }

    def row(self, number):
        return {
            "sentence": SENTENCE,
            "uuid": f"u{number}",
            "unit_offsets": [SPECIAL, *WORDS, SPECIAL],
            "entities_info": [{"start": 3, "end": 11, "labels": ["LOC"]}],
        }


class TestCrf(TestLogits):
    needed_columns = ("unit_offsets",)
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "use_crf": True,
        "strict": True,
        "ignore_char": [" "],
        "input_map": {"predict_seq_label": "tags"},
    }

    def batch(self, count, generator):
        return {
            "tags": torch.randint(-1, 5, (count, 8), generator=generator),
            "predict_seq_marginal": torch.rand(count, 8, generator=generator),
            "predict_seq_conditional": torch.rand(count, 8, generator=generator),
        }

    def row(self, number):
        return {key: value for key, value in super().row(number).items() if key != "uuid"}


class TestVoting(TestLogits):
    needed_columns = ("unit_offsets", "word_ids")
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "scheme": "BIOES",
        "aggregation_strategy": "average",
        "ignore_labels": ["LOC"],
        "ignore_position": True,
    }

    def meta(self, folder):
        return tag_meta(folder, "BIOES")

    def batch(self, count, generator):
        return {"logits": 3 * torch.randn(count, 8, 9, generator=generator)}

    def row(self, number):
        words = {"word_ids": [None, 0, 1, 1, 2, 3, 4, None]}
        return {key: v for key, v in super().row(number).items() if key != "uuid"} | words


@pytest.fixture
def build(tmp_path):
    def made(scheme="BIO", *, words=None, unk=None, **values):
        folder = tmp_path / f"meta{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        meta = tag_meta(folder, scheme, words=words, unk=unk)
        config = {"label_vocab": "label_vocab.json", "scheme": scheme, **values}
        return register.build(make("postprocessor", "seq_lab", config), Setup(meta=meta))

    return made


def rows(*numbers, **columns):
    standard = {"sentence": SENTENCE, "unit_offsets": WORDS}
    return [{"_row": number, "_part": 0, **standard, **columns} for number in numbers]


def scored(words, scheme="BIO", *, margin=2.0, labels=LABELS):
    """Return logits (1, U, C) that favour these tags."""
    order = tags.tag_set(labels, scheme)
    logits = torch.zeros(1, len(words), len(order))
    for place, word in enumerate(words):
        logits[0, place, order.index(word)] = margin
    return logits


def found(prediction):
    return [(e["start"], e["end"], *e["labels"]) for e in prediction["entities_info"]]


def softmax_of(margin, classes):
    return math.exp(margin) / (math.exp(margin) + classes - 1)


def test_a_prediction_can_be_fed_back_as_data(build):
    words = ["O", "B-LOC", "I-LOC", "O", "B-art-work", "O"]
    (result,) = build().decode({"logits": scored(words)}, rows(0))
    one = softmax_of(2.0, 5)
    assert result == {
        "sentence": SENTENCE,
        "entities_info": [
            {"start": 3, "end": 11, "labels": ["LOC"], "text": "New York",
             "score": pytest.approx(one**2, abs=1e-6)},
            {"start": 13, "end": 21, "labels": ["art-work"], "text": "Guernica",
             "score": pytest.approx(one, abs=1e-6)},
        ],
    }  # fmt: skip


def test_a_crf_s_span_has_the_probability_of_its_chain(build):
    component = build(use_crf=True)
    order = tags.tag_set(LABELS, "BIO")
    ids = [order.index(w) for w in ["O", "B-LOC", "I-LOC", "I-LOC", "O"]]
    out = {
        "predict_seq_label": torch.tensor([[-1, *ids, -1]]),
        "predict_seq_marginal": torch.tensor([[9, 0.9, 0.8, 0.7, 0.6, 0.5, 9]]),
        "predict_seq_conditional": torch.tensor([[9, 0.9, 0.1, 0.5, 0.25, 0.5, 9]]),
    }
    offsets = [SPECIAL, *WORDS[:5], SPECIAL]
    (result,) = component.decode(out, rows(0, unit_offsets=offsets))
    (entity,) = result["entities_info"]
    assert (entity["start"], entity["end"]) == (3, 12)
    assert entity["score"] == pytest.approx(0.8 * 0.5 * 0.25, abs=1e-6)


def test_units_without_text_carry_nothing_even_between_the_words_of_an_entity(build):
    words = ["B-LOC", "B-LOC", "B-art-work", "I-LOC", "O", "B-LOC"]
    offsets = [SPECIAL, [3, 6], SPECIAL, [7, 11], [11, 12], SPECIAL]
    (result,) = build().decode({"logits": scored(words)}, rows(0, unit_offsets=offsets))
    assert found(result) == [(3, 11, "LOC")]


def test_a_unit_that_is_no_part_of_the_chain_carries_nothing(build):
    ids = torch.tensor([[0, 1, -1, 2, 0, -1]])  # O, B-LOC, none, I-LOC, O, none
    even = torch.full((1, 6), 0.5)
    out = {"predict_seq_label": ids, "predict_seq_marginal": even}
    component = build(use_crf=True)
    (result,) = component.decode(out | {"predict_seq_conditional": even}, rows(0))
    assert found(result) == [(3, 12, "LOC")]
    assert result["entities_info"][0]["score"] == 0.25


def test_an_empty_text_has_no_entities(build):
    for component in (build(), build(aggregation_strategy="max")):
        for offsets in ([], [SPECIAL, SPECIAL]):
            (result,) = component.decode(
                {"logits": torch.randn(1, 2, 5)},
                rows(0, sentence="", unit_offsets=offsets, word_ids=[None] * len(offsets)),
            )
            assert result == {"sentence": "", "entities_info": []}


def test_padding_behind_the_units_is_not_read(build):
    logits = torch.full((1, 9, 5), math.nan)
    logits[:, :6] = scored(["O", "B-LOC", "I-LOC", "O", "O", "O"])
    (result,) = build().decode({"logits": logits}, rows(0))
    assert found(result) == [(3, 11, "LOC")]


def test_an_entity_ends_with_its_record(build):
    logits = torch.cat([scored(["O"] * 5 + ["B-LOC"]), scored(["I-LOC"] + ["O"] * 5)])
    first, second = build().decode({"logits": logits}, rows(0, 1))
    assert found(first) == [(22, 27, "LOC")]
    assert found(second) == [(0, 2, "LOC")]


def test_units_that_share_a_character_say_it_once(build):
    logits = scored(["B-LOC", "B-LOC", "B-art-work", "O", "O", "O"])
    logits[0, 1] *= 2
    bytes_of_one = [[0, 1], [0, 1], [0, 1], [2, 3], [4, 5], [6, 7]]
    (result,) = build().decode({"logits": logits}, rows(0, unit_offsets=bytes_of_one))
    assert found(result) == [(0, 1, "LOC")]
    assert result["entities_info"][0]["score"] == pytest.approx(softmax_of(4.0, 5), abs=1e-6)


def test_an_entity_holds_all_its_units_whatever_their_order(build):
    logits = scored(["B-LOC", "I-LOC", "O", "O", "O", "O"])
    reordered = [[2, 6], [1, 3], [7, 8], [8, 9], [9, 10], [10, 11]]
    (result,) = build().decode({"logits": logits}, rows(0, unit_offsets=reordered))
    assert found(result) == [(1, 6, "LOC")]


def test_strict_takes_only_what_the_scheme_writes(build):
    words = ["I-LOC", "O", "B-LOC", "I-art-work", "O", "B-LOC"]
    out = {"logits": scored(words)}
    (lenient,) = build().decode(out, rows(0))
    (strict,) = build(strict=True).decode(out, rows(0))
    assert found(lenient) == [
        (0, 2, "LOC"), (7, 11, "LOC"), (11, 12, "art-work"), (22, 27, "LOC"),
    ]  # fmt: skip
    assert found(strict) == [(7, 11, "LOC"), (22, 27, "LOC")]


def test_bioes_ends_one_entity_where_the_next_begins(build):
    words = ["S-LOC", "S-LOC", "B-LOC", "E-LOC", "B-LOC", "E-LOC"]
    (result,) = build("BIOES").decode({"logits": scored(words, "BIOES")}, rows(0))
    assert found(result) == [(0, 2, "LOC"), (3, 6, "LOC"), (7, 12, "LOC"), (13, 27, "LOC")]


def test_words_for_padding_and_unknown_ones_are_outside(build):
    component = build(words=["B-LOC", "I-LOC"], unk="O")
    logits = torch.tensor([[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0]]])  # B-LOC, O
    (result,) = component.decode({"logits": logits}, rows(0, unit_offsets=WORDS[:2]))
    assert found(result) == [(0, 2, "LOC")]
    component = build(words=["O", "B-LOC"], unk="[UNK]")
    logits = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])  # [UNK], B-LOC
    (result,) = component.decode({"logits": logits}, rows(0, unit_offsets=WORDS[:2]))
    assert found(result) == [(3, 6, "LOC")]


def test_ignored_labels_are_not_predicted(build):
    words = ["O", "B-LOC", "I-LOC", "O", "B-art-work", "O"]
    (result,) = build(ignore_labels=["LOC"]).decode({"logits": scored(words)}, rows(0))
    assert found(result) == [(13, 21, "art-work")]


def test_a_logit_that_is_not_a_number_gives_null_and_its_row_s_truth_is_missed(build):
    component = build()
    logits = scored(["O", "B-LOC", "I-LOC", "O", "O", "O"]).repeat(2, 1, 1)
    logits[0, 4, 1] = math.nan
    both = rows(0, 1, entities_info=[{"start": 3, "end": 11, "labels": ["LOC"]}])
    decoded = component.decode({"logits": logits}, both)
    assert decoded[0] == {"sentence": SENTENCE, "entities_info": None}
    metrics = component.new_metrics()
    metrics.update({}, both, decoded)
    assert metrics.compute()["recall"] == 0.5


def test_a_type_that_training_never_saw_is_missed(build):
    component = build()
    truth = [
        {"start": 3, "end": 11, "labels": ["LOC"]}, {"start": 13, "end": 21, "labels": ["unseen"]},
    ]  # fmt: skip
    given = rows(0, entities_info=truth)
    out = {"logits": scored(["O", "B-LOC", "I-LOC", "O", "O", "O"])}
    metrics = component.new_metrics()
    metrics.update({}, given, component.decode(out, given))
    assert (metrics.compute()["precision"], metrics.compute()["recall"]) == (1.0, 0.5)
    assert {line["label"]: line["support"] for line in metrics.table()} == {"LOC": 1, "unseen": 1}


# Votes of the pieces of a word -------------------------------------------------------------------

PIECES = [[0, 2], [3, 6], [7, 9], [9, 11], [13, 17], [17, 21]]
WORD_IDS = [0, 1, 2, 2, 3, 3]


def voted(build, probabilities, strategy, scheme="BIO", **values):
    component = build(scheme, aggregation_strategy=strategy, **values)
    logits = torch.tensor([probabilities]).log()
    (result,) = component.decode(
        {"logits": logits}, rows(0, unit_offsets=PIECES, word_ids=WORD_IDS)
    )
    return result


# of O, B-LOC, I-LOC, B-art-work, I-art-work
OUT = [0.96, 0.01, 0.01, 0.01, 0.01]


@pytest.mark.parametrize(
    ("strategy", "expected", "score"),
    [("first", [], 0), ("average", [(7, 11, "LOC")], 0.52), ("max", [(7, 11, "art-work")], 0.82)],
)
def test_the_pieces_of_a_word_vote_on_its_type(build, strategy, expected, score):
    york = [[0.42, 0.39, 0.17, 0.01, 0.01], [0.0799, 0.0001, 0.10, 0.41, 0.41]]
    if strategy == "average":
        york[1] = [0.5, 0.2, 0.28, 0.01, 0.01]
    result = voted(build, [OUT, OUT, *york, OUT, OUT], strategy)
    if strategy == "first":
        york[0] = [0.45, 0.40, 0.03, 0.06, 0.06]
        result = voted(build, [OUT, OUT, *york, OUT, OUT], strategy)
    assert found(result) == expected
    assert [e["score"] for e in result["entities_info"]] == (
        [pytest.approx(score, abs=1e-5)] if expected else []
    )


def test_without_a_strategy_each_piece_speaks_for_itself(build):
    york = [OUT, [0.01, 0.96, 0.01, 0.01, 0.01]]
    result = voted(build, [OUT, OUT, *york, OUT, OUT], "none")
    assert found(result) == [(9, 11, "LOC")]


@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_the_first_piece_says_whether_a_word_begins_an_entity(build, strategy):
    begin, inside = [0.01, 0.96, 0.01, 0.01, 0.01], [0.01, 0.01, 0.96, 0.01, 0.01]
    result = voted(build, [OUT, begin, inside, inside, begin, inside], strategy)
    assert found(result) == [(3, 11, "LOC"), (13, 21, "LOC")]
    result = voted(build, [OUT, begin, inside, begin, inside, begin], strategy)
    assert found(result) == [(3, 21, "LOC")]


def test_in_bioes_the_last_piece_says_whether_a_word_ends_one(build):
    order = tags.tag_set(LABELS, "BIOES")

    def sure(tag):
        return [0.92 if tag == word else 0.01 for word in order]

    pieces = [sure(tag) for tag in ("O", "B-LOC", "I-LOC", "E-LOC", "B-LOC", "E-LOC")]
    result = voted(build, pieces, "average", "BIOES", strict=True)
    assert found(result) == [(3, 11, "LOC"), (13, 21, "LOC")]


def test_in_io_neighbours_of_one_type_are_one_entity(build):
    sure = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]  # O, LOC, art-work
    pieces = [sure[0], sure[1], sure[1], sure[0], sure[2], sure[2]]
    result = voted(build, pieces, "first", "IO")
    assert found(result) == [(3, 11, "LOC"), (13, 21, "art-work")]


def test_words_are_not_voted_on_across_records(build):
    component = build(aggregation_strategy="average")
    # piece by piece the second record is surer of O than the first of LOC
    logits = torch.cat([scored(["O", "B-LOC"]), scored(["O", "O"], margin=9.0)])
    each = [
        rows(0, unit_offsets=[[0, 2], [3, 6]], word_ids=[0, 1])[0],
        rows(1, unit_offsets=[[3, 6], [7, 11]], word_ids=[1, 2])[0],
    ]
    assert [found(result) for result in component.decode({"logits": logits}, each)] == [
        [(3, 6, "LOC")],
        [],
    ]


# Windows of one text -----------------------------------------------------------------------------


def windows(build, *parts):
    """Decode windows of one row, each a list of (start, end, tag)."""
    width = max(len(part) for part in parts)
    logits = torch.zeros(len(parts), width, 5)
    for number, part in enumerate(parts):
        logits[number, : len(part)] = scored([tag for *_, tag in part])[0]
    each = [
        {
            "_row": 5,
            "_part": number,
            "sentence": "x" * 99,
            "unit_offsets": [[a, b] for a, b, _ in p],
        }
        for number, p in enumerate(parts)
    ]
    (result,) = build().decode({"logits": logits}, each)
    return found(result)


def test_windows_without_overlap_are_put_one_after_the_other(build):
    first = [(0, 2, "B-LOC"), (2, 4, "O")]
    second = [(4, 6, "O"), (6, 8, "B-LOC")]
    assert windows(build, first, second) == [(0, 2, "LOC"), (6, 8, "LOC")]


def test_an_entity_in_two_windows_is_one(build):
    first = [(0, 2, "O"), (2, 4, "B-LOC"), (4, 6, "I-LOC"), (6, 8, "O")]
    second = [(2, 4, "B-LOC"), (4, 6, "I-LOC"), (6, 8, "O"), (8, 10, "B-LOC")]
    assert windows(build, first, second) == [(2, 6, "LOC"), (8, 10, "LOC")]


def test_an_entity_cut_by_a_window_is_taken_from_the_one_that_has_it_whole(build):
    first = [(0, 2, "O"), (2, 4, "O"), (4, 6, "O"), (6, 8, "B-LOC")]
    second = [(4, 6, "O"), (6, 8, "B-LOC"), (8, 10, "I-LOC"), (10, 12, "O")]
    assert windows(build, first, second) == [(6, 10, "LOC")]


def test_where_windows_disagree_the_one_with_more_context_is_believed(build):
    first = [(0, 2, "O"), (2, 4, "O"), (4, 6, "B-LOC"), (6, 8, "O"), (8, 10, "O")]
    second = [(4, 6, "O"), (6, 8, "O"), (8, 10, "B-LOC"), (10, 12, "O")]
    # (4, 6) is near the middle of the first and at the edge of the second, (8, 10) the reverse
    assert windows(build, first, second) == [(4, 6, "LOC"), (8, 10, "LOC")]
    first = [(0, 2, "O"), (2, 4, "O"), (4, 6, "O"), (6, 8, "O"), (8, 10, "B-LOC")]
    second = [(4, 6, "B-LOC"), (6, 8, "O"), (8, 10, "O"), (10, 12, "O")]
    assert windows(build, first, second) == []


def test_an_entity_longer_than_what_windows_share_is_whole(build):
    first = [(0, 2, "B-LOC"), (2, 4, "I-LOC"), (4, 6, "I-LOC"), (6, 8, "I-LOC")]
    second = [(4, 6, "I-LOC"), (6, 8, "I-LOC"), (8, 10, "I-LOC"), (10, 12, "O")]
    assert windows(build, first, second) == [(0, 10, "LOC")]


def test_a_window_without_units_changes_nothing(build):
    assert windows(build, [(0, 0, "O")], [(4, 6, "B-LOC")], [(0, 0, "O")]) == [(4, 6, "LOC")]


@st.composite
def cut(draw):
    """Return tags, and the bounds of windows that cut them."""
    words = draw(st.lists(st.sampled_from(tags.tag_set(LABELS, "BIO")), min_size=1, max_size=25))
    shared = draw(st.integers(0, 4))
    step = draw(st.integers(1, 5))
    bounds = [(0, min(step + shared, len(words)))]
    while bounds[-1][1] < len(words):
        low = bounds[-1][1] - shared
        bounds.append((low, min(low + step + shared, len(words))))
    return words, bounds


@settings(deadline=None)
@given(cut=cut())
def test_windows_that_agree_give_what_one_window_gives(tmp_path_factory, cut):
    words, bounds = cut
    component = register.build(
        make("postprocessor", "seq_lab", {"label_vocab": "label_vocab.json"}),
        Setup(meta=tag_meta(tmp_path_factory.mktemp("meta"))),
    )

    def decoded(*bounds):
        each, logits = [], torch.zeros(len(bounds), len(words), 5)
        for number, (low, high) in enumerate(bounds):
            logits[number, : high - low] = scored(words)[0, low:high]
            offsets = [[2 * place, 2 * place + 2] for place in range(low, high)]
            each.append({"_row": 0, "_part": number, "unit_offsets": offsets})
        (result,) = component.decode({"logits": logits}, each)
        return found(result)

    assert decoded(*bounds) == decoded((0, len(words)))


# From characters to tags and back ----------------------------------------------------------------

FRAGMENTS = (
    "New", "York", " ", "  ", "\n", ".", "x-y", "café", "cafe\u0301", "\u0301", "oﬃce", "½", "İ",
    "한", "世界", "नमस्ते", "שָׁלוֹם", "می\u200cخواهم",
    "👩\u200d👩\u200d👧", "😀", "🇩🇪", "\u200b", "\x00",
)  # fmt: skip


_places: list[Path] = []
"""Where what is kept between examples puts its files: `_place` says so before any test."""


@pytest.fixture(scope="module", autouse=True)
def _place(tmp_path_factory):
    _places[:] = [tmp_path_factory.mktemp("made")]


@cache
def chain(kind, level):
    """Return tokenizer, relabel and postprocessor for one type, LOC."""
    folder = _places[0] / f"{kind}-{level}"
    folder.mkdir()
    trained_tokenizer(kind).save(str(folder / "tokenizer.json"))
    path = {"tokenizer_path": str(folder / "tokenizer.json"), "truncation": {"max_length": None}}
    meta = tag_meta(folder, words=tags.tag_set(["LOC"], "BIO"))
    return tuple(
        register.build(make(family, name, config), Setup(meta=meta))
        for family, name, config in (
            ("subprocessor", "fast_tokenizer", path),
            ("subprocessor", level, {}),
            ("postprocessor", "seq_lab", {"label_vocab": "label_vocab.json", "strict": True}),
        )
    )


@settings(deadline=None)
@given(
    parts=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8),
    data=st.data(),
    kind=st.sampled_from(KINDS),
    level=st.sampled_from(["seq_lab_relabel", "seq_lab_firstpiece_relabel"]),
)
def test_an_entity_comes_back_from_its_tags_with_the_characters_that_units_hold(
    parts, data, kind, level
):
    text = "".join(parts)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    truth = [{"start": start, "end": end, "labels": ["LOC"]}]
    tokenizer, relabel, component = chain(kind, level)
    ctx = TransformContext("train", "train", [0], frozenset({"offsets", "word_ids"}))
    columns = tokenizer.transform({"sentence": [text], "_row": [0]}, ctx)
    columns |= {"sentence": [text], "_row": [0], "entities_info": [truth]}
    columns |= relabel.transform(columns, TransformContext("train", "train", [0]))
    (words,), (units,) = columns["labels"], columns["unit_offsets"]
    words = ["O" if word == "X" else word for word in words]
    row = {"_row": 0, "_part": 0, "sentence": text, "unit_offsets": units}
    (result,) = component.decode({"logits": scored(words, labels=["LOC"])}, [row])
    touched = [unit for unit in units if unit[0] < unit[1] and unit[0] < end and start < unit[1]]
    expected = []
    if touched:
        expected = [(min(low for low, _ in touched), max(high for _, high in touched), "LOC")]
    assert found(result) == expected


# Metrics -----------------------------------------------------------------------------------------


@st.composite
def tagged(draw):
    """Return a scheme and (true, predicted) tags of sentences: any sequences, valid or not."""
    scheme = draw(st.sampled_from(sorted(SEQEVAL)))
    words = st.sampled_from(tags.tag_set(LABELS, scheme))
    pairs = st.lists(st.tuples(words, words), min_size=1, max_size=8)
    return scheme, draw(st.lists(pairs, min_size=1, max_size=4))


@settings(deadline=None)
@given(tagged=tagged(), strict=st.booleans(), use_crf=st.booleans())
def test_metrics_from_words_to_spans_are_those_of_seqeval(
    tmp_path_factory, tagged, strict, use_crf
):
    scheme, sentences = tagged
    order = tags.tag_set(LABELS, scheme)
    config = {"scheme": scheme, "strict": strict, "use_crf": use_crf}
    component = register.build(
        make("postprocessor", "seq_lab", {"label_vocab": "label_vocab.json", **config}),
        Setup(meta=tag_meta(tmp_path_factory.mktemp("meta"), scheme)),
    )
    ids = torch.full((len(sentences), 8), -1)
    each = []
    for number, pairs in enumerate(sentences):
        ids[number, : len(pairs)] = torch.tensor([order.index(other) for _, other in pairs])
        offsets = [[3 * place, 3 * place + 2] for place in range(len(pairs))]
        truth = tags.decode([one for one, _ in pairs], scheme, strict=strict)
        entities = [
            {"start": 3 * s.start, "end": 3 * s.end - 1, "labels": [s.label]} for s in truth
        ]
        row = {"_row": number, "_part": 0, "unit_offsets": offsets, "entities_info": entities}
        each.append(row | {"sentence": "ab " * len(pairs)})
    if use_crf:
        one = torch.ones(ids.shape)
        out = {"predict_seq_label": ids}
        out |= {"predict_seq_marginal": one, "predict_seq_conditional": one}
    else:
        out = {"logits": torch.nn.functional.one_hot(ids.clamp(min=0), len(order)).float()}
    metrics = component.new_metrics()
    metrics.update(out, each, component.decode(out, each))
    scores = metrics.compute()
    true = [[one for one, _ in pairs] for pairs in sentences]
    predicted = [[other for _, other in pairs] for pairs in sentences]
    options = {"mode": "strict", "scheme": SEQEVAL[scheme]} if strict else {}
    for name, function in (
        ("precision", precision_score),
        ("recall", recall_score),
        ("f1", f1_score),
    ):
        expected = function(true, predicted, average="micro", zero_division=0, **options)
        assert scores[name] == pytest.approx(expected, abs=1e-12)
        if metrics.table():  # of no type at all seqeval takes the mean
            expected = function(true, predicted, average="macro", zero_division=0, **options)
            assert scores[f"{name}_macro"] == pytest.approx(expected, abs=1e-12)


def test_an_entity_that_no_unit_stands_for_counts_as_missed(build):
    component = build()
    truth = [{"start": 3, "end": 11, "labels": ["LOC"]}, {"start": 4, "end": 9, "labels": ["LOC"]}]
    both = rows(0, entities_info=truth)
    out = {"logits": scored(["O", "B-LOC", "I-LOC", "O", "O", "O"])}
    metrics = component.new_metrics()
    metrics.update(out, both, component.decode(out, both))
    assert (metrics.compute()["precision"], metrics.compute()["recall"]) == (1.0, 0.5)


# What does not fit -------------------------------------------------------------------------------


def test_columns_that_are_missing_say_who_writes_them(build):
    out = {"logits": torch.zeros(1, 6, 5)}
    bare = [{"_row": 0, "_part": 0}]
    with pytest.raises(DlkError, match=r'needs the column "unit_offsets".*in prediction'):
        build().decode(out, bare)
    with pytest.raises(DlkError, match=r'"max" needs the column "word_ids".*keep'):
        build(aggregation_strategy="max").decode(out, rows(0))


def test_outputs_of_other_units_are_refused(build):
    with pytest.raises(
        DlkError, match='"unit_offsets" has 6 units where the output "logits" has 4'
    ):
        build().decode({"logits": torch.zeros(1, 4, 5)}, rows(0))


def test_outputs_of_other_tags_say_what_to_set(build):
    with pytest.raises(DlkError, match=r"has 5, got logits \(1, 6, 4\): set .* output_size"):
        build().decode({"logits": torch.zeros(1, 6, 4)}, rows(0))
    ids = torch.full((1, 6), 5)
    out = dict.fromkeys(("predict_seq_label", "predict_seq_marginal"), ids)
    with pytest.raises(DlkError, match="predicted ids up to 5"):
        build(use_crf=True).decode(out | {"predict_seq_conditional": ids}, rows(0))


def test_a_vocabulary_that_holds_no_tags_of_the_scheme_is_refused(build):
    with pytest.raises(ConfigError, match=r'scheme "BIO": expected O, B-…, I-…, found \'S-LOC\''):
        build(words=["O", "S-LOC"])
    with pytest.raises(ConfigError, match="found 'art-work'"):
        build(words=["O", "art-work"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"use_crf": True, "aggregation_strategy": "max"}, "nothing to vote on"),
        ({"aggregation_strategy": "simple"}, "simple"),
        ({"ignore_char": [""]}, "expected characters"),
        ({"ignore_position": True, "origin_input_map": {"sentence": ""}}, "the column of the sent"),
        ({"columns": ["entities_info"]}, "already has the key entities_info"),
        ({"data_type": "pair"}, "pair"),
    ],
)
def test_fields_that_do_not_fit_are_refused(build, values, says):
    with pytest.raises(ConfigError, match=says):
        build(**values)


@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_a_word_that_windows_cut_is_one_word_of_all_its_pieces(build, strategy):
    """The last word has two pieces, of which the first window has one and the second both."""
    begin, inside = [0.01, 0.96, 0.01, 0.01, 0.01], [0.01, 0.01, 0.96, 0.01, 0.01]
    component = build(aggregation_strategy=strategy)
    (whole,) = component.decode(
        {"logits": torch.tensor([[OUT, OUT, OUT, OUT, begin, inside]]).log()},
        rows(0, unit_offsets=PIECES, word_ids=WORD_IDS),
    )
    assert found(whole) == [(13, 21, "LOC")]
    for cuts in (
        (slice(0, 5), slice(5, 6)),
        (slice(0, 5), slice(3, 6)),
        (slice(0, 5), slice(4, 6)),
    ):
        logits = torch.zeros(2, 5, 5)
        parts = []
        for part, cut in enumerate(cuts):
            mine = torch.tensor([OUT, OUT, OUT, OUT, begin, inside]).log()[cut]
            logits[part, : len(mine)] = mine
            (one,) = rows(0, unit_offsets=PIECES[cut], word_ids=WORD_IDS[cut])
            parts.append({**one, "_part": part})
        (result,) = component.decode({"logits": logits}, parts)
        assert result == whole
