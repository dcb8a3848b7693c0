"""The options of the embedding; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from dlk.config import MISSING, Base, FloatField, IntField, MapField, cregister


@cregister("embedding", "bloom")
class BloomEmbeddingConfig(Base):
    """Sums of hashed rows: a table much smaller than the vocabulary."""

    vocab_size = IntField(value=MISSING, minimum=1, help="number of ids")
    rows = IntField(value=MISSING, minimum=1, help="rows of the table, far below vocab_size")
    embedding_dim = IntField(value=MISSING, minimum=1, help="width of a vector")
    num_hashes = IntField(value=3, minimum=1, maximum=8, help="rows that make up one vector")
    dropout = FloatField(
        value=0.0, minimum=0.0, maximum=1.0, help="share of vector entries dropped in training"
    )
    input_map = MapField(
        {"input_ids": "input_ids", "attention_mask": "attention_mask"}, help="batch names read"
    )
    output_map = MapField(
        {"embedding": "embedding", "embedding_mask": "embedding_mask"}, help="batch names written"
    )

    def rules(self) -> Iterable[tuple[str, str]]:
        if self.rows > self.vocab_size:
            yield (
                "rows",
                f"expected at most vocab_size ({self.vocab_size}), got {self.rows}: "
                'a full table is the embedding "random".',
            )
