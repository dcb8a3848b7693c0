"""The options of dlk-nlp's decoders."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import (
    MISSING,
    Base,
    BoolField,
    FloatField,
    IntField,
    MapField,
    StrField,
    cregister,
)


@cregister("decoder", "biaffine")
class BiaffineDecoderConfig(Base):
    """Scores of all spans, or pairs, of units: two views of each vector in a biaffine form."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    hidden_size = IntField(value=150, minimum=1, help="width of the views as a start and as an end")
    output_size = IntField(value=MISSING, minimum=1, help="scores per pair: number of labels")
    multi_matrix = IntField(
        value=1, minimum=1, help="score matrices, each with its own labels; 1: no axis for it"
    )
    active = StrField(
        value="leaky_relu",
        options=["none", "leaky_relu", "relu", "gelu", "glu", "selu", "celu", "elu"],
        help="activation of the two views, after their projections",
    )
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the views' entries dropped in training"
    )
    bias = BoolField(value=True, help="add what is linear in one view, and a constant per label")
    rank: int | None = IntField(
        value=None,
        additions=[None],
        minimum=1,
        help="rank of each label's matrix, for fewer weights and less work; null: full",
    )
    rotary = BoolField(
        value=False,
        help="turn both views by their positions, so that scores know distance and direction",
    )
    width_size = IntField(
        value=0, minimum=0, help="width of a learnt vector per bucket of distances; 0: none"
    )
    chunk_size = IntField(
        value=32,
        minimum=0,
        help="rows of the score matrix made at once, which bounds the memory; 0: all",
    )
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names read"
    )
    output_map = MapField({"logits": "logits"}, help="batch names written")

    def rules(self) -> Iterable[tuple[str, str]]:
        field = "hidden_size" if self.rank is None else "rank"
        width = self.hidden_size if self.rank is None else self.rank
        if self.rotary and width % 2:
            yield field, f"rotary turns pairs of entries: expected an even number, got {width}."
