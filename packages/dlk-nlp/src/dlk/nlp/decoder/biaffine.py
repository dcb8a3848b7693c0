"""Scores of all spans, or pairs, of units by a biaffine form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dlk.nlp.module.biaffine import Biaffine
from dlk.nn.base import Batch
from dlk.nn.layer.decoder.base import Decoder
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nlp.decoder.configs import BiaffineDecoderConfig


@register("decoder", "biaffine")
class BiaffineDecoder(Decoder):
    """`module.biaffine.Biaffine` over the kept units; see there for the form and the options."""

    def __init__(self, config: BiaffineDecoderConfig) -> None:
        super().__init__(config)
        self.biaffine = Biaffine(
            config.input_size,
            config.hidden_size,
            config.output_size,
            matrices=config.multi_matrix,
            active=config.active,
            dropout=config.dropout,
            bias=config.bias,
            rank=config.rank or 0,
            use_rotary=config.rotary,
            width_size=config.width_size,
            chunk_size=config.chunk_size,
        )

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Score all pairs.

        Args:
            x: holds `embedding` (B, L, input_size) float and `embedding_mask` (B, L) bool; padding
                may stand anywhere.

        Returns:
            `logits` (B, L, L, output_size), or (B, multi_matrix, L, L, output_size) with several
            matrices: [i, j] is the pair from unit i to unit j. Where i or j is not kept, class 0
            has the score 0 and all others -10000 (a single class has -10000).
        """
        vectors = self.read(x, "embedding", width=self.biaffine.start.in_features)
        return self.write(logits=self.biaffine(vectors, self.read(x, "embedding_mask").bool()))
