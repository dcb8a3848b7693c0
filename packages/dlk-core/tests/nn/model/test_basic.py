from typing import ClassVar

import pytest
import torch
from torch import Tensor

from dlk.config import Base, MapField, cregister, make
from dlk.context import Setup
from dlk.errors import ConfigError
from dlk.nn.base import Batch, merge
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register
from dlk.testing import ModelConformance

PARTS = {
    "@embedding@random": {"vocab_size": 10, "embedding_dim": 4},
    "@encoder@lstm": {"input_size": 4, "output_size": 6},
    "@decoder@linear": {"input_size": 6, "output_size": 3, "pool": "mean"},
}
IDS = torch.tensor([[3, 1, 0], [2, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": IDS != 0}


@cregister("decoder", "best_label")
class BestLabelConfig(Base):
    """Scores in forward, the best label in predict."""

    input_map = MapField({"embedding": "embedding"}, help="batch names read")
    output_map = MapField({"logits": "logits", "best": "best"}, help="batch names written")


@register("decoder", "best_label")
class BestLabel(Decoder):
    """Scores in forward, the best label in predict."""

    def forward(self, x: Batch) -> dict[str, Tensor]:
        return self.write(logits=self.read(x, "embedding")[:, 0])

    def predict(self, x: Batch) -> dict[str, Tensor]:
        return self.write(best=x["logits"].argmax(-1))


class TestConformance(ModelConformance):
    component = ("model", "basic")
    config: ClassVar = PARTS


class TestConformanceOfAnEmbeddingAlone(ModelConformance):
    component = ("model", "basic")
    config: ClassVar = {"@embedding@random": {"vocab_size": 10, "embedding_dim": 4}}


class TestConformanceWithPrediction(ModelConformance):
    component = ("model", "basic")
    config: ClassVar = {
        "@embedding@random": {"vocab_size": 10, "embedding_dim": 4},
        "@decoder@best_label": {},
        "@initmethod@range_norm": {"std": 0.5},
    }


def model(parts: dict[str, object], *, pretrained: bool = True):
    return register.build(make("model", "basic", parts), Setup.empty(pretrained=pretrained))


def test_parts_run_in_their_order_whatever_the_order_of_the_config():
    backwards = model(dict(reversed(PARTS.items())))
    out = backwards(BATCH)
    assert list(out) == ["embedding", "embedding_mask", "logits"]
    assert out["embedding"].shape == (2, 3, 6)
    assert out["logits"].shape == (2, 3)


def test_the_signature_follows_the_parts():
    signature = make("model", "basic", PARTS).signature()
    assert signature.reads == ("input_ids", "attention_mask")
    assert signature.writes == ("embedding", "embedding_mask", "logits")


def test_predict_runs_on_the_result_of_forward_without_computing_it_again():
    made = model({"@embedding@random": PARTS["@embedding@random"], "@decoder@best_label": {}})
    out = merge(BATCH, made(BATCH), writer=made)
    made.embedding.forward = None  # predict must not need it
    assert torch.equal(made.predict(out)["best"], out["logits"].argmax(-1))


def test_a_model_may_replace_in_the_batch_what_its_parts_may():
    made = model(
        {"@embedding@identity": {}, "@encoder@linear": {"input_size": 2, "output_size": 3}}
    )
    batch = {"embedding": torch.zeros(1, 1, 2)}
    assert merge(batch, made(batch), writer=made)["embedding"].shape == (1, 1, 3)


def test_the_init_method_runs_once_over_the_new_weights():
    parts = {**PARTS, "@initmethod@range_uniform": {"range_from": 0.25, "range_to": 0.25}}
    made = model(parts)
    assert (made.decoder.linear.weight == 0.25).all()
    assert (made.embedding.embedding.weight[1:] == 0.25).all()


def test_no_start_values_are_drawn_where_weights_come_from_a_checkpoint():
    parts = {**PARTS, "@initmethod@range_uniform": {"range_from": 0.25, "range_to": 0.25}}
    assert not (model(parts, pretrained=False).decoder.linear.weight == 0.25).any()


def test_an_embedding_is_required():
    with pytest.raises(ConfigError, match=r"needs.*@embedding@…"):
        model({"@encoder@identity": {}})
