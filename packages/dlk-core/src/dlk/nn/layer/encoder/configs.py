"""The options of core's encoders."""

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
    cregister,
)


@cregister("encoder", "identity")
class IdentityEncoderConfig(Base):
    """Nothing: the embedding's vectors go to the decoder as they are."""

    def signature(self) -> Signature:
        return Signature()


@cregister("encoder", "linear")
class LinearEncoderConfig(Base):
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
class LSTMEncoderConfig(Base):
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
