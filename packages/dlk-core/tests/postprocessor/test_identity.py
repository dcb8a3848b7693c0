"""The postprocessor `identity`."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.context import Setup
from dlk.errors import ConfigError, DlkError
from dlk.registry import register
from dlk.testing.postprocessor import PostProcessorConformance


class TestIdentity(PostProcessorConformance):
    component = ("postprocessor", "identity")
    config: ClassVar = {"outputs": ["logits", "picked"], "columns": ["uuid"]}

    def batch(self, count, generator):
        return {
            "logits": torch.randn(count, 2, 3, generator=generator),
            "picked": torch.randint(9, (count,), generator=generator),
        }


class TestIdentityOfNothing(PostProcessorConformance):
    component = ("postprocessor", "identity")

    def batch(self, count, generator):
        return {}


def identity(**values):
    return register.build(make("postprocessor", "identity", values), Setup.empty())


def rows(*numbers):
    return [{"_row": number, "_part": 0} for number in numbers]


def test_outputs_and_columns_are_given_as_they_are():
    component = identity(outputs=["logits"], columns=["uuid", "absent"])
    out = {"logits": torch.tensor([[1.5, float("inf")], [2.0, 3.0]]), "other": torch.zeros(2)}
    given = [{"_row": 4, "_part": 0, "uuid": "a"}, {"_row": 9, "_part": 0, "uuid": "b"}]
    assert component.decode(out, given) == [
        {"uuid": "a", "logits": [1.5, None]},
        {"uuid": "b", "logits": [2.0, 3.0]},
    ]


def test_without_outputs_each_row_is_an_empty_dict():
    assert identity().decode({}, rows(0, 0, 1)) == [{}, {}]


def test_of_several_parts_the_first_is_given():
    out = {"x": torch.tensor([1, 2, 3])}
    assert identity(outputs=["x"]).decode(out, rows(5, 5, 2)) == [{"x": 1}, {"x": 3}]


def test_an_output_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(DlkError, match=r'"logit", which .* there is: logits'):
        identity(outputs=["logit"]).decode({"logits": torch.zeros(1)}, rows(0))


def test_an_output_of_another_length_is_refused():
    with pytest.raises(DlkError, match=r"each of the 2 records, got shape \(1,\)"):
        identity(outputs=["x"]).decode({"x": torch.zeros(1)}, rows(0, 1))


def test_a_name_that_is_column_and_output_is_refused():
    with pytest.raises(ConfigError, match="already named by outputs"):
        identity(outputs=["x"], columns=["x"])


@pytest.mark.parametrize("field", ["outputs", "columns"])
@pytest.mark.parametrize("name", [[], None, 3, "", {}])
def test_a_name_that_is_none_is_refused(field, name):
    with pytest.raises(ConfigError, match="expected names, got"):
        make("postprocessor", "identity", {field: [name]})
