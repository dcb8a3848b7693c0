"""The postprocessor `txt_reg`."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from dlk.config import make
from dlk.context import Setup
from dlk.errors import DlkError
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance


class TestRaw(PostProcessorConformance):
    component = ("postprocessor", "txt_reg")
    config: ClassVar = {"columns": ["uuid"], "predict_extend_return": {"vector": "pooled"}}

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, 1, generator=generator),
            "pooled": torch.randn(count, 2, generator=generator),
            "values": torch.randn(count, generator=generator),
        }


class TestPair(PostProcessorConformance):
    component = ("postprocessor", "txt_reg")
    config: ClassVar = {"data_type": "pair", "input_map": {"value": "score"}}

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, generator=generator),
            "score": torch.rand(count, 1, generator=generator),
        }


def txt_reg(**values):
    return register.build(make("postprocessor", "txt_reg", values), Setup.empty())


def rows(*numbers, **columns):
    return [{"_row": number, "_part": 0, **columns} for number in numbers]


def test_the_value_is_the_model_s_number():
    out = {"logits": torch.tensor([[2.0]])}
    assert txt_reg().decode(out, rows(0, sentence="s")) == [{"sentence": "s", "value": 2.0}]


def test_metrics_are_on_the_scale_of_the_prediction():
    component = txt_reg()
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(90, generator=generator), torch.rand(90, generator=generator)
    metrics = component.new_metrics()
    for start in range(0, 90, 40):
        out = {"logits": logits[start : start + 40], "values": target[start : start + 40]}
        some = rows(*range(start, start + len(out["values"])))
        metrics.update(out, some, component.decode(out, some))
    predicted = logits.double().numpy()
    truth = target.double().numpy()
    scores = metrics.compute()
    assert list(scores) == ["mse", "mae", "pearson", "spearman"]
    expected = {
        "mse": np.mean((predicted - truth) ** 2),
        "mae": np.mean(np.abs(predicted - truth)),
        "pearson": stats.pearsonr(predicted, truth).statistic,
        "spearman": stats.spearmanr(predicted, truth).statistic,
    }
    assert scores == pytest.approx(expected, abs=1e-9)


def test_spearman_of_many_rows_is_that_of_a_sample_of_their_numbers():
    component = txt_reg(rank_cap=3)
    metrics = component.new_metrics()
    out = {"logits": torch.arange(20.0), "values": torch.arange(20.0)}
    some = rows(*range(100, 120))
    metrics.update(out, some, component.decode(out, some))
    kept = metrics.state()["ranks"]
    assert len(set(kept["keys"])) == 3
    assert [key - 100.0 for key in kept["keys"]] == kept["target"]


def test_windows_of_a_row_share_the_mean_of_their_values():
    results = txt_reg().decode({"logits": torch.tensor([1.0, 3.0, 5.0])}, rows(0, 0, 1))
    assert [result["value"] for result in results] == [2.0, 5.0]


def test_a_value_that_is_not_a_number_is_null_and_makes_the_metrics_nan():
    component = txt_reg()
    out = {"logits": torch.tensor([math.nan, 1.0]), "values": torch.tensor([0.0, 1.0])}
    decoded = component.decode(out, rows(0, 1))
    assert [result["value"] for result in decoded] == [None, 1.0]
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1), decoded)
    assert all(math.isnan(score) for score in metrics.compute().values())


def test_a_target_of_nan_is_an_unknown_truth():
    component = txt_reg()
    out = {"logits": torch.tensor([3.0, 1.0]), "values": torch.tensor([math.nan, 1.0])}
    metrics = component.new_metrics()
    metrics.update(out, rows(0, 1), component.decode(out, rows(0, 1)))
    assert metrics.compute()["mse"] == 0.0


def test_logits_of_another_width_say_what_to_set():
    with pytest.raises(DlkError, match=r"got \(2, 3\): use the decoder regression"):
        txt_reg().decode({"logits": torch.zeros(2, 3)}, rows(0, 1))


def test_targets_of_another_shape_are_refused():
    component = txt_reg()
    out = {"logits": torch.zeros(2), "values": torch.zeros(2, 3)}
    with pytest.raises(DlkError, match="one value per row for 2 rows, got 6"):
        component.new_metrics().update(out, rows(0, 1), component.decode(out, rows(0, 1)))
