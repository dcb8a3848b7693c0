"""Hashed sums: an embedding whose table is much smaller than the vocabulary.

Source: Serrà and Karatzoglou 2017, "Getting Deep Recommenders Fit: Bloom Embeddings for Sparse
Binary Input/Output Networks", arXiv:1706.03993, §3.1. Departure on purpose: a row is drawn for each
hash function with its own multiplier instead of double hashing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.registry import register
from dlk_bloom.configs import BloomEmbeddingConfig

# Odd 31-bit multipliers and offsets of the hash functions: drawn once, fixed for ever, since a
# checkpoint means nothing under other hashes.
MULTIPLIERS = (
    1540483477, 1812433253, 1664525001, 1103515245, 1597334677, 1431655789, 1779033703, 1013904223,
)  # fmt: skip
OFFSETS = (
    374761393, 668265263, 1274126177, 2246822519, 3266489917, 40503, 2654435769, 97,
)  # fmt: skip
PRIME = (1 << 31) - 1


def hashed(num_ids: int, rows: int, num_hashes: int) -> Tensor:
    """Return each id's rows, (num_ids, num_hashes) int64 in [0, rows)."""
    ids = torch.arange(1, num_ids + 1).unsqueeze(1)  # (V, 1)
    multipliers = torch.tensor(MULTIPLIERS[:num_hashes])
    offsets = torch.tensor(OFFSETS[:num_hashes])
    return (ids * multipliers + offsets) % PRIME % rows  # (V, K)


@register("embedding", "bloom")
class BloomEmbedding(Embedding):
    """The sum of `num_hashes` table rows for each id, then dropout."""

    rows: Tensor

    def __init__(self, config: BloomEmbeddingConfig) -> None:
        super().__init__(config)
        self.table = nn.Embedding(config.rows, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        # Follows from the config alone, so no checkpoint holds it.
        rows = hashed(config.vocab_size, config.rows, config.num_hashes)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Look vectors up.

        Args:
            x: holds `input_ids` (B, T) int64 in [0, vocab_size) and `attention_mask` (B, T) bool.

        Returns:
            `embedding` (B, T, D), zero where the mask is false, and `embedding_mask` (B, T) bool.
        """
        ids = self.read(x, "input_ids")
        mask = self.read(x, "attention_mask").bool()
        vectors = self.table(self.rows[ids]).sum(-2)  # (B, T, K, D) -> (B, T, D)
        vectors = self.dropout(vectors) * mask.unsqueeze(-1)
        return self.write(embedding=vectors, embedding_mask=mask)
