from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from dlk.config import make
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.scheduler.base import Scheduler

NAMES = ["constant", "constant_warmup", "linear_warmup", "cosine_warmup"]
WARM = NAMES[1:]


def scheduler(name: str, **values: object) -> Scheduler:
    return register.build(make("scheduler", name, values))


def optimizer() -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


@pytest.mark.parametrize("name", WARM)
@settings(deadline=None)
@given(warmup=st.integers(1, 50), total=st.integers(1, 100))
def test_the_rise_is_even_and_reaches_one_at_its_last_step(name, warmup, total):
    made = scheduler(name, num_warmup_steps=warmup)
    factors = [made.factor(step, total) for step in range(warmup)]
    assert factors == [pytest.approx((step + 1) / warmup) for step in range(warmup)]
    assert made.factor(warmup - 1, total) == 1.0


@pytest.mark.parametrize("name", WARM)
@settings(deadline=None)
@given(warmup=st.integers(0, 50), total=st.integers(1, 100))
def test_after_the_rise_the_factor_never_rises_again(name, warmup, total):
    made = scheduler(name, num_warmup_steps=warmup)
    factors = [made.factor(step, total) for step in range(warmup, max(warmup, total) + 5)]
    assert all(a >= b for a, b in pairwise(factors))


@pytest.mark.parametrize("name", WARM)
def test_a_share_is_a_share_of_the_run_and_a_whole_number_counts_steps(name):
    share, whole = scheduler(name, num_warmup_steps=0.25), scheduler(name, num_warmup_steps=5)
    assert [share.factor(s, 20) for s in range(25)] == [whole.factor(s, 20) for s in range(25)]


@pytest.mark.parametrize(("share", "total", "steps"), [(0.1, 70, 7), (0.07, 100, 7), (0.1, 71, 8)])
def test_a_share_is_rounded_up_but_not_by_the_error_of_a_product(share, total, steps):
    made = scheduler("constant_warmup", num_warmup_steps=share)
    assert [made.factor(step, total) for step in range(10)].index(1.0) == steps - 1


@pytest.mark.parametrize("zero", [0, 0.0])
def test_without_a_rise_the_first_step_has_the_full_rate(zero):
    assert scheduler("linear_warmup", num_warmup_steps=zero).factor(0, 10) == 1.0


@pytest.mark.parametrize("given_", [1.0, 100.0, -1, -0.1, True, "100", None])
def test_what_is_neither_share_nor_steps_is_refused(given_):
    with pytest.raises(ConfigError, match=r"num_warmup_steps: expected a share.*whole number"):
        scheduler("linear_warmup", num_warmup_steps=given_)


@pytest.mark.parametrize("name", NAMES)
def test_by_epoch_the_run_is_counted_in_epochs(name):
    made = scheduler(name, interval="epoch")
    assert made.interval == "epoch"
    used = optimizer()
    stepped = made.build(used, total_steps=95, steps_per_epoch=10)  # 9.5 epochs are 10
    rates = []
    for _ in range(10):
        rates.append(used.param_groups[0]["lr"])
        used.step()
        stepped.step()
    assert rates == [pytest.approx(made.factor(epoch, 10)) for epoch in range(10)]


@pytest.mark.parametrize("name", ["linear_warmup", "cosine_warmup"])
@pytest.mark.parametrize("total", [0, -1])
def test_a_run_of_unknown_length_is_refused_where_the_length_matters(name, total):
    with pytest.raises(DlkError, match="max_epochs or max_steps"):
        scheduler(name).build(optimizer(), total_steps=total, steps_per_epoch=10)


def test_a_run_of_unknown_length_is_fine_where_it_does_not_matter():
    for made in (scheduler("constant"), scheduler("constant_warmup", num_warmup_steps=2)):
        made.build(optimizer(), total_steps=-1, steps_per_epoch=0)
    with pytest.raises(DlkError, match="depends on the number of steps"):
        scheduler("constant_warmup", num_warmup_steps=0.1).build(
            optimizer(), total_steps=-1, steps_per_epoch=0
        )


@pytest.mark.parametrize("name", NAMES)
def test_rates_and_what_a_checkpoint_holds_are_those_of_torchs_lambda_lr(name):
    def groups():
        return [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.3)]

    made = scheduler(name)
    ours, theirs = SGD(groups()), SGD(groups())
    stepped = made.build(ours, total_steps=12, steps_per_epoch=4)
    peer = LambdaLR(theirs, lambda step: made.factor(step, 12))
    for _ in range(14):
        ours.step()
        theirs.step()
        stepped.step()
        peer.step()
        assert stepped.get_last_lr() == peer.get_last_lr()
        assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups]
        assert stepped.state_dict() == peer.state_dict()
    again = made.build(SGD(groups()), total_steps=12, steps_per_epoch=4)
    again.load_state_dict(peer.state_dict())
    assert again.last_epoch == 14


def test_a_schedule_that_moves_before_the_optimizer_is_warned_of():
    stepped = scheduler("constant").build(optimizer(), total_steps=3, steps_per_epoch=1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        stepped.step()
