"""Word vectors and vectors made of characters, side by side.

Source: Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF",
arXiv:1603.01354, §2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dlk.errors import DlkError
from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.embedding.configs import CombineWordCharCnnConfig


@register("embedding", "combine_word_char_cnn")
class CombineWordCharCnn(Embedding):
    """The vectors of the children `embedding#word` and `embedding#char`, joined, then dropout.

    A position is kept where both keep it; what is not kept is zero.
    """

    def __init__(self, config: CombineWordCharCnnConfig, setup: Setup) -> None:
        super().__init__(config)
        self.embedding_dim: int = config.embedding_dim
        parts = register.build_children(config, "embedding", setup)
        self.word: Embedding = parts["word"]
        self.char: Embedding = parts["char"]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Join the vectors.

        Args:
            x: holds what the children read, such as `input_ids` (B, W), `char_ids` (B, W, C) and
                `attention_mask` (B, W).

        Returns:
            `embedding` (B, W, Dw + Dc), word vectors first, and `embedding_mask` (B, W) bool.

        Raises:
            DlkError: the children write other shapes than each other, or another width than
                `embedding_dim` says.
        """
        words, word_mask = _run(self.word, x)
        chars, char_mask = _run(self.char, x)
        if words.shape[:2] != chars.shape[:2]:
            raise DlkError(
                f"combine_word_char_cnn: #word writes {tuple(words.shape)} and #char "
                f"{tuple(chars.shape)}: each word needs its list of characters"
            )
        mask = word_mask & char_mask
        joined = torch.cat([words, chars], dim=-1)  # (B, W, Dw + Dc)
        if self.embedding_dim not in (0, joined.shape[-1]):
            raise DlkError(
                f"combine_word_char_cnn.embedding_dim: the parts write {words.shape[-1]} + "
                f"{chars.shape[-1]} = {joined.shape[-1]}, got {self.embedding_dim}"
            )
        joined = torch.where(mask.unsqueeze(-1), self.dropout(joined), 0.0)
        return self.write(embedding=joined, embedding_mask=mask)


def _run(part: Embedding, x: Batch) -> tuple[Tensor, Tensor]:
    """Return the vectors and the mask of a child, whatever its output map calls them."""
    out: dict[str, Tensor] = part(x)
    names = (part.output_map.get(name, name) for name in ("embedding", "embedding_mask"))
    vectors, mask = (out[name] for name in names)
    return vectors, mask
