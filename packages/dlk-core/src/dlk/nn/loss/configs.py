"""The options of core's losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from dlk.config import (
    Base,
    BoolField,
    DictField,
    FloatField,
    IntField,
    ListField,
    MapField,
    Signature,
    StrField,
    cregister,
    many,
)


@cregister()
class LossConfig(Base):
    """What all losses share: how much they weigh in which part of a run, and their name in logs."""

    schedule: list[float] = ListField(
        value=[1.0],
        help="where each stage ends, as ascending shares of all optimizer steps, in (0, 1]",
    )
    scale: list[float] = ListField(
        value=[1.0], help="factor of the loss in each stage, in training only"
    )
    log_map = MapField({"loss": "loss"}, help="name of the loss in logs")

    def rules(self) -> Iterable[tuple[str, str]]:
        ends, factors = self.schedule, self.scale
        if not ends or not all(_is_number(end) and 0 < end <= 1 for end in ends):
            yield "schedule", f"expected shares in (0, 1], at least one, got {ends}."
        elif any(a >= b for a, b in pairwise(ends)):
            yield "schedule", f"expected ascending shares, got {ends}."
        if not all(_is_number(factor) for factor in factors):
            yield "scale", f"expected numbers, got {factors}."
        elif len(factors) != len(ends):
            yield "scale", f"expected one factor for each of {len(ends)} stages, got {factors}."


@cregister()
class PairLossConfig(LossConfig):
    """What losses share that compare one output with one target."""

    pred_truth_pair: dict[str, Any] = DictField(
        value={}, help="the output and the batch name it is compared with, one pair"
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from LossConfig.rules(self)
        pair = self.pred_truth_pair
        if len(pair) != 1 or not all(isinstance(truth, str) and truth for truth in pair.values()):
            example = '{"logits": "label_ids"}'
            yield "pred_truth_pair", f"expected one pair, such as {example}, got {dict(pair)}."

    def signature(self) -> Signature:
        ((pred, truth),) = self.pred_truth_pair.items()
        return Signature(reads=(pred,), targets=(truth,))

    def weighed(self, weights: list[float] | None) -> Signature:
        """Return the signature of a loss whose output scores classes, each of some weight."""
        plain = PairLossConfig.signature(self)
        return replace(plain, takes={plain.reads[0]: len(weights)} if weights else {})


@cregister("loss", "cross_entropy")
class CrossEntropyLossConfig(PairLossConfig):
    """Cross entropy of scores and class ids."""

    weight: list[float] | None = ListField(
        value=None,  # type: ignore[arg-type]  # intc's types know no addition
        additions=[None],
        help="weight of each class; null: all 1",
    )
    label_smoothing = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the target spread over all classes"
    )
    ignore_index = IntField(value=-100, help="target that adds neither loss nor gradient")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from PairLossConfig.rules(self)
        yield from _weight_rules("weight", self.weight)

    def signature(self) -> Signature:
        return replace(self.weighed(self.weight), scores=dict(self.pred_truth_pair))


@cregister("loss", "focal")
class FocalLossConfig(PairLossConfig):
    """Cross entropy that fades the examples the model already gets right."""

    gamma = FloatField(value=2.0, minimum=0.0, help="how fast easy examples fade; 0: cross entropy")
    weight: list[float] | None = ListField(
        value=None,  # type: ignore[arg-type]  # intc's types know no addition
        additions=[None],
        help="weight of each class; null: all 1",
    )
    ignore_index = IntField(value=-100, help="target that adds neither loss nor gradient")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from PairLossConfig.rules(self)
        yield from _weight_rules("weight", self.weight)

    def signature(self) -> Signature:
        return replace(self.weighed(self.weight), scores=dict(self.pred_truth_pair))


@cregister("loss", "bce")
class BCELossConfig(PairLossConfig):
    """Binary cross entropy of scores (before the sigmoid) and targets in [0, 1]."""

    pos_weight: list[float] | None = ListField(
        value=None,  # type: ignore[arg-type]  # intc's types know no addition
        additions=[None],
        help="weight of the positives of each label; null: all 1",
    )
    ignore_index = FloatField(
        value=-100.0, help="target that, as NaN, adds neither loss nor gradient"
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from PairLossConfig.rules(self)
        yield from _weight_rules("pos_weight", self.pos_weight)

    def signature(self) -> Signature:
        return replace(self.weighed(self.pos_weight), alike=dict(self.pred_truth_pair))


@cregister("loss", "mse")
class MSELossConfig(PairLossConfig):
    """Mean squared error; targets that are NaN, so not known, add neither loss nor gradient."""


@cregister("loss", "info_nce")
class InfoNCELossConfig(LossConfig):
    """Tells each vector's partner from the other rows of the batch."""

    input_map = MapField(
        {"a": "embedding_a", "b": "embedding_b", "match": "", "id_a": "", "id_b": ""},
        help="batch names: the vectors of both sides; 1 where a row's two belong together, else 0 "
        '("": all do); numbers that say which texts are the same ("": all differ)',
    )
    temperature = FloatField(
        value=0.05, minimum=1e-4, help="what scores are divided by: smaller is stricter"
    )
    symmetric = BoolField(value=True, help="ask for the partner from both sides, not from a alone")
    normalize = BoolField(value=True, help="score by the cosine; off: by the scalar product")

    def rules(self) -> Iterable[tuple[str, str]]:
        yield from LossConfig.rules(self)
        for key in ("a", "b"):
            if not self.input_map[key]:
                yield "input_map", f'"{key}": the vectors cannot be left out'

    def signature(self) -> Signature:
        names = self.input_map
        targets = tuple(names[key] for key in ("match", "id_a", "id_b") if names[key])
        return Signature(reads=(names["a"], names["b"]), targets=targets)


@cregister("loss", "identity")
class IdentityLossConfig(LossConfig):
    """The loss that the model itself wrote."""

    loss = StrField(value="loss", help="name under which the model wrote it")
    weight = StrField(
        value="",
        help="name under which it wrote how many items each row stands for (B,), so that a mean "
        'over tokens stays one over several batches; "": one',
    )

    def signature(self) -> Signature:
        return Signature(reads=(self.loss, self.weight) if self.weight else (self.loss,))


@cregister("loss", "multi_loss")
class MultiLossConfig(LossConfig):
    """Several losses at once."""

    children = {"loss": many(minimum=1)}  # a declaration, never changed

    loss_collect = StrField(value="sum", options=["sum"], help="how the losses become one")

    def signature(self) -> Signature:
        parts = [config.signature() for config in _losses(self)]
        return Signature(
            reads=tuple(dict.fromkeys(name for part in parts for name in part.reads)),
            targets=tuple(dict.fromkeys(name for part in parts for name in part.targets)),
        )


def _losses(config: MultiLossConfig) -> list[Any]:
    from dlk.config import children

    return list(children(config, "loss").values())


def _weight_rules(name: str, weight: list[float] | None) -> Iterable[tuple[str, str]]:
    if weight is not None and not (weight and all(_is_number(w) and w >= 0 for w in weight)):
        yield name, f"expected numbers >= 0, one for each class, or null, got {weight}."


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
