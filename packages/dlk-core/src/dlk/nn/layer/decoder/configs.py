"""The options of core's decoders."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    MISSING,
    Base,
    BoolField,
    Chain,
    FloatField,
    IntField,
    MapField,
    Signature,
    StrField,
    children,
    cregister,
    many,
)


@cregister("decoder", "identity")
class IdentityDecoderConfig(Base):
    """Nothing: what was written so far is the model's output."""

    def signature(self) -> Signature:
        return Signature()


@cregister("decoder", "linear")
class LinearDecoderConfig(Base):
    """Scores by a linear map: of each vector, or of one pooled from each row."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(value=MISSING, minimum=1, help="scores per vector: number of labels")
    pool: str | None = StrField(
        value=None,
        options=[
            None,
            "first",
            "mean",
            "max",
        ],
        help="make one vector of each row's kept ones first; null: score every position",
    )
    bias = BoolField(value=True, help="add a learnt vector")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the scored vector that training drops"
    )
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"},
        help="batch names read; embedding_mask only by a pool",
    )
    output_map = MapField({"logits": "logits"}, help="batch names written")

    def signature(self) -> Signature:
        names = ("embedding", "embedding_mask") if self.pool else ("embedding",)
        return Signature(
            reads=tuple(self.input_map[name] for name in names),
            writes=(self.output_map["logits"],),
            takes={self.input_map["embedding"]: self.input_size},
            gives={self.output_map["logits"]: self.output_size},
        )


@cregister("decoder", "regression")
class RegressionDecoderConfig(Base):
    """A number of each row, in the label's own unit, for `mse` and `txt_reg`."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    pool = StrField(
        value="mean",
        options=["first", "mean", "max"],
        help="make one vector of each row's kept ones",
    )
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the pooled vector that training drops"
    )
    link = StrField(
        value="identity",
        options=["identity", "sigmoid", "tanh"],
        help="what maps the projected number to the label's scale: mean and std (identity), or a "
        "curve that stays between low and high (sigmoid, tanh)",
    )
    mean = FloatField(value=0.0, help="identity: mean of the labels")
    std = FloatField(
        value=1.0, minimum=1e-9, help="identity: how far the labels spread, so that z is near 1"
    )
    low = FloatField(value=0.0, help="sigmoid, tanh: smallest label")
    high = FloatField(value=1.0, help="sigmoid, tanh: largest label")
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
    )
    output_map = MapField({"logits": "logits"}, help="batch names written")

    def rules(self) -> Iterable[tuple[str, str]]:
        bounded = self.link != "identity"
        if bounded and not self.low < self.high:
            yield "low", f"expected low < high, got {self.low} and {self.high}"
        unused = ("mean", "std") if bounded else ("low", "high")
        defaults = {"mean": 0.0, "std": 1.0, "low": 0.0, "high": 1.0}
        for name in unused:
            if getattr(self, name) != defaults[name]:
                reads = "low and high" if bounded else "mean and std"
                yield name, f'has no effect: the link "{self.link}" reads {reads}'

    def signature(self) -> Signature:
        return Signature(
            reads=(self.input_map["embedding"], self.input_map["embedding_mask"]),
            writes=(self.output_map["logits"],),
            takes={self.input_map["embedding"]: self.input_size},
        )


@cregister("decoder", "multi_decoder")
class MultiDecoderConfig(Base):
    """Several decoders on the same vectors, one after the other; each needs outputs of its own."""

    children = {"decoder": many(minimum=1)}  # a class attribute of a config is its declaration

    def rules(self) -> Iterable[tuple[str, str]]:
        writers: dict[str, str] = {}
        for label, part in children(self, "decoder").items():
            for name in part.signature().writes:
                if name in writers:
                    yield (
                        "",
                        f'the decoders "{writers[name]}" and "{label}" both write "{name}": give '
                        "it another name in the output_map of one of them.",
                    )
                writers.setdefault(name, label)

    def signature(self) -> Signature:
        """What the decoders read that no earlier one wrote, and all that they write."""
        return Signature.chain(part.signature() for part in children(self, "decoder").values())

    def chains(self) -> tuple[Chain, ...]:
        return (Chain(tuple(children(self, "decoder").values())),)
