"""The options of core's models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlk.config import (
    Base,
    BoolField,
    Chain,
    FloatField,
    IntField,
    MapField,
    Signature,
    StrField,
    child,
    cregister,
    one,
)


@cregister("model", "basic")
class BasicModelConfig(Base):
    """Embedding, encoder and decoder, one after the other."""

    children = {  # a class attribute of a config is its declaration
        "embedding": one(),
        "encoder": one(default="identity"),
        "decoder": one(default="identity"),
        "initmethod": one(default="default"),
    }

    def signature(self) -> Signature:
        """What the parts read that no earlier part wrote, and all that they write."""
        return Signature.chain(part.signature() for part in self._parts())

    def chains(self) -> tuple[Chain, ...]:
        return (Chain(self._parts()),)

    def _parts(self) -> tuple[Any, ...]:
        return tuple(child(self, family) for family in ("embedding", "encoder", "decoder"))


@cregister("model", "bi_encoder")
class BiEncoderModelConfig(Base):
    """Two inputs through one embedding and encoder, to vectors compared by their cosine."""

    children = {
        "embedding": one(),
        "encoder": one(default="identity"),
        "initmethod": one(default="default"),
    }

    pool = StrField(
        value="mean",
        options=["first", "mean", "max"],
        help="make one vector of each side's kept ones",
    )
    input_size: int | None = IntField(
        value=None, minimum=1, additions=[None], help="with output_size: width of the pooled vector"
    )
    output_size: int | None = IntField(
        value=None,
        minimum=1,
        additions=[None],
        help="project the pooled vector to this width; null: take it as it is",
    )
    scale = FloatField(value=1.0, minimum=1e-4, help="what the cosine is multiplied by")
    bias = FloatField(value=0.0, help="what is added then")
    learn_scale = BoolField(
        value=False, help="learn scale and bias, from the values given here, by a loss on logits"
    )
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"},
        help="what the parts call the vectors and their mask",
    )
    output_map = MapField(
        {"embedding_a": "embedding_a", "embedding_b": "embedding_b", "logits": "logits"},
        help="batch names written",
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        if (self.input_size is None) != (self.output_size is None):
            yield "output_size", "a projection needs both input_size and output_size"

    def part_reads(self) -> tuple[str, ...]:
        """Names that embedding and encoder read, without the sides' endings."""
        return Signature.chain(part.signature() for part in self._parts()).reads

    def signature(self) -> Signature:
        """What the parts read, once for each side; the vectors and their cosine."""
        vectors = (self.output_map[f"embedding_{side}"] for side in ("a", "b"))
        return Signature(
            reads=tuple(f"{name}_{side}" for side in ("a", "b") for name in self.part_reads()),
            writes=tuple(name for name in self.output_map.values() if name),
            gives={n: self.output_size for n in vectors if n} if self.output_size else {},
        )

    def chains(self) -> tuple[Chain, ...]:
        names = self.input_map
        inner = {names["embedding"]: self.input_size, names["embedding_mask"]: None}
        return tuple(
            Chain(self._parts(), side=f"_{side}", inner=inner, private=True) for side in ("a", "b")
        )

    def _parts(self) -> tuple[Any, ...]:
        return tuple(child(self, family) for family in ("embedding", "encoder"))
