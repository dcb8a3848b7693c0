"""A table of vectors, learnt from random start values."""

from __future__ import annotations

from dlk.nn.layer.embedding._table import TableEmbedding
from dlk.registry import register


@register("embedding", "random")
class RandomEmbedding(TableEmbedding):
    """Trainable vectors by id; the model's init method draws their start values.

    The row of `padding_idx` is zero and gets no gradient, so it stays zero.
    """
