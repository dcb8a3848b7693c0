"""The options of core's encoders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dlk.config import (
    MISSING,
    Base,
    BoolField,
    FloatField,
    IntField,
    MapField,
    Signature,
    StrField,
    cregister,
)


@cregister("encoder", "identity")
class IdentityEncoderConfig(Base):
    """Nothing: the embedding's vectors go to the decoder as they are."""

    def signature(self) -> Signature:
        return Signature()


@cregister()
class VectorEncoderConfig(Base):
    """What encoders share that map vectors of one width to vectors of another."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(value=MISSING, minimum=1, help="width of a vector written")
    input_map = MapField({"embedding": "embedding"}, help="batch names read")
    output_map = MapField({"embedding": "embedding"}, help="batch names written")

    def signature(self) -> Signature:
        """What the maps name, and the widths."""
        return replace(
            Base.signature(self),
            takes={self.input_map["embedding"]: self.input_size},
            gives={self.output_map["embedding"]: self.output_size},
        )


@cregister("encoder", "linear")
class LinearEncoderConfig(VectorEncoderConfig):
    """A linear map of each vector."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(value=MISSING, minimum=1, help="width of a vector written")
    bias = BoolField(value=True, help="add a learnt vector")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of what is read that training drops"
    )
    input_map = MapField({"embedding": "embedding"}, help="batch names read")
    output_map = MapField({"embedding": "embedding"}, help="batch names written")


@cregister("encoder", "lstm")
class LSTMEncoderConfig(VectorEncoderConfig):
    """An LSTM, in one direction or both, that never reads padding."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(
        value=MISSING, minimum=1, help="width of a vector written: the sum of both directions"
    )
    num_layers = IntField(value=1, minimum=1, help="layers on top of each other")
    bidirectional = BoolField(value=True, help="read backwards as well")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share dropped in training between layers"
    )
    dropout_last = BoolField(value=True, help="drop the same share of what is written")
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
    )
    output_map = MapField({"embedding": "embedding"}, help="batch names written")

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.bidirectional and self.output_size % 2:
            yield (
                "output_size",
                "expected an even number, half for each direction, "
                f"got {self.output_size}; or set bidirectional to false.",
            )


@cregister("encoder", "transformer")
class TransformerEncoderConfig(VectorEncoderConfig):
    """Transformer blocks: every kept position attends to all kept ones of its row."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(
        value=MISSING,
        minimum=1,
        help="width of a vector written, and of the blocks; a linear map leads from another width",
    )
    num_layers = IntField(value=2, minimum=1, help="blocks on top of each other")
    num_heads = IntField(value=4, minimum=1, help="heads of attention; they share output_size")
    inner_size = IntField(
        value=0, minimum=0, help="width inside of the feed-forward parts; 0: 4 * output_size"
    )
    norm = StrField(
        value="pre",
        options=["pre", "post"],
        help="normalise before each part, or after its shortcut (which wants a warm-up)",
    )
    active = StrField(
        value="gelu", options=["gelu", "relu", "swiglu"], help="activation of feed-forward parts"
    )
    position = StrField(
        value="rotary",
        options=["rotary", "sinusoidal", "none"],
        help="how the order is known: by turning queries and keys, by added waves, or not at all",
    )
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share dropped in training, in every part"
    )
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
    )
    output_map = MapField({"embedding": "embedding"}, help="batch names written")

    def rules(self) -> Iterable[tuple[str, str]]:
        width, heads = self.output_size, self.num_heads
        if width % heads:
            yield "num_heads", f"expected a divisor of output_size ({width}), got {heads}."
        elif self.position == "rotary" and width // heads % 2:
            yield (
                "num_heads",
                "rotary turns pairs of entries: expected heads of an even width, "
                f"got {width} / {heads} = {width // heads}.",
            )
        if self.position == "sinusoidal" and width % 2:
            yield "output_size", f"sinusoidal positions need an even width, got {width}."
