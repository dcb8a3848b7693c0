"""The options of dlk-nlp's decoders."""

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
    chunk_size: int | None = IntField(
        value=None,
        additions=[None],
        minimum=0,
        help="rows of the score matrix made at once, which bounds the memory; 0: all; null: as "
        "many as make a million scores",
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

    def signature(self) -> Signature:
        return replace(
            Base.signature(self),
            takes={self.input_map["embedding"]: self.input_size},
            gives={self.output_map["logits"]: self.output_size},
        )


@cregister("decoder", "linear_crf")
class LinearCrfDecoderConfig(Base):
    """A tag for each position by linear scores and a CRF over the tags of a row."""

    input_size = IntField(value=MISSING, minimum=1, help="width of a vector read")
    output_size = IntField(value=MISSING, minimum=1, help="scores per vector: number of tags")
    reduction = StrField(
        value="mean",
        options=["none", "mean", "sum", "token_mean"],
        help="what `loss` is: of each row, the rows' mean or sum, or the sum over all scored "
        "positions divided by their number",
    )
    scheme: str | None = StrField(
        value=None,
        options=[None, "BIO", "BIOES", "IO"],
        help="forbid what this scheme of tags never writes; null: every tag may follow every other",
    )
    label_vocab: str | None = StrField(
        value=None,
        additions=[None],
        help='the tags: vocabulary in the meta folder, as "label_vocab.json"; read for a scheme',
    )
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of the vectors' entries training drops"
    )
    input_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask", "label_ids": "label_ids"},
        help="batch names read; label_ids only where there are any",
    )
    output_map = MapField(
        {
            "logits": "logits",
            "loss": "loss",
            "loss_weight": "loss_weight",
            "predict_seq_label": "predict_seq_label",
            "predict_seq_marginal": "predict_seq_marginal",
            "predict_seq_conditional": "predict_seq_conditional",
        },
        help='batch names written, "" for none; the losses only where there are label_ids',
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.scheme is not None and not self.label_vocab:
            yield "label_vocab", f"scheme {self.scheme} needs the vocabulary of the tags."
        if not self.output_map["logits"]:
            yield "output_map", "logits must have a name: prediction reads them again."

    def signature(self) -> Signature:
        reads = (self.input_map["embedding"], self.input_map["embedding_mask"])
        target = self.input_map["label_ids"]
        return Signature(
            reads=reads,
            targets=(target,) if target else (),
            writes=tuple(name for name in self.output_map.values() if name),
            meta=(self.label_vocab,) if self.scheme and self.label_vocab else (),
            supervised=tuple(self.output_map[key] for key in ("loss", "loss_weight")),
            takes={self.input_map["embedding"]: self.input_size},
            gives={self.output_map["logits"]: self.output_size},
            scores={self.output_map["logits"]: target} if target else {},
        )
