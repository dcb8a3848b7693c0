"""The options of core's embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dlk.config import (
    MISSING,
    AssetField,
    Base,
    BoolField,
    FloatField,
    IntField,
    MapField,
    Signature,
    StrField,
    cregister,
)


@cregister()
class TableConfig(Base):
    """What embeddings share that look vectors up in a table."""

    vocab_size = IntField(value=MISSING, minimum=1, help="number of ids, so rows of the table")
    embedding_dim = IntField(value=MISSING, minimum=1, help="width of a vector")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of vector entries dropped in training"
    )
    padding_idx: int | None = IntField(
        value=0,
        minimum=0,
        additions=[None],
        help="id of padding, whose vector is zero and stays so; null: no id is padding",
    )
    input_map = MapField(
        {"input_ids": "input_ids", "attention_mask": "attention_mask"},
        help='batch names read; attention_mask "": kept is what is not padding_idx',
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )

    def signature(self) -> Signature:
        """What the maps name; ids lie below `vocab_size`, vectors are `embedding_dim` wide."""
        return replace(
            Base.signature(self),
            ids={self.input_map["input_ids"]: self.vocab_size},
            gives={self.output_map["embedding"]: self.embedding_dim},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.padding_idx is not None and self.padding_idx >= self.vocab_size:
            yield (
                "padding_idx",
                f"expected an id below vocab_size ({self.vocab_size}) or null, "
                f"got {self.padding_idx}.",
            )


@cregister("embedding", "random")
class RandomEmbeddingConfig(TableConfig):
    """A table of vectors, learnt from random start values."""


@cregister("embedding", "static")
class StaticEmbeddingConfig(TableConfig):
    """A table of vectors read from a file, learnt further or kept as it is."""

    embedding_file: str | None = AssetField(
        None,
        additions=[None],
        help="the vectors (vocab_size, embedding_dim): .npy, or .safetensors that holds one tensor",
        bundle=False,
    )
    embedding_meta: str | None = StrField(
        None,
        additions=[None],
        help="in place of embedding_file: name of such a file of the meta folder, "
        "as token_embedding writes it",
    )
    freeze = BoolField(value=False, help="keep the vectors as they are in the file")

    def signature(self) -> Signature:
        """What the maps name, and the file of the meta folder."""
        return with_meta(TableConfig.signature(self), self.embedding_meta)

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield a problem unless there is one place to read the vectors from."""
        yield from TableConfig.rules(self)
        if (self.embedding_file is None) == (self.embedding_meta is None):
            yield (
                "embedding_file",
                "expected embedding_file or embedding_meta, "
                + ("got both" if self.embedding_file else "got neither"),
            )


def with_meta(signature: Signature, file: str | None) -> Signature:
    """Return the signature with a file of the meta folder, if one is named."""
    return replace(signature, meta=(file,)) if file else signature


@cregister("embedding", "identity")
class IdentityEmbeddingConfig(Base):
    """Nothing: the batch holds vectors already."""

    def signature(self) -> Signature:
        return Signature()
