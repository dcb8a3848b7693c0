from typing import ClassVar

import pytest
import torch
from torch import Tensor

from dlk.config import Base, MapField, Signature, cregister, make
from dlk.errors import ConfigError, DlkError
from dlk.nn.base import Batch, merge
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register
from dlk.testing import DecoderConformance

LINEAR = {"input_size": 8, "output_size": 2}
TWO = {
    "@decoder@linear#tags": {**LINEAR, "output_map": {"logits": "tag_logits"}},
    "@decoder@linear#topic": {**LINEAR, "pool": "mean", "output_map": {"logits": "topic_logits"}},
}
BATCH = {
    "embedding": torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)),
    "embedding_mask": torch.tensor([[True, True, False], [True, False, False]]),
}


@cregister("decoder", "with_a_loss")
class WithALossConfig(Base):
    """As a CRF is: a loss where the truth is known, and a best path in predict alone."""

    input_map = MapField({"embedding": "embedding", "label_ids": "label_ids"}, help="names read")
    output_map = MapField({"loss": "loss", "best": "best"}, help="names written")

    def signature(self) -> Signature:
        return Signature(
            reads=(self.input_map["embedding"],),
            targets=(self.input_map["label_ids"],),
            writes=tuple(self.output_map.values()),
        )


@register("decoder", "with_a_loss")
class WithALoss(Decoder):
    def forward(self, x: Batch) -> dict[str, Tensor]:
        target = self.optional(x, "label_ids")
        if target is None:
            return {}
        return self.write(loss=self.read(x, "embedding").sum(-1).sub(target).square().mean(1))

    def predict(self, x: Batch) -> dict[str, Tensor]:
        return self.write(best=self.read(x, "embedding").argmax(-1))


@cregister("decoder", "reads_another")
class ReadsAnotherConfig(Base):
    """Doubles what an earlier decoder wrote."""

    input_map = MapField({"logits": "tag_logits"}, help="names read")
    output_map = MapField({"logits": "doubled"}, help="names written")


@register("decoder", "reads_another")
class ReadsAnother(Decoder):
    def forward(self, x: Batch) -> dict[str, Tensor]:
        return self.write(logits=2 * self.read(x, "logits"))


def decoder(**children: object):
    return register.build(make("decoder", "multi_decoder", children))


class TestConformance(DecoderConformance):
    component = ("decoder", "multi_decoder")
    config: ClassVar = TWO


def test_each_decoder_writes_what_it_writes_alone():
    both = decoder(**TWO)
    out = both(BATCH)
    assert set(out) == {"tag_logits", "topic_logits"}
    for alias, name in (("tags", "tag_logits"), ("topic", "topic_logits")):
        assert torch.equal(out[name], both.decoders[alias](BATCH)[name])


def test_a_decoder_inside_gives_its_loss_in_forward_and_its_path_in_predict():
    both = decoder(**{"@decoder@with_a_loss#crf": {}, **TWO})
    x = {**BATCH, "label_ids": torch.ones(2, 3)}
    out = both(x)
    assert set(out) == {"loss", "tag_logits", "topic_logits"}
    found = both.predict(merge(x, out, writer=both))
    assert set(found) == {"best"}
    without = both(BATCH)
    assert "loss" not in without
    assert set(both.predict(merge(BATCH, without, writer=both))) == {"best"}
    signature = make("decoder", "multi_decoder", {"@decoder@with_a_loss#crf": {}}).signature()
    assert signature.targets == ("label_ids",)
    assert "label_ids" not in signature.reads


def test_a_decoder_may_read_what_an_earlier_one_wrote():
    both = decoder(**TWO, **{"@decoder@reads_another": {}})
    out = both(BATCH)
    assert torch.equal(out["doubled"], 2 * out["tag_logits"])
    signature = make("decoder", "multi_decoder", {**TWO, "@decoder@reads_another": {}}).signature()
    assert signature.reads == ("embedding", "embedding_mask")
    late = decoder(**{"@decoder@reads_another": {}}, **TWO)
    with pytest.raises(DlkError, match='reads "tag_logits"'):
        late(BATCH)


def test_two_decoders_that_write_one_name_are_both_named():
    clash = {"@decoder@linear#entity": LINEAR, "@decoder@linear#relation": LINEAR}
    with pytest.raises(
        ConfigError, match=r'decoders "entity" and "relation" both write "logits".*output_map'
    ):
        make("decoder", "multi_decoder", clash)


def test_two_of_a_name_need_an_alias_and_none_is_too_few():
    with pytest.raises(ConfigError, match='two decoder are called "linear"; give them an #alias'):
        make(
            "decoder",
            "multi_decoder",
            {"@decoder@linear": LINEAR, "@decoder@identity#linear": {}},
        )
    with pytest.raises(ConfigError, match='needs a child "@decoder@…"'):
        make("decoder", "multi_decoder", {})


def test_what_a_decoder_declares_may_be_replaced_in_the_batch():
    both = decoder(**{"@decoder@linear": {**LINEAR, "output_map": {"logits": "embedding"}}})
    assert both.writes == {"embedding"}
    assert merge(BATCH, both(BATCH), writer=both)["embedding"].shape == (2, 3, 2)


def test_decoders_stand_inside_of_decoders():
    inner = {"@decoder@linear#a": {**LINEAR, "output_map": {"logits": "deep"}}}
    out = decoder(**TWO, **{"@decoder@multi_decoder#inner": inner})(BATCH)
    assert set(out) == {"tag_logits", "topic_logits", "deep"}
