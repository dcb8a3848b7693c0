"""The postprocessor `span_cls`."""

from __future__ import annotations

import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError, DlkError
from dlk.nlp.align import Aligner
from dlk.nlp.postprocessor._spans import Spans, settle, units_of
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance

KINDS = ["PER", "ORG", "LOC"]
LENGTH = 5
TEXT = "a b c d e f g h"


def label_meta(folder) -> Meta:
    vocabulary = Vocabulary(unk="O")
    vocabulary.add({word: len(KINDS) - place for place, word in enumerate(KINDS)})
    meta = Meta(folder)
    meta.put_vocabulary("label_vocab.json", vocabulary)
    return meta


def words(first, last):
    """Offsets of the letters of TEXT from one to another."""
    return [[2 * place, 2 * place + 1] for place in range(first, last)]


class TestAny(PostProcessorConformance):
    component = ("postprocessor", "span_cls")
    config: ClassVar = {"label_vocab": "label_vocab.json", "columns": ["uuid"]}
    truth_columns = ("entities_info",)
    needed_columns = ("unit_offsets",)

    def meta(self, folder):
        return label_meta(folder)

    def batch(self, count, generator):
        return {"logits": torch.randn(count, LENGTH, LENGTH, 4, generator=generator)}

    def row(self, number):
        units = [[0, 0], *words(0, 1 + number % 4)]
        return {
            "uuid": str(number),
            "sentence": TEXT,
            "unit_offsets": units,
            "entities_info": [{"start": 0, "end": 1, "labels": ["PER"]}],
        }


class TestFlat(TestAny):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "columns": ["uuid"],
        "overlap": "flat",
        "ignore_labels": ["ORG"],
        "ignore_position": True,
        "ignore_char": ["."],
        "predict_extend_return": {"scores": "logits"},
        "max_entities_per_unit": 1,
    }


class TestPair(TestAny):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "data_type": "pair",
        "overlap": "nested",
        "input_map": {"logits": "s"},
    }

    def batch(self, count, generator):
        return {"s": super().batch(count, generator)["logits"]}

    def row(self, number):
        row = super().row(number)
        del row["uuid"]
        return {**row, "sentence_b": row.pop("sentence"), "sentence_a": "why?"}


@pytest.fixture
def build(tmp_path):
    meta = label_meta(tmp_path)

    def made(**values):
        config = make("postprocessor", "span_cls", {"label_vocab": "label_vocab.json", **values})
        return register.build(config, Setup(meta=meta))

    return made


def scores(*cells, size=8, classes=4):
    """Logits of one record: 0 for no entity, and what each (i, j, label, logit) says."""
    made = torch.zeros(size, size, classes)
    for i, j, label, logit in cells:
        made[i, j, label] = logit
    return made


def row(units=None, number=0, **more):
    units = words(0, 8) if units is None else units
    return {"_row": number, "_part": 0, "sentence": TEXT, "unit_offsets": units, **more}


def spans_in(prediction):
    return [(e["start"], e["end"], *e["labels"]) for e in prediction["entities_info"]]


def test_a_cell_above_the_others_is_an_entity_with_its_probability(build):
    (found,) = build().decode({"logits": scores((1, 2, 3, 2.0))[None]}, [row()])
    (entity,) = found["entities_info"]
    probability = float(torch.tensor([0.0, 0.0, 0.0, 2.0]).softmax(-1)[3])
    assert entity == {
        "start": 2,
        "end": 5,
        "labels": ["LOC"],
        "text": "b c",
        "score": pytest.approx(probability),
    }


def test_nested_and_crossing_entities_stand_in_the_order_of_the_text(build):
    logits = scores((0, 5, 1, 9.0), (2, 3, 2, 9.0), (2, 7, 3, 9.0), (1, 1, 1, 9.0))
    (found,) = build().decode({"logits": logits[None]}, [row()])
    assert spans_in(found) == [(0, 11, "PER"), (2, 3, "PER"), (4, 7, "ORG"), (4, 15, "LOC")]


def test_a_span_that_ends_before_it_starts_is_none(build):
    (found,) = build().decode({"logits": scores((3, 2, 1, 9.0))[None]}, [row()])
    assert found["entities_info"] == []


def test_units_that_carry_nothing_are_in_no_entity(build):
    units = [[0, 0], *words(0, 3), [0, 0]]
    logits = scores((0, 2, 1, 9.0), (1, 4, 1, 9.0), (5, 6, 1, 9.0), (2, 3, 1, 9.0))
    (found,) = build().decode({"logits": logits[None]}, [row(units)])
    assert spans_in(found) == [(2, 5, "PER")]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("any", [(0, 7), (2, 5), (4, 11), (12, 15)]),
        ("nested", [(0, 7), (2, 5), (12, 15)]),
        ("flat", [(2, 5), (12, 15)]),
    ],
)
def test_of_entities_that_may_not_overlap_the_most_probable_stay(build, overlap, expected):
    logits = scores((0, 3, 1, 8.0), (1, 2, 2, 9.0), (2, 5, 3, 7.0), (6, 7, 1, 2.0))
    (found,) = build(overlap=overlap).decode({"logits": logits[None]}, [row()])
    assert [span[:2] for span in spans_in(found)] == expected


def _nested(one, other):
    return (one[0] <= other[0] and other[1] <= one[1]) or (
        other[0] <= one[0] and one[1] <= other[1]
    )


SPANS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).map(sorted), max_size=8)


@settings(deadline=None)
@given(drawn=SPANS, overlap=st.sampled_from(["any", "nested", "flat"]), seed=st.integers(0, 9))
def test_settling_is_greedy_by_probability(drawn, overlap, seed):
    """By hand: go through the spans from the most probable, keep what no kept one forbids."""
    drawn = sorted({(a, b + 1) for a, b in drawn})
    probabilities = np.random.default_rng(seed).permutation(len(drawn)).astype(np.float32)
    starts, ends = (np.array([s[n] for s in drawn], dtype=np.int64) for n in (0, 1))
    found = settle(Spans(starts, ends, starts, probabilities), overlap)
    kept: list[tuple[int, int]] = []
    for place in sorted(range(len(drawn)), key=lambda place: -probabilities[place]):
        a, b = drawn[place]
        shares = [(c, d) for c, d in kept if a < d and c < b]
        crosses = [(c, d) for c, d in shares if not _nested((a, b), (c, d))]
        if overlap == "any" or not (shares if overlap == "flat" else crosses):
            kept.append((a, b))
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == sorted(kept)


@settings(deadline=None)
@given(drawn=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=6).map(sorted))
def test_each_span_of_characters_is_the_one_cell_that_annotations_get(drawn):
    """For any offsets that rise, shared ones too: the cells decoded are those of `Aligner`."""
    units, reached = [], 0
    for start, length in drawn:
        reached = max(reached, start + length)
        units.append([start, reached if length else start])
    size = max(len(units), 1)
    made = units_of([{"_row": 0, "u": units}], "u", size)
    aligner = Aligner("x" * 12, units)
    cells = {}
    for start in range(12):
        for end in range(start + 1, 12):  # a span that begins inside of a unit takes all of it
            placed = aligner.place(start, end, closed=True)
            if placed.kept:
                run = aligner.kept[placed.start], aligner.kept[placed.end - 1]
                cells[run] = aligner.characters(placed.start, placed.end)
    decoded = {
        (i, j): (int(made.starts[0, i]), int(made.ends[0, j]))
        for i in np.flatnonzero(made.opens[0])
        for j in np.flatnonzero(made.closes[0])
        if i <= j
    }
    assert decoded == cells


def windows(build, first, second, *, units=((0, 6), (2, 8)), text=TEXT):
    """Decode two windows of TEXT with their cells; of the first, the letters a to f."""
    size = 6
    logits = torch.stack([scores(*first, size=size), scores(*second, size=size)])
    rows = [
        {**row(words(*place)), "_part": part, "sentence": text} for part, place in enumerate(units)
    ]
    (found,) = build().decode({"logits": logits}, rows)
    return found


def test_the_window_that_sees_more_around_a_span_decides_on_it(build):
    """c-d has two letters behind it in the first window and none before it in the second."""
    found = windows(build, [(2, 3, 1, 1.0)], [(0, 1, 2, 9.0)])
    assert spans_in(found) == [(4, 7, "PER")]
    (entity,) = found["entities_info"]
    assert entity["score"] == pytest.approx(float(torch.tensor([0.0, 1, 0, 0]).softmax(-1)[1]))
    # of e-f it is the reverse
    found = windows(build, [(4, 5, 1, 9.0)], [(2, 3, 2, 1.0)])
    assert spans_in(found) == [(8, 11, "ORG")]


def test_a_span_that_only_the_window_with_less_around_it_finds_is_none(build):
    assert windows(build, [(2, 3, 0, 0.1)], [(0, 1, 2, 9.0)])["entities_info"] == []
    assert windows(build, [(4, 5, 1, 9.0)], [])["entities_info"] == []


def test_where_windows_see_as_much_the_later_decides(build):
    """d-e has one letter behind it in the first window, and one before it in the second."""
    found = windows(build, [(3, 4, 1, 9.0)], [(1, 2, 2, 1.0)])
    assert spans_in(found) == [(6, 9, "ORG")]


def test_where_the_text_itself_ends_no_context_is_wanting(build):
    """f ends the text: one letter before it in the last window is more than none behind it."""
    short = ((0, 6), (4, 6))
    found = windows(build, [(5, 5, 1, 1.0)], [(1, 1, 2, 9.0)], units=short)
    assert spans_in(found) == [(10, 11, "PER")]  # both end where the text does
    longer = ((0, 6), (4, 8))
    found = windows(build, [(5, 5, 1, 9.0)], [(1, 1, 2, 1.0)], units=longer)
    assert spans_in(found) == [(10, 11, "ORG")]
    first = ((0, 6), (1, 7))  # b: the text begins one letter before it, and the second at it
    found = windows(build, [(0, 1, 1, 1.0)], [(0, 0, 2, 9.0)], units=first)
    assert spans_in(found) == [(0, 3, "PER")]


@settings(deadline=None)
@given(data=st.data())
def test_windows_that_agree_give_what_one_window_gives(tmp_path_factory, data):
    component = register.build(
        make("postprocessor", "span_cls", {"label_vocab": "label_vocab.json"}),
        Setup(meta=label_meta(tmp_path_factory.mktemp("meta"))),
    )
    size = data.draw(st.integers(1, 8))
    room = data.draw(st.integers(1, size))
    shared = data.draw(st.integers(0, room - 1))
    starts = [0]
    while starts[-1] + room < size:
        starts.append(starts[-1] + room - shared)
    seed = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    whole = torch.randn(size, size, 4, generator=seed)
    bounds = [(start, min(start + room, size)) for start in starts]
    logits = torch.zeros(len(bounds), room, room, 4)
    for part, (low, high) in enumerate(bounds):
        logits[part, : high - low, : high - low] = whole[low:high, low:high]
    rows = [{**row(words(*bound)), "_part": part} for part, bound in enumerate(bounds)]
    (found,) = component.decode({"logits": logits}, rows)
    (expected,) = component.decode({"logits": whole[None]}, [row(words(0, size))])
    held = [
        entity
        for entity in expected["entities_info"]
        if any(2 * low <= entity["start"] and entity["end"] < 2 * high for low, high in bounds)
    ]
    assert found["entities_info"] == held


def test_a_span_in_one_window_only_keeps_its_exact_probability(build):
    first, second = scores((0, 0, 1, 3.0), size=4), scores(size=4)
    rows = [row(words(0, 4)), {**row(words(2, 6)), "_part": 1}]
    (found,) = build().decode({"logits": torch.stack([first, second])}, rows)
    (alone,) = build().decode({"logits": first[None]}, rows[:1])
    assert found == alone


def test_a_word_that_a_window_cuts_ends_no_entity(build):
    """Windows are cut between pieces: "bcd" ends the first one as "b", "efg" begins the second."""
    text = "a bcd efg h"
    first = scores((0, 1, 1, 9.0), (1, 1, 2, 9.0), (0, 0, 3, 9.0), size=3)
    second = scores((0, 1, 1, 9.0), (1, 2, 2, 9.0), (2, 2, 1, 0.1), size=3)
    rows = [
        {**row([[0, 1], [2, 5], [6, 7]]), "sentence": text},
        {**row([[4, 5], [6, 9], [10, 11]]), "_part": 1, "sentence": text},
    ]
    first[2, 2, 1] = 9.0
    (found,) = build().decode({"logits": torch.stack([first, second])}, rows)
    assert spans_in(found) == [
        (0, 1, "LOC"), (0, 5, "PER"), (2, 5, "ORG"), (6, 11, "ORG"), (10, 11, "PER"),
    ]  # fmt: skip


def test_a_model_that_calls_everything_an_entity_is_bounded_and_says_so(build):
    torch.manual_seed(0)
    logits = torch.rand(1, 40, 40, 4)
    logits[..., 0] = -9.0
    units = [[place, place + 1] for place in range(40)]
    given = {**row(units), "sentence": "x" * 40}
    (found,) = build(max_entities_per_unit=2).decode({"logits": logits}, [given])
    (every,) = build(max_entities_per_unit=999).decode({"logits": logits}, [given])
    assert len(every["entities_info"]) == 40 * 41 // 2
    assert "left_out" not in every
    assert len(found["entities_info"]) == 80
    assert found["left_out"] == 40 * 41 // 2 - 80
    best = sorted((entity["score"] for entity in every["entities_info"]), reverse=True)[:80]
    assert sorted((e["score"] for e in found["entities_info"]), reverse=True) == best


def test_entities_feed_back_as_data_and_score_one(build):
    logits = torch.randn(3, 8, 8, 4, generator=torch.Generator().manual_seed(1))
    rows = [row(number=number) for number in range(3)]
    component = build()
    decoded = component.decode({"logits": logits}, rows)
    again = [{**r, "entities_info": d["entities_info"]} for r, d in zip(rows, decoded, strict=True)]
    metrics = component.new_metrics()
    metrics.update({"logits": logits}, again, decoded)
    assert metrics.compute()["f1"] == 1.0


def test_three_copies_of_one_right_answer_are_one_hit(build):
    component = build(ignore_position=True)
    text = "ab ab ab"
    units = [[0, 2], [3, 5], [6, 8]]
    given = {**row(units, entities_info=[{"start": 0, "end": 2, "labels": ["PER"]}])}
    given["sentence"] = text
    logits = scores((0, 0, 1, 9.0), (1, 1, 1, 9.0), (2, 2, 1, 9.0), size=3)[None]
    metrics = component.new_metrics()
    metrics.update({}, [given], component.decode({"logits": logits}, [given]))
    found = metrics.compute()
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == 1.0
    assert found["f1"] == 0.5


def test_labels_with_dashes_and_the_letters_of_schemes_are_labels(tmp_path):
    meta = Meta(tmp_path)
    vocabulary = Vocabulary(unk="O")
    vocabulary.add({"S": 2, "a-b-c": 1})
    meta.put_vocabulary("label_vocab.json", vocabulary)
    config = make("postprocessor", "span_cls", {"label_vocab": "label_vocab.json"})
    component = register.build(config, Setup(meta=meta))
    logits = scores((0, 0, 1, 9.0), (1, 1, 2, 9.0), classes=3)[None]
    (found,) = component.decode({"logits": logits}, [row()])
    assert spans_in(found) == [(0, 1, "S"), (2, 3, "a-b-c")]


def test_labels_to_ignore_are_neither_found_nor_counted(build):
    component = build(ignore_labels=["PER"])
    given = row(entities_info=[{"start": 0, "end": 1, "labels": ["PER"]}])
    logits = scores((0, 0, 1, 9.0))[None]
    decoded = component.decode({"logits": logits}, [given])
    assert decoded[0]["entities_info"] == []
    metrics = component.new_metrics()
    metrics.update({}, [given], decoded)
    assert metrics.table() == []


def test_a_score_that_is_no_number_gives_null_and_counts_as_missed(build):
    component = build()
    logits = scores((0, 0, 1, 9.0))[None].repeat(2, 1, 1, 1)
    logits[0, 5, 6, 0] = float("nan")
    rows = [
        row(number=n, entities_info=[{"start": 0, "end": 1, "labels": ["PER"]}]) for n in (0, 1)
    ]
    decoded = component.decode({"logits": logits}, rows)
    assert decoded[0]["entities_info"] is None
    assert spans_in(decoded[1]) == [(0, 1, "PER")]
    metrics = component.new_metrics()
    metrics.update({}, rows, decoded)
    assert metrics.compute()["recall"] == 0.5


def test_numbers_that_are_none_where_nothing_stands_do_not_matter(build):
    logits = scores((0, 0, 1, 9.0))[None]
    logits[0, 7] = float("nan")
    logits[0, 3, 1] = float("nan")  # ends before it starts
    (found,) = build().decode({"logits": logits}, [row(words(0, 5))])
    assert spans_in(found) == [(0, 1, "PER")]


def test_infinite_scores_of_masked_classes_are_probabilities_of_zero(build):
    logits = scores((0, 0, 1, 9.0))[None]
    logits[..., 3] = float("-inf")
    (found,) = build().decode({"logits": logits}, [row()])
    assert spans_in(found) == [(0, 1, "PER")]


def test_an_empty_text_has_no_entities(build):
    (found,) = build().decode({"logits": torch.randn(1, 2, 2, 4)}, [row([[0, 0], [0, 0]])])
    assert found["entities_info"] == []
    (found,) = build().decode({"logits": torch.randn(1, 0, 0, 4)}, [row([])])
    assert found["entities_info"] == []


def test_scores_of_another_size_are_refused(build):
    with pytest.raises(DlkError, match=r"must be \(B, L, L, 4\).*got \(1, 8, 8, 5\)"):
        build().decode({"logits": torch.zeros(1, 8, 8, 5)}, [row()])


def test_units_of_another_kind_than_the_model_s_are_refused(build):
    with pytest.raises(DlkError, match="the outputs are for 3 units, and row 0 has 8"):
        build().decode({"logits": torch.zeros(1, 3, 3, 4)}, [row()])


def test_a_missing_column_of_units_is_named(build):
    with pytest.raises(DlkError, match='need the column "unit_offsets"'):
        build().decode({"logits": torch.zeros(1, 3, 3, 4)}, [{"_row": 0, "_part": 0}])


def test_offsets_that_are_none_are_refused(build):
    with pytest.raises(DataError, match=r"expected \[start, end\] for each unit"):
        build().decode({"logits": torch.zeros(1, 3, 3, 4)}, [row([1, 2])])


def test_memory_grows_with_the_windows_of_a_text_not_with_their_square(build):
    """A model that has learnt nothing finds a span in every cell."""
    component, room = build(), 24
    peaks = []
    for count in (16, 64):
        logits = scores(size=room).expand(count, -1, -1, -1).clone()
        logits[..., 1] = 9.0
        places = [(part * (room - 8), part * (room - 8) + room) for part in range(count)]
        rows = [{**row(words(*place)), "_part": part} for part, place in enumerate(places)]
        tracemalloc.start()
        component.decode({"logits": logits}, rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 6 * peaks[0], peaks  # four times the windows


def test_a_type_that_training_never_saw_is_missed(build):
    truth = [
        {"start": 0, "end": 1, "labels": ["PER"]},
        {"start": 2, "end": 3, "labels": ["unseen"]},
        {"start": 4, "end": 5, "labels": ["LOC", "unseen"]},
    ]
    given = row(entities_info=truth)
    logits = scores((0, 0, 1, 9.0), (2, 2, 3, 9.0))[None]
    component = build()
    metrics = component.new_metrics()
    metrics.update({}, [given], component.decode({"logits": logits}, [given]))
    assert (metrics.compute()["precision"], metrics.compute()["recall"]) == (1.0, 0.5)
    assert {line["label"]: line["support"] for line in metrics.table()} == {
        "LOC": 1, "PER": 1, "unseen": 2,
    }  # fmt: skip


def test_metrics_that_compare_texts_need_one():
    values = {
        "label_vocab": "v.json",
        "data_type": "pair",
        "ignore_position": True,
        "origin_input_map": {"sentence_b": ""},
    }
    with pytest.raises(ConfigError, match="need the column of the text"):
        make("postprocessor", "span_cls", values)
