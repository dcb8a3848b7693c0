import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlk.config import make
from dlk.context import Context
from dlk.errors import ConfigError, DlkError
from dlk.nn.loss.base import Loss
from dlk.registry import register

OUT = {"logits": torch.tensor([1.0, 2.0]), "values": torch.tensor([0.0, 0.0])}


def loss(**changes: object) -> Loss:
    values = {"pred_truth_pair": {"logits": "values"}, **changes}
    return register.build(make("loss", "mse", values))


@settings(deadline=None)
@given(
    cuts=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
    step=st.integers(0, 300),
    total=st.integers(1, 200),
)
def test_the_factor_is_that_of_the_stage_the_run_is_in(cuts, step, total):
    ends = [*sorted(cuts), 1.0]
    factors = [float(number + 1) for number in range(len(ends))]
    progress = min(step / total, 1.0)
    expected = next((f for e, f in zip(ends, factors, strict=True) if progress < e), factors[-1])
    made = loss(schedule=ends, scale=factors)
    assert made.factor(Context(training=True, step=step, total_steps=total)) == expected


def test_a_run_of_unknown_length_stays_in_the_first_stage():
    made = loss(schedule=[0.5, 1.0], scale=[2.0, 3.0])
    assert made.factor(Context(training=True, step=10**6, total_steps=0)) == 2.0


def test_terms_are_not_scaled_and_are_named_by_the_log_map():
    made = loss(scale=[10.0], log_map={"loss": "squares"})
    out = made.compute(OUT, Context(training=True))
    assert out.total.item() == 25.0
    assert {name: term.item() for name, term in out.terms.items()} == {"squares": 2.5}


def test_the_same_config_builds_the_same_loss_again_and_again():
    config = make(
        "loss",
        "mse",
        {"pred_truth_pair": {"logits": "values"}, "schedule": [0.3, 1.0], "scale": [2, 1]},
    )
    totals = [
        register.build(config).compute(OUT, Context(training=True, step=1, total_steps=10)).total
        for _ in range(3)
    ]
    assert len({total.item() for total in totals}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred_truth_pair": {}}, r"expected one pair"),
        ({"pred_truth_pair": {"a": "b", "c": "d"}}, r"expected one pair"),
        ({"pred_truth_pair": {"a": 1}}, r"expected one pair"),
        ({"schedule": []}, r"expected shares in \(0, 1\]"),
        ({"schedule": [0.0, 1.0], "scale": [1, 1]}, r"expected shares in \(0, 1\]"),
        ({"schedule": [1.5]}, r"expected shares in \(0, 1\]"),
        ({"schedule": [True]}, r"expected shares in \(0, 1\]"),
        ({"schedule": [0.5, 0.5], "scale": [1, 1]}, r"expected ascending shares"),
        ({"scale": [1, 2]}, r"one factor for each of 1 stages"),
        ({"scale": ["much"]}, r"expected numbers"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        loss(**changes)


def test_a_name_that_is_not_there_is_reported_with_what_is():
    made = loss(pred_truth_pair={"logit": "values"})
    with pytest.raises(DlkError, match=r'there is no "logit"\. Did you mean "logits"'):
        made.compute(OUT, Context())
