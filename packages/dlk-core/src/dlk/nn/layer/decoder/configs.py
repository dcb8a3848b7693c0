"""The options of core's decoders."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    MISSING,
    Base,
    BoolField,
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
