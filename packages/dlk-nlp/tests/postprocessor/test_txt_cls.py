"""The postprocessor `txt_cls`."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from dlk.config import make
from dlk.context import Setup
from dlk.data.meta import Meta
from dlk.data.subprocessor.base import TransformContext
from dlk.data.vocabulary import Vocabulary
from dlk.errors import ConfigError, DataError, DlkError
from dlk.nlp.postprocessor.txt_cls import _best
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance

WORDS = ["loc", "num", "hum", "abbr"]


def label_meta(folder) -> Meta:
    vocabulary = Vocabulary()
    vocabulary.add({word: len(WORDS) - place for place, word in enumerate(WORDS)})
    meta = Meta(folder)
    meta.put_vocabulary("label_vocab.json", vocabulary)
    return meta


class TestSingle(PostProcessorConformance):
    component = ("postprocessor", "txt_cls")
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "input_map": {"logits": "scores"},
        "columns": ["uuid"],
        "predict_extend_return": {"vector": "pooled"},
    }

    def meta(self, folder):
        return label_meta(folder)

    def batch(self, count, generator):
        return {
            "scores": torch.randn(count, 4, generator=generator),
            "pooled": torch.randn(count, 3, generator=generator),
            "label_ids": torch.randint(4, (count,), generator=generator),
        }


class TestPair(TestSingle):
    config: ClassVar = {"label_vocab": "label_vocab.json", "data_type": "pair", "top_k": 2}

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, 4, generator=generator),
            "label_ids": torch.randint(4, (count, 1), generator=generator),
        }


class TestSearchedForOne(TestSingle):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "input_map": {"logits": "scores"},
        "columns": ["uuid"],
        "predict_extend_return": {"vector": "pooled"},
        "positive_label": "hum",
        "threshold": "search",
    }


class TestMultiLabel(TestSingle):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "multi_label": True,
        "threshold": 0.4,
        "positive_label": "hum",
    }

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, 4, generator=generator),
            "label_ids": (torch.rand(count, 4, generator=generator) < 0.4).float(),
        }


class TestSearched(TestMultiLabel):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "multi_label": True,
        "threshold": "search",
    }


class TestSearchedForEach(TestMultiLabel):
    config: ClassVar = {
        "label_vocab": "label_vocab.json",
        "multi_label": True,
        "threshold": "search_each",
    }


@pytest.fixture
def build(tmp_path):
    meta = label_meta(tmp_path)

    def made(**values):
        config = make("postprocessor", "txt_cls", {"label_vocab": "label_vocab.json", **values})
        return register.build(config, Setup(meta=meta))

    return made


def rows(*numbers, **columns):
    return [{"_row": number, "_part": 0, **columns} for number in numbers]


def test_a_prediction_holds_text_label_score_and_all_labels_in_order(build):
    (result,) = build().decode(
        {"logits": torch.tensor([[0.0, 3.0, 1.0, -1.0]])}, rows(0, sentence="how many?")
    )
    assert list(result) == ["sentence", "label", "score", "predicts"]
    assert result["sentence"] == "how many?"
    assert result["label"] == "num"
    assert [item["label"] for item in result["predicts"]] == ["num", "hum", "loc", "abbr"]
    total = sum(math.exp(x) for x in (0, 3, 1, -1))
    assert result["score"] == pytest.approx(math.exp(3) / total, abs=1e-6)
    assert sum(item["score"] for item in result["predicts"]) == pytest.approx(1, abs=1e-6)


def test_label_id_zero_is_a_label_like_any_other(build):
    component = build()
    out = {"logits": torch.tensor([[9.0, 0.0, 0.0, 0.0]]), "label_ids": torch.tensor([0])}
    decoded = component.decode(out, rows(0))
    assert decoded[0]["label"] == "loc"
    metrics = component.new_metrics()
    metrics.update(out, rows(0), decoded)
    assert metrics.compute()["acc"] == 1.0


def test_top_k_shortens_the_list_and_nothing_else(build):
    out = {"logits": torch.randn(3, 4)}
    whole, short = build().decode(out, rows(0, 1, 2)), build(top_k=2).decode(out, rows(0, 1, 2))
    assert [len(result["predicts"]) for result in short] == [2, 2, 2]
    for long, cut in zip(whole, short, strict=True):
        assert cut == {**long, "predicts": long["predicts"][:2]}
    assert build(top_k=99).decode(out, rows(0, 1, 2)) == whole


def test_equal_probabilities_go_by_id(build):
    (result,) = build().decode({"logits": torch.zeros(1, 4)}, rows(0))
    assert [item["label"] for item in result["predicts"]] == WORDS


def test_windows_of_a_row_share_the_mean_of_their_probabilities(build):
    logits = torch.tensor([[8.0, 0, 0, 0], [0, 0, 0, 0], [0, 9.0, 0, 0], [0, 0, 5.0, 0]])
    results = build().decode({"logits": logits}, rows(3, 3, 3, 1))
    mean = logits[:3].softmax(-1).mean(0)
    assert [result["label"] for result in results] == ["num", "hum"]
    assert results[0]["score"] == pytest.approx(mean[1].item(), abs=1e-6)


def test_a_window_counts_for_its_row_once(build):
    component = build()
    out = {"logits": torch.eye(4)[[0, 0, 1]], "label_ids": torch.tensor([0, 0, 2])}
    metrics = component.new_metrics()
    metrics.update(out, rows(5, 5, 6), component.decode(out, rows(5, 5, 6)))
    assert metrics.compute()["acc"] == 0.5


def test_half_precision_is_scored_in_float32(build):
    logits = torch.randn(2, 4).bfloat16()
    (result, _) = build().decode({"logits": logits}, rows(0, 1))
    assert result["score"] == logits[0].float().softmax(-1).max().item()


def test_a_logit_that_is_not_a_number_gives_null_and_counts_as_a_miss(build):
    component = build()
    out = {
        "logits": torch.tensor([[math.nan, 0, 0, 0], [0, 9.0, 0, 0]]),
        "label_ids": torch.tensor([0, 1]),
    }
    decoded = component.decode(out, rows(0, 1))
    assert decoded[0] == {"label": None, "score": None, "predicts": []}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1), decoded)
    assert metrics.compute()["acc"] == 0.5
    assert metrics.confusion()[0] == [0, 0, 0, 0, 1]


def test_multi_label_gives_the_labels_from_the_threshold_on(build):
    component = build(multi_label=True, threshold=0.5, top_k=1)
    out = {"logits": torch.tensor([[0.0, 2.0, -1.0, -3.0], [-1.0, -1.0, -1.0, -1.0]])}
    first, second = component.decode(out, rows(0, 1))
    assert first["labels"] == ["num", "loc"]  # sigmoid(0) is the threshold itself
    assert first["predicts"] == [
        {"label": "num", "score": pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6)}
    ]
    assert second["labels"] == []


def test_a_threshold_may_be_given_for_each_label_by_its_name(build):
    component = build(multi_label=True, threshold={"loc": 0.9, "abbr": 0.01}, top_k=1)
    logits = torch.tensor([[2.0, 1.0, -1.0, -3.0]])  # sigmoid: 0.88, 0.73, 0.27, 0.05
    assert component.decode({"logits": logits}, rows(0))[0]["labels"] == ["num", "abbr"]
    with pytest.raises(DlkError, match=r'"lok", which "label_vocab.json" does not hold.*"loc"'):
        build(multi_label=True, threshold={"lok": 0.9})


def test_the_threshold_that_the_metrics_name_gives_the_score_that_they_name(build):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(80, 4, generator=generator)
    target = (logits + torch.randn(80, 4, generator=generator) > 1.0).float()
    out, some = {"logits": logits, "label_ids": target}, rows(*range(80))

    def scores(threshold):
        component = build(multi_label=True, threshold=threshold)
        metrics = component.new_metrics()
        metrics.update(out, some, component.decode(out, some))
        return metrics.compute(), metrics.table()

    found, table = scores(0.99)
    assert found["f1_micro_best"] > found["f1_micro"] + 0.1
    at, _ = scores(found["threshold_best"])
    assert at["f1_micro"] == pytest.approx(found["f1_micro_best"], abs=1e-12)
    at, _ = scores(found["threshold_best_macro"])
    assert at["f1_macro"] == pytest.approx(found["f1_macro_best"], abs=1e-12)
    own, lines = scores({line["label"]: line["threshold_best"] for line in table})
    assert own["f1_macro"] == pytest.approx(found["f1_macro_best_each"], abs=1e-12)
    assert [line["f1"] for line in lines] == pytest.approx([line["f1_best"] for line in table])


def evaluated(component, out, some):
    metrics = component.new_metrics()
    metrics.update(out, some, component.decode(out, some))
    return metrics


@pytest.mark.parametrize(
    ("how", "score", "best"),
    [
        ("search", "f1_micro", "f1_micro_best"),
        ("search_macro", "f1_macro", "f1_macro_best"),
        ("search_each", "f1_macro", "f1_macro_best_each"),
    ],
)
def test_the_threshold_that_is_found_gives_the_best_score_of_its_kind(build, how, score, best):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(80, 4, generator=generator)
    target = (logits + torch.randn(80, 4, generator=generator) > 1.0).float()
    out, some = {"logits": logits, "label_ids": target}, rows(*range(80))
    before = build(multi_label=True, threshold=how)
    metrics = evaluated(before, out, some)
    assert before.decode(out, some) == build(multi_label=True).decode(out, some)  # 0.5 until then
    found = before.found(metrics)
    assert isinstance(found["threshold"], list if how == "search_each" else float)
    after = evaluated(build(multi_label=True, **found), out, some).compute()
    assert after[score] == pytest.approx(metrics.compute()[best], abs=1e-12)
    assert after[score] > metrics.compute()[score]


def test_a_list_of_thresholds_is_in_the_vocabularys_order(build):
    component = build(multi_label=True, threshold=[0.9, 0.5, 0.5, 0.01], top_k=1)
    logits = torch.tensor([[2.0, 1.0, -1.0, -3.0]])  # sigmoid: 0.88, 0.73, 0.27, 0.05
    assert component.decode({"logits": logits}, rows(0))[0]["labels"] == ["num", "abbr"]
    with pytest.raises(DlkError, match=r'lists 2 numbers, but "label_vocab.json" has 4 labels'):
        build(multi_label=True, threshold=[0.9, 0.5])


def test_a_label_that_is_never_true_in_validation_keeps_the_middle(build):
    component = build(multi_label=True, threshold="search_each")
    out = {"logits": torch.tensor([[-2.0, -2.0, 3.0, 3.0]])}
    out["label_ids"] = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    first, *others = component.found(evaluated(component, out, rows(0)))["threshold"]
    assert first <= 0.119  # sigmoid(-2)
    assert others == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("multi_label", [False, True])
def test_validation_without_what_is_looked_for_finds_no_threshold(build, multi_label):
    component = build(multi_label=multi_label, positive_label="hum", threshold="search")
    target = torch.zeros(1, 4) if multi_label else torch.tensor([0])
    out = {"logits": torch.zeros(1, 4), "label_ids": target}
    with pytest.raises(DlkError, match="true in no row of the validation data; give a number"):
        component.found(evaluated(component, out, rows(0)))


def test_the_label_that_is_looked_for_is_given_from_its_threshold_on(build):
    logits = torch.tensor([[0.2, 0.4, 0.3, 0.1], [0.6, 0.1, 0.2, 0.1], [0.1, 0.1, 0.7, 0.1]]).log()
    labels = {
        threshold: [
            (result["label"], round(result["score"], 4))
            for result in build(positive_label="hum", threshold=threshold).decode(
                {"logits": logits}, rows(0, 1, 2)
            )
        ]
        for threshold in (None, 0.25, 0.8)
    }
    assert labels == {
        None: [("num", 0.4), ("loc", 0.6), ("hum", 0.7)],
        0.25: [("hum", 0.3), ("loc", 0.6), ("hum", 0.7)],
        0.8: [("num", 0.4), ("loc", 0.6), ("loc", 0.1)],
    }
    component = build(positive_label="hum", threshold=0.25)
    (first,) = component.decode({"logits": logits[:1]}, rows(0))
    assert first["predicts"][0] == {"label": "num", "score": pytest.approx(0.4)}  # as ever


def test_the_threshold_of_one_label_that_is_found_gives_its_best_f1(build):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(200, 4, generator=generator)
    target = (logits + 2 * torch.randn(200, 4, generator=generator)).argmax(-1)
    out, some = {"logits": logits, "label_ids": target}, rows(*range(200))
    before = build(positive_label="hum", threshold="search")
    metrics = evaluated(before, out, some)
    assert before.decode(out, some) == build(positive_label="hum").decode(out, some)
    found = before.found(metrics)
    assert found == {"threshold": metrics.compute()["threshold_best"]}
    after = evaluated(build(positive_label="hum", **found), out, some).compute()
    assert after["f1"] == pytest.approx(metrics.compute()["f1_best"], abs=1e-12)
    assert after["f1"] > metrics.compute()["f1"]


def test_thousands_of_labels_are_given_listed_and_counted(tmp_path):
    words = [f"label {number}" for number in range(6000)]
    vocabulary = Vocabulary()
    vocabulary.add(dict.fromkeys(words, 1))
    meta = Meta(tmp_path)
    meta.put_vocabulary("label_vocab.json", vocabulary)
    config = {"label_vocab": "label_vocab.json", "multi_label": True, "top_k": 3}
    component = register.build(make("postprocessor", "txt_cls", config), Setup(meta=meta))
    logits = torch.full((8, 6000), -5.0)
    target = torch.zeros(8, 6000)
    for row in range(8):
        logits[row, [row, 5000 + row]] = torch.tensor([4.0, 3.0])
        target[row, [row, 5000 + row]] = 1.0
    out = {"logits": logits, "label_ids": target}
    decoded = component.decode(out, rows(*range(8)))
    names = vocabulary.words
    assert [answer["labels"] for answer in decoded] == [
        [names[row], names[5000 + row]] for row in range(8)
    ]
    metrics = component.new_metrics()
    metrics.update(out, rows(*range(8)), decoded)
    assert metrics.compute()["f1_micro"] == metrics.compute()["f1_micro_best"] == 1.0


def test_multi_label_null_is_a_miss_and_a_row_of_unknown_truth_does_not_count(build):
    component = build(multi_label=True)
    logits = torch.full((3, 4), -9.0)
    logits[0, 0] = math.nan
    target = torch.tensor([[0.0] * 4, [0.0] * 4, [-100.0] * 4])
    out = {"logits": logits, "label_ids": target}
    decoded = component.decode(out, rows(0, 1, 2))
    assert decoded[0] == {"labels": None, "predicts": []}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1, 2), decoded)
    assert metrics.compute()["acc"] == 0.5


def test_metrics_over_batches_are_those_of_scikit_learn(build):
    component = build()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator)
    target = torch.randint(4, (200,), generator=generator)
    metrics = component.new_metrics()
    for start in range(0, 200, 64):
        out = {"logits": logits[start : start + 64], "label_ids": target[start : start + 64]}
        some = rows(*range(start, start + len(out["logits"])))
        metrics.update(out, some, component.decode(out, some))
    predicted = logits.argmax(-1)
    scores = metrics.compute()
    assert scores["acc"] == pytest.approx(accuracy_score(target, predicted), abs=1e-12)
    for kind in ("macro", "micro", "weighted"):
        expected = f1_score(target, predicted, average=kind)
        assert scores[f"f1_{kind}"] == pytest.approx(expected, abs=1e-12)
    assert [line["label"] for line in metrics.table()] == WORDS
    assert sum(line["support"] for line in metrics.table()) == 200


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_label_that_is_looked_for_has_scores_of_its_own(build, multi_label):
    component = build(positive_label="hum", multi_label=multi_label)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 4, generator=generator)
    ids = torch.randint(4, (50,), generator=generator)
    truth, given = ids == 2, logits.argmax(-1) == 2
    if multi_label:
        given, ids = logits[:, 2] >= 0, torch.eye(4)[ids]
    out, some = {"logits": logits, "label_ids": ids}, rows(*range(50))
    metrics = component.new_metrics()
    metrics.update(out, some, component.decode(out, some))
    scores = metrics.compute()
    assert scores["f1"] == pytest.approx(f1_score(truth, given), abs=1e-12)
    assert scores["precision"] == pytest.approx(precision_score(truth, given), abs=1e-12)
    assert scores["recall"] == pytest.approx(recall_score(truth, given), abs=1e-12)
    with pytest.raises(DlkError, match=r'positive_label names the label "spam"'):
        build(positive_label="spam")


def test_a_target_of_minus_100_is_an_unknown_truth(build):
    component = build()
    out = {"logits": torch.eye(4)[:2], "label_ids": torch.tensor([0, -100])}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1), component.decode(out, rows(0, 1)))
    assert metrics.compute()["acc"] == 1.0


def test_origin_columns_are_renamed_or_left_out(build):
    component = build(
        data_type="pair", origin_input_map={"sentence_a": "question", "sentence_b": ""}, top_k=1
    )
    (result,) = component.decode(
        {"logits": torch.zeros(1, 4)}, rows(0, question="q", sentence_b="b")
    )
    assert list(result) == ["sentence_a", "label", "score", "predicts"]
    assert result["sentence_a"] == "q"


def test_predict_extend_return_takes_the_row_it_belongs_to(build):
    component = build(predict_extend_return={"vector": "pooled"})
    out = {"logits": torch.zeros(3, 4), "pooled": torch.tensor([[1], [2], [3]])}
    results = component.decode(out, rows(0, 0, 1))
    assert [result["vector"] for result in results] == [[1], [3]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"columns": ["label"]}, "already has the key label"),
        ({"predict_extend_return": {"sentence": "pooled"}}, "already has the key sentence"),
        ({"predict_extend_return": {"vector": 1}}, "must be the name of a model output"),
        ({"data_type": "triple"}, "triple"),
        ({"threshold": 1.5}, r"expected a number in \[0, 1\] or search, got 1\.5"),
        (
            {"multi_label": True, "threshold": {"loc": "high"}},
            r"in \[0, 1\] of \"loc\", got 'high'",
        ),
        ({"multi_label": True, "threshold": [0.5, 2]}, r"in \[0, 1\] at 1, got 2"),
        ({"multi_label": True, "threshold": "find"}, "search_macro, search_each, got 'find'"),
        ({"positive_label": "num", "threshold": "search_each"}, "or search, got 'search_each'"),
        ({"positive_label": "num", "threshold": {"num": 0.3}}, "or search, got {'num': 0.3}"),
        ({"threshold": True}, "got True"),
        ({"threshold": 0.9}, "the most probable is given, .*: set multi_label"),
    ],
)
def test_fields_that_do_not_fit_are_refused(build, values, says):
    with pytest.raises(ConfigError, match=says):
        build(**values)


def test_logits_of_another_width_say_what_to_set(build):
    with pytest.raises(
        DlkError, match=r'"label_vocab.json" has 4 labels, got \(1, 3\).*output_size'
    ):
        build().decode({"logits": torch.zeros(1, 3)}, rows(0))


def test_a_label_id_outside_the_vocabulary_is_refused(build):
    component = build()
    out = {"logits": torch.zeros(1, 4), "label_ids": torch.tensor([7])}
    with pytest.raises(DataError, match=r"holds ids 7\.\.7, but there are 4 labels"):
        component.new_metrics().update(out, rows(0), component.decode(out, rows(0)))


def test_targets_of_another_shape_name_the_option(build):
    single, several = build(), build(multi_label=True)
    out = {"logits": torch.zeros(1, 4), "label_ids": torch.zeros(1, 4)}
    with pytest.raises(DlkError, match="need multi_label"):
        single.new_metrics().update(out, rows(0), single.decode(out, rows(0)))
    out["label_ids"] = torch.zeros(1, dtype=torch.long)
    with pytest.raises(DlkError, match=r"0/1 of shape \(1, 4\)"):
        several.new_metrics().update(out, rows(0), several.decode(out, rows(0)))


def test_labels_that_training_never_saw_are_missed_where_a_word_stands_for_them(tmp_path):
    """With ``"unk": "unseen"`` in token_gather such a row is kept, and no answer is right but that.

    Without one the label is a bad row, which stops `Process` or is listed.
    """
    vocabulary = Vocabulary(unk="unseen")
    vocabulary.add({"loc": 2, "num": 1})
    meta = Meta(tmp_path)
    meta.put_vocabulary("label_vocab.json", vocabulary)
    setup = Setup(meta=meta)
    ids = register.build(make("subprocessor", "token2id-label"), setup).transform(
        {"labels": ["loc", "new", "num"]}, TransformContext("train", "valid", [0, 1, 2])
    )["label_ids"]
    config = make("postprocessor", "txt_cls", {"label_vocab": "label_vocab.json"})
    component = register.build(config, setup)
    logits = torch.tensor([[0.0, 9.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    out = {"logits": logits, "label_ids": torch.tensor(ids)}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1, 2), component.decode(out, rows(0, 1, 2)))
    assert metrics.compute()["acc"] == pytest.approx(2 / 3)
    table = {line["label"]: (line["recall"], line["support"]) for line in metrics.table()}
    assert table["unseen"] == (0.0, 1)


@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, 1e-45, 0.1, 0.1000001, 0.5, 1.0]), min_size=9, max_size=9),
        min_size=1,
        max_size=4,
    ),
    count=st.integers(1, 9),
)
def test_the_best_labels_are_those_of_a_whole_sort(rows, count):
    probabilities = torch.tensor(rows)
    scores, ids = torch.sort(probabilities, dim=-1, descending=True, stable=True)
    found = _best(probabilities, count)
    assert torch.equal(found[0], scores[:, :count])
    assert torch.equal(found[1], ids[:, :count])


def test_evaluation_lists_one_label_of_thousands(tmp_path):
    """Lists of all labels took 25 times the time of what they are made from."""
    words = Vocabulary()
    words.add({f"label {number}": 1 for number in range(3000)})
    meta = Meta(tmp_path / "meta")
    meta.put_vocabulary("label_vocab.json", words)
    component = register.build(
        make("postprocessor", "txt_cls", {"label_vocab": "label_vocab.json"}), Setup(meta)
    )
    out = {"logits": torch.randn(2, 3000)}
    rows = [{"_row": 0, "_part": 0}, {"_row": 1, "_part": 0}]
    assert [len(each["predicts"]) for each in component.decode(out, rows)] == [3000, 3000]
    for whole, lean in zip(component.decode(out, rows), component.measured(out, rows), strict=True):
        assert lean == {**whole, "predicts": whole["predicts"][:1]}
