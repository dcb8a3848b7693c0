"""Parts that are wrong on purpose fail the check that is meant for them, and say what to do."""

import itertools
import os
import re
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from dlk.config import Base, IntField, MapField, Signature, cregister
from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.nn.layer.embedding.base import Embedding
from dlk.nn.layer.encoder.base import Encoder
from dlk.nn.model.base import Model
from dlk.registry import register
from dlk.testing import (
    DecoderConformance,
    EmbeddingConformance,
    EncoderConformance,
    ModelConformance,
)
from dlk.testing.nn import vector_inputs


class Right(Encoder):
    """Adds to each vector what it projects of the mean of the row's kept ones."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.linear = nn.Linear(8, 8)

    def context(self, vectors: Tensor, mask: Tensor) -> Tensor:
        kept = mask.unsqueeze(-1)
        return (vectors * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        vectors, mask = self.read(x, "embedding"), self.read(x, "embedding_mask")
        return self.write(embedding=vectors + self.linear(self.context(vectors, mask)))


def checks(name: str, *faults: type, fields: type = Base, **attributes: object) -> type:
    """Register an encoder that is right but for its faults, and return its checks."""

    @cregister("encoder", name)
    class _Config(fields):
        """An encoder for the tests of the kit."""

        input_map = MapField(
            {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
        )
        output_map = MapField({"embedding": "embedding"}, help="batch names written")

    register("encoder", name)(type(name, (*faults, Right), {}))
    return type("Checks", (EncoderConformance,), {"component": ("encoder", name), **attributes})


def test_what_is_right_passes_every_check(failures):
    assert failures(checks("right")) == {}


class MeanOverPadding:
    def context(self, vectors, mask):
        return vectors.mean(1, keepdim=True) + 0 * mask.sum()


class MeanOverRows:
    def context(self, vectors, mask):
        return vectors[:, :1].mean(0, keepdim=True).expand(len(vectors), 1, -1)


class ReadsMore:
    def forward(self, x):
        return {
            "embedding": super().forward(x)["embedding"]
            + x.get("of_somebody_else", torch.zeros(1)).sum()
        }


class ReadsAll:
    def forward(self, x):
        return super().forward(dict(x))


class ReadsLess:
    def forward(self, x):
        return self.write(embedding=self.linear(self.read(x, "embedding")))


class WritesMore:
    def forward(self, x):
        out = super().forward(x)
        return {**out, "attention": out["embedding"].detach()}


class WritesLess:
    def forward(self, x):
        self.linear(self.context(self.read(x, "embedding"), self.read(x, "embedding_mask")))
        return {}


class CutsTheGraph:
    def context(self, vectors, mask):
        return super().context(vectors, mask).detach()

    def forward(self, x):
        vectors, mask = self.read(x, "embedding"), self.read(x, "embedding_mask")
        return self.write(embedding=self.linear(vectors + self.context(vectors, mask)).detach())


class CutsTheInput:
    def forward(self, x):
        return super().forward({k: v.detach() for k, v in dict(x).items() if k[0] == "e"})


class NeverUsesAWeight:
    def __init__(self, config):
        super().__init__(config)
        self.pooler = nn.Linear(8, 8)


class Freezes:
    def __init__(self, config):
        super().__init__(config)
        self.linear.bias.requires_grad_(False)


class ForgetsABuffer:
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("noise", torch.randn(8), persistent=False)

    def context(self, vectors, mask):
        return super().context(vectors, mask) + self.noise


class ForgetsANumber:
    seen = 0.0

    def context(self, vectors, mask):
        if self.training:
            self.seen += 1.0
        return super().context(vectors, mask) + self.seen


class ChangesItsInput:
    def context(self, vectors, mask):
        with torch.no_grad():
            vectors[mask] += 0.5
        return super().context(vectors.clone(), mask)


class KeepsALooseTensor:
    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.ones(1)


class SeedsItself:
    def __init__(self, config):
        super().__init__(config)
        nn.init.constant_(self.linear.bias, float(int.from_bytes(os.urandom(3), "big")))


class DrawsFromElsewhere:
    counter = itertools.count()

    def context(self, vectors, mask):
        return super().context(vectors, mask) + (float(next(self.counter)) if self.training else 0)


FAULTS = [
    (MeanOverPadding, {"padding_changes_nothing", "neighbours_change_nothing"}, "use the mask"),
    (MeanOverRows, {"neighbours_change_nothing"}, "across rows"),
    (ReadsMore, {"the_signature_is_true"}, "reads of_somebody_else.*does not declare"),
    (ReadsAll, {"the_signature_is_true"}, "reads _index, of_somebody_else"),
    (ReadsLess, {"the_signature_is_true"}, "declares to read embedding_mask, but never does"),
    (WritesMore, {"the_signature_is_true"}, "writes attention, embedding, its signature"),
    (
        WritesLess,
        {
            "the_signature_is_true",
            "gradients_reach_what_should_learn",
            "gradients_reach_the_inputs",
        },
        "writes nothing, its signature",
    ),
    (
        CutsTheGraph,
        {"gradients_reach_what_should_learn", "gradients_reach_the_inputs"},
        r"no gradient reaches linear\.weight",
    ),
    (
        CutsTheInput,
        {"gradients_reach_the_inputs", "the_signature_is_true"},
        'no gradient reaches the input "embedding"',
    ),
    (NeverUsesAWeight, {"gradients_reach_what_should_learn"}, r"no gradient reaches pooler\."),
    (Freezes, {"gradients_reach_what_should_learn"}, r"linear\.bias is frozen: let it learn"),
    (ForgetsABuffer, {"saving_and_loading_restores_the_outputs"}, "persistent buffer"),
    (ForgetsANumber, {"saving_and_loading_restores_the_outputs"}, "persistent buffer"),
    (
        ChangesItsInput,
        {"the_batch_is_not_changed", "padding_changes_nothing", "neighbours_change_nothing"},
        'changes "embedding" of the batch in place',
    ),
    (KeepsALooseTensor, {"tensors_are_registered"}, "holds scale as plain attributes"),
    (SeedsItself, {"same_seed_gives_the_same_result"}, r"differ in linear\.bias"),
    (DrawsFromElsewhere, {"same_seed_gives_the_same_result"}, "keep no state between calls"),
]


@pytest.mark.parametrize(("fault", "expected", "message"), FAULTS)
def test_a_fault_is_found_by_its_check(fault, expected, message, failures):
    found = failures(checks(fault.__name__, fault))
    assert set(found) == expected
    assert any(re.search(message, text) for text in found.values())


class Pools:
    """Adds up the words of a row, those of the padding, too."""

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        mask = self.read(x, "embedding_mask")
        return self.write(logits=self.linear(self.pooled(self.read(x, "embedding"), mask)))

    def pooled(self, vectors, mask):
        return (vectors * mask.unsqueeze(-1)).sum(1)


class PoolsPadding:
    def pooled(self, vectors, mask):
        return vectors.sum(1) + 0 * mask.sum()


@pytest.mark.parametrize(
    ("family", "conformance"), [("decoder", DecoderConformance), ("model", ModelConformance)]
)
def test_a_faulty_decoder_and_a_faulty_model_are_found(family, conformance, failures):
    base = {"decoder": Decoder, "model": Model}[family]

    @cregister(family, "kit_pools")
    class _Config(Base):
        """Of the tests of the kit."""

        input_map = MapField(
            {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
        )
        output_map = MapField({"logits": "logits"}, help="batch names written")

    made = type("Pooling", (PoolsPadding, Pools, base), {})
    register(family, "kit_pools")(made)
    checks = type(
        "Checks",
        (conformance,),
        {
            "component": (family, "kit_pools"),
            "mask": "embedding_mask",
            "batch": lambda self: vector_inputs(8),
        },
    )
    found = failures(checks)
    assert set(found) == {"padding_changes_nothing", "neighbours_change_nothing"}
    assert f'{family} "kit_pools": padding changes "logits"' in found["padding_changes_nothing"]
    made.pooled = Pools.pooled
    assert failures(checks) == {}


def test_a_target_in_forward_is_found(failures):
    class Supervised:
        def forward(self, x):
            assert "label_ids" in x, "this stands for any error"
            return {"embedding": super().forward(x)["embedding"] + x["label_ids"].sum()}

    @cregister()
    class Targets(Base):
        def signature(self) -> Signature:
            return Signature(
                reads=("embedding", "embedding_mask"),
                writes=("embedding",),
                targets=("label_ids",),
            )

    made = checks("supervised", Supervised, fields=Targets)
    made.batch = lambda self: {
        **EncoderConformance.batch(self),
        "label_ids": torch.zeros(3, dtype=torch.long),
    }
    assert set(failures(made)) == {"forward_runs_without_targets"}


def test_a_parameter_that_learns_though_it_should_not_is_found(failures):
    found = failures(checks("thawed", frozen=("linear",)))
    assert "linear.weight should be frozen" in found.pop("gradients_reach_what_should_learn")
    assert found == {}


def test_a_field_that_nothing_reads_is_found(failures):
    @cregister()
    class Idle(Base):
        width = IntField(value=3, help="how wide the middle is")

    found = failures(checks("idle_field", fields=Idle))
    assert "never reads width" in found.pop("every_field_is_read")
    assert found == {}
    assert failures(checks("idle_field_on_purpose", fields=Idle, unread=("width",))) == {}


@pytest.mark.parametrize("text", [None, "", "width"])
def test_a_field_without_help_is_found(text, failures):
    class Reads:
        def __init__(self, config):
            super().__init__(config)
            self.width = config.width

    @cregister()
    class Bare(Base):
        width = IntField(value=3) if text is None else IntField(value=3, help=text)

    found = failures(checks(f"bare_{text}", Reads, fields=Bare))
    assert set(found) == {"every_field_is_documented"}
    assert 'give the field "width" a help' in found["every_field_is_documented"]


@cregister("embedding", "bad_mask")
class BadMaskConfig(Base):
    """An embedding whose mask is a number."""

    input_map = MapField({"attention_mask": "attention_mask"}, help="batch names read")
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )


@register("embedding", "bad_mask")
class BadMask(Embedding):
    def forward(self, x: Batch) -> dict[str, Tensor]:
        mask = self.read(x, "attention_mask").long()
        return self.write(embedding=torch.zeros(*mask.shape, 2), embedding_mask=mask)


def test_a_mask_that_is_no_bool_is_found(failures):
    class Checks(EmbeddingConformance):
        component = ("embedding", "bad_mask")
        config: ClassVar = {}

    found = failures(Checks)
    assert set(found) == {"vectors_come_with_their_mask"}
    assert "embedding_mask as bool" in found["vectors_come_with_their_mask"]


def test_a_row_that_leads_elsewhere_is_found(failures, monkeypatch):
    class Checks(EmbeddingConformance):
        component = ("embedding", "random")
        config: ClassVar = {"vocab_size": 9, "embedding_dim": 4}

    assert failures(Checks) == {}
    (row,) = (
        entry
        for entry in register.entries()
        if (entry.component.type, entry.component.name) == Checks.component
    )
    wrong = replace(row, component=replace(row.component, cls="dlk.nn.layer.embedding.random:No"))
    monkeypatch.setattr(register, "entries", lambda: [wrong])
    assert set(failures(Checks)) == {"its_row_in_the_table_is_true"}
