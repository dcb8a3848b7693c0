"""Init methods that are wrong on purpose fail the check that is meant for them."""

import itertools
import re

import pytest
import torch

from dlk.config import cregister
from dlk.nn.initmethod.base import InitMethod
from dlk.nn.initmethod.configs import InitConfig
from dlk.registry import register
from dlk.testing import InitMethodConformance


class Right(InitMethod):
    """Everything from a normal distribution."""

    def linear(self, weight):
        weight.normal_()

    embedding = convolution = recurrent = linear


def checks(name: str, *faults: type) -> type:
    @cregister("initmethod", name)
    class _Config(InitConfig):
        """An init method for the tests of the kit."""

    register("initmethod", name)(type(name, (*faults, Right), {}))
    return type("Checks", (InitMethodConformance,), {"component": ("initmethod", name)})


class DrawsOverPadding:
    def __call__(self, model):
        super().__call__(model)
        with torch.no_grad():
            model.embedding.weight.normal_()


class DrawsOverPretrainedWeights:
    def __call__(self, model):
        super().__call__(model)
        super().__call__(model.pretrained.linear)


class DrawsOverNorms:
    def __call__(self, model):
        super().__call__(model)
        with torch.no_grad():
            for norm in model.norms:
                norm.weight.normal_()


class LeavesConvolutionsOut:
    def convolution(self, weight):
        return


class DrawsTooMuch:
    def linear(self, weight):
        weight.fill_(float("inf"))


class Freezes:
    def __call__(self, model):
        super().__call__(model)
        model.linear.requires_grad_(False)


class CountsUp:
    counter = itertools.count()

    def linear(self, weight):
        weight.fill_(float(next(self.counter)))


FAULTS = [
    (DrawsOverPadding, "the_padding_row_is_zero", "must be zero"),
    (DrawsOverPretrainedWeights, "what_keeps_its_own_values_is_left_alone", "keeps_own_init"),
    (DrawsOverNorms, "norms_start_as_identity", r"weight of a norm must start at 1\.0"),
    (LeavesConvolutionsOut, "weights_are_drawn_anew", r"leaves convolution\.weight"),
    (DrawsTooMuch, "start_values_are_finite_and_trainable", "is not finite"),
    (Freezes, "start_values_are_finite_and_trainable", r"freezes linear\."),
    (CountsUp, "same_seed_gives_the_same_values", "differs"),
]


def test_what_is_right_passes_every_check(failures):
    assert failures(checks("right")) == {}


@pytest.mark.parametrize(("fault", "expected", "message"), FAULTS)
def test_a_fault_is_found_by_its_check(fault, expected, message, failures):
    found = failures(checks(fault.__name__, fault))
    assert re.search(message, found[expected])
