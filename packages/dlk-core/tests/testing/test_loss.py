"""Losses that are wrong on purpose fail the check that is meant for them."""

import re
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cross_entropy

from dlk.config import cregister
from dlk.nn.loss.base import LossOut, PairLoss
from dlk.nn.loss.configs import PairLossConfig
from dlk.registry import register
from dlk.testing import LossConformance

PAIR = {"pred_truth_pair": {"logits": "label_ids"}}


class Right(PairLoss):
    """Plain cross entropy."""

    def forward(self, logits, target):
        return cross_entropy(logits, target)


def checks(name: str, *faults: type) -> type:
    @cregister("loss", name)
    class _Config(PairLossConfig):
        """A loss for the tests of the kit."""

    register("loss", name)(type(name, (*faults, Right), {}))
    return type("Checks", (LossConformance,), {"component": ("loss", name), "config": PAIR})


class IgnoresItsSchedule:
    def factor(self, ctx):
        return 1.0


class ScalesEvaluation:
    def factor(self, ctx):
        return self.scale[0]


class AdvancesItsStage:
    stage = 0

    def factor(self, ctx):
        if not ctx.training:
            return 1.0
        self.stage += 1
        return self.scale[min(self.stage // 3, len(self.scale) - 1)] + self.stage * 1e-3


class CountsBatches:
    def items(self, logits, target):
        return 1.0


class WeighsNothing:
    def items(self, logits, target):
        return 0.0


class DividesByTheBatchAgain:
    def forward(self, logits, target):
        return super().forward(logits, target) / len(logits)


class KeepsItsTermsAttached:
    def compute(self, out, ctx):
        total, _, weight = super().compute(out, ctx)
        return LossOut(total, {"loss": total}, weight)


class SumsNothing:
    def forward(self, logits, target):
        return cross_entropy(logits, target, reduction="none")


class TeachesNothing:
    def forward(self, logits, target):
        return super().forward(logits.detach(), target) + 0 * logits.sum()


class ReadsMore:
    def compute(self, out, ctx):
        out.get("of_somebody_else")
        return super().compute(out, ctx)


class ChangesTheTarget:
    def forward(self, logits, target):
        loss = super().forward(logits, target)
        target.zero_()
        return loss


class KeepsALooseTensor:
    def __init__(self, config):
        super().__init__(config)
        self.weight = torch.ones(3)


FAULTS = [
    (IgnoresItsSchedule, {"the_schedule_scales_training_alone"}, r"multiply total by self\.factor"),
    (ScalesEvaluation, {"the_schedule_scales_training_alone"}, "must not touch evaluation"),
    (
        AdvancesItsStage,
        {"the_schedule_scales_training_alone", "it_keeps_no_state_and_changes_nothing"},
        "keep no state between calls",
    ),
    (CountsBatches, {"the_weight_makes_means_of_batches_exact"}, "what the mean was divided by"),
    (WeighsNothing, {"a_loss_is_a_scalar_with_detached_terms"}, "number of items"),
    (
        DividesByTheBatchAgain,
        {"the_weight_makes_means_of_batches_exact"},
        "what the mean was divided by",
    ),
    (KeepsItsTermsAttached, {"a_loss_is_a_scalar_with_detached_terms"}, 'detach the term "loss"'),
    (SumsNothing, {"a_loss_is_a_scalar_with_detached_terms"}, "total must be a scalar"),
    (TeachesNothing, {"gradients_reach_every_output_read"}, 'no finite gradient reaches "logits"'),
    (ReadsMore, {"the_signature_is_true"}, r"reads \['of_somebody_else'\]"),
    (
        ChangesTheTarget,
        {"it_keeps_no_state_and_changes_nothing", "the_weight_makes_means_of_batches_exact"},
        'changes "label_ids" in place',
    ),
    (KeepsALooseTensor, {"tensors_are_registered"}, "register weight as buffer"),
]


def test_what_is_right_passes_every_check(failures):
    assert failures(checks("right")) == {}


@pytest.mark.parametrize(("fault", "expected", "message"), FAULTS)
def test_a_fault_is_found_by_its_check(fault, expected, message, failures):
    found = failures(checks(fault.__name__, fault))
    assert expected <= set(found)
    assert any(re.search(message, text) for text in found.values())


def test_a_mean_that_cannot_be_taken_apart_may_say_so(failures):
    class Checks(checks("counts_batches_on_purpose", CountsBatches)):
        is_mean_of_items = False
        config: ClassVar = PAIR

    assert failures(Checks) == {}
