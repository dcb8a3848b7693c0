"""The postprocessor `txt_match`."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance


class TestSigmoid(PostProcessorConformance):
    component = ("postprocessor", "txt_match")
    config: ClassVar = {"columns": ["uuid"], "predict_extend_return": {"vector": "pooled"}}

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, 1, generator=generator),
            "pooled": torch.randn(count, 2, generator=generator),
            "match": (torch.rand(count, generator=generator) < 0.5).float(),
        }


class TestCosine(PostProcessorConformance):
    component = ("postprocessor", "txt_match")
    config: ClassVar = {
        "link": "identity",
        "threshold": -0.1,
        "labels": ["different", "same"],
        "input_map": {"match": "is_same"},
    }

    def batch(self, count, generator):
        return {
            "logits": torch.rand(count, generator=generator) * 2 - 1,
            "is_same": torch.randint(2, (count, 1), generator=generator),
        }


class TestSearched(TestCosine):
    config: ClassVar = {**TestCosine.config, "threshold": "search"}


def txt_match(**values):
    return register.build(make("postprocessor", "txt_match", values), Setup.empty())


def rows(*numbers, **columns):
    return [{"_row": number, "_part": 0, **columns} for number in numbers]


def test_a_prediction_holds_both_texts_label_and_score():
    texts = {"sentence_a": "Kafka", "sentence_b": "Franz K."}
    (result,) = txt_match().decode({"logits": torch.tensor([2.0])}, rows(0, **texts))
    assert result == {
        **texts,
        "label": "match",
        "score": pytest.approx(1 / (1 + math.exp(-2)), abs=1e-6),
    }
    assert list(result) == ["sentence_a", "sentence_b", "label", "score"]


def test_the_score_of_a_cosine_is_the_cosine_and_the_threshold_belongs_to_the_match():
    component = txt_match(link="identity", threshold=0.7, labels=["different", "same"])
    out = {"logits": torch.tensor([0.7, 0.69, -0.2])}
    results = component.decode(out, rows(0, 1, 2))
    assert [result["label"] for result in results] == ["same", "different", "different"]
    assert [result["score"] for result in results] == pytest.approx([0.7, 0.69, -0.2], abs=1e-6)


def measured(component, logits, match, step=64):
    return counted(component, logits, match, step).compute()


def counted(component, logits, match, step=64):
    metrics = component.new_metrics()
    for start in range(0, len(logits), step):
        part = slice(start, start + step)
        out = {"logits": logits[part], "match": match[part]}
        some = rows(*range(start, start + len(out["match"])))
        metrics.update(out, some, component.decode(out, some))
    return metrics


def test_metrics_over_batches_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, generator=generator)
    match = (logits + torch.randn(200, generator=generator) > 0.3).float()
    scores = measured(txt_match(), logits, match)
    truth, given = match.bool(), logits >= 0
    expected = {
        "acc": accuracy_score(truth, given),
        "precision": precision_score(truth, given),
        "recall": recall_score(truth, given),
        "f1": f1_score(truth, given),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    # Bins of 1/10,000: scores of two rows may fall into one.
    assert scores["auc"] == pytest.approx(roc_auc_score(truth, logits), abs=1e-3)
    found = average_precision_score(truth, logits)
    assert scores["average_precision"] == pytest.approx(found, abs=1e-3)


def test_the_best_threshold_gives_the_f1_that_is_named():
    generator = torch.Generator().manual_seed(1)
    logits = torch.rand(300, generator=generator) * 2 - 1
    match = (logits + torch.rand(300, generator=generator) > 0.9).float()
    before = measured(txt_match(link="identity", threshold=-0.5), logits, match)
    assert before["f1_best"] > before["f1"] + 0.1
    after = measured(txt_match(link="identity", threshold=before["threshold_best"]), logits, match)
    assert after["f1"] == after["f1_best"] == before["f1_best"]


@pytest.mark.parametrize("link", ["identity", "sigmoid"])
def test_the_threshold_that_is_found_gives_the_best_f1(link):
    generator = torch.Generator().manual_seed(1)
    logits = torch.rand(300, generator=generator) * 2 - 1
    match = (logits + torch.rand(300, generator=generator) > 0.9).float()
    searching = txt_match(link=link, threshold="search")
    metrics = counted(searching, logits, match)
    assert metrics.compute() == measured(txt_match(link=link), logits, match)  # 0.5 until then
    found = searching.found(metrics)
    assert found == {"threshold": metrics.compute()["threshold_best"]}
    after = measured(txt_match(link=link, **found), logits, match)
    assert after["f1"] == metrics.compute()["f1_best"] > metrics.compute()["f1"]


def test_validation_without_a_match_finds_no_threshold():
    component = txt_match(threshold="search")
    metrics = counted(component, torch.tensor([1.0, -1.0]), torch.zeros(2))
    with pytest.raises(DlkError, match="true in no row of the validation data"):
        component.found(metrics)


def test_windows_of_a_row_share_the_mean_of_their_scores():
    component = txt_match(link="identity")
    results = component.decode({"logits": torch.tensor([1.0, 0.2, 0.1])}, rows(0, 0, 1))
    assert [result["score"] for result in results] == pytest.approx([0.6, 0.1])
    assert [result["label"] for result in results] == ["match", "no"]


def test_a_score_that_is_not_a_number_gives_null_and_counts_as_a_miss():
    component = txt_match()
    out = {"logits": torch.tensor([math.nan, math.nan, -1.0]), "match": torch.tensor([1, 0, 0])}
    decoded = component.decode(out, rows(0, 1, 2))
    assert decoded[0] == {"label": None, "score": None}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1, 2), decoded)
    scores = metrics.compute()
    assert scores["acc"] == pytest.approx(1 / 3)
    assert scores["recall"] == scores["f1_best"] == 0.0


def test_a_truth_of_nan_or_below_zero_is_unknown():
    component = txt_match()
    out = {
        "logits": torch.tensor([1.0, 1.0, 1.0]),
        "match": torch.tensor([math.nan, -100.0, 1.0]),
    }
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1, 2), component.decode(out, rows(0, 1, 2)))
    assert metrics.compute()["acc"] == 1.0


def test_logits_and_truths_of_another_shape_are_refused():
    component = txt_match()
    with pytest.raises(DlkError, match=r"got \(1, 2\): set the decoder's output_size to 1, or use"):
        component.decode({"logits": torch.zeros(1, 2)}, rows(0))
    out = {"logits": torch.zeros(2), "match": torch.zeros(2, 3)}
    with pytest.raises(DlkError, match="one number per row for 2 rows, got 6"):
        component.new_metrics().update(out, rows(0, 1), component.decode(out, rows(0, 1)))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"labels": ["same"]}, "expected two different names"),
        ({"labels": ["same", "same"]}, "expected two different names"),
        ({"threshold": -0.5}, r"a sigmoid lies in 0\.\.1, got -0\.5"),
        ({"threshold": 1.5}, r"expected a number in \[-1, 1\] or search, got 1\.5"),
        ({"threshold": "find"}, "or search, got 'find'"),
        ({"threshold": True}, "got True"),
        ({"threshold": float("nan")}, "got nan"),
        ({"columns": ["score"]}, "already has the key score"),
    ],
)
def test_fields_that_do_not_fit_are_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        txt_match(**values)


def test_scores_that_are_no_cosines_are_refused_where_they_are_measured():
    match = torch.tensor([1.0, 0.0])
    with pytest.raises(DlkError, match=r'"identity" is for cosines, in -1\.\.1, got 5: set link'):
        measured(txt_match(link="identity"), torch.tensor([0.5, 5.0]), match)
    found = measured(txt_match(link="identity"), torch.tensor([1.004, -math.inf]), match)
    assert found["auc"] == 1.0
    assert measured(txt_match(), torch.tensor([9.0, -9.0]), match)["auc"] == 1.0
