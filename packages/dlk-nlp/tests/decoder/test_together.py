"""The decoders of text tasks inside of core's `multi_decoder`."""

from typing import ClassVar

import pytest
import torch

from dlk.config import make
from dlk.errors import ConfigError
from dlk.nn.base import merge
from dlk.registry import register
from dlk.testing import DecoderConformance

CRF = {"input_size": 8, "output_size": 3}
SPANS = {"input_size": 8, "hidden_size": 4, "output_size": 2}
BOTH = {
    "@decoder@linear_crf#tags": CRF,
    "@decoder@biaffine#relation": {**SPANS, "output_map": {"logits": "relation_logits"}},
}
MASK = torch.tensor([[True, True, True], [True, False, False]])
BATCH = {
    "embedding": torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)),
    "embedding_mask": MASK,
    "label_ids": torch.tensor([[1, 2, 0], [2, -100, -100]]),
}


class TestConformance(DecoderConformance):
    component = ("decoder", "multi_decoder")
    config: ClassVar = {
        "@decoder@biaffine#entity": {**SPANS, "output_map": {"logits": "entity_logits"}},
        "@decoder@biaffine#relation": {
            **SPANS,
            "multi_matrix": 2,
            "rotary": True,
            "output_map": {"logits": "relation_logits"},
        },
    }


def test_a_crf_inside_gives_its_loss_and_its_path_and_learns():
    both = register.build(make("decoder", "multi_decoder", BOTH))
    out = both(BATCH)
    assert {"logits", "loss", "relation_logits"} <= set(out)
    out["loss"].sum().backward()
    crf = both.decoders["tags"].crf
    assert all(parameter.grad is not None for parameter in crf.parameters())
    both.eval()
    with torch.no_grad():
        alone = both.decoders["tags"]
        found = both.predict(merge(BATCH, both(BATCH), writer=both))
        expected = alone.predict(merge(BATCH, alone(BATCH), writer=alone))
    assert torch.equal(found["predict_seq_label"], expected["predict_seq_label"])
    assert (found["predict_seq_label"][~MASK] == -1).all()


def test_without_other_names_the_clash_is_told():
    with pytest.raises(ConfigError, match='decoders "tags" and "relation" both write "logits"'):
        make(
            "decoder",
            "multi_decoder",
            {"@decoder@linear_crf#tags": CRF, "@decoder@biaffine#relation": SPANS},
        )
