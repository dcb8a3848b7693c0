import pytest
import torch

from dlk.nlp.module.logits_gather import LogitsGather

LAYERS = [torch.full((1, 2), float(number)) for number in range(4)]


def test_layers_come_under_their_names_as_they_are():
    found = LogitsGather({"low": 0, "top": -1}, prefix="layer_")(LAYERS)
    assert found == {"layer_low": LAYERS[0], "layer_top": LAYERS[3]}


def test_nothing_asked_for_is_nothing_found():
    assert LogitsGather({})(LAYERS) == {}


@pytest.mark.parametrize("number", [4, -5])
def test_a_layer_that_is_not_there_is_named(number):
    with pytest.raises(ValueError, match=f'"x" is to be layer {number}, but there are 4'):
        LogitsGather({"x": number})(LAYERS)
