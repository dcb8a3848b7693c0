"""A vector of each word from its characters: a table, a convolution, and the largest values.

Sources: Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF",
arXiv:1603.01354, §2.1; dos Santos & Zadrozny 2014, "Learning Character-level Representations for
Part-of-Speech Tagging".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dlk.errors import DlkError
from dlk.nlp.module.conv1d import Conv1d
from dlk.nn.base import Batch
from dlk.nn.layer.embedding.base import Embedding
from dlk.nn.layer.embedding.static import fill_table
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.embedding.configs import StaticCharCnnConfig


@register("embedding", "static_char_cnn")
class StaticCharCnn(Embedding):
    """Character vectors, dropout, convolutions, then the maximum over the characters of a word.

    A word without characters, and one that is not kept, has the zero vector. The table starts from
    a file where one is named, from random values otherwise.
    """

    def __init__(self, config: StaticCharCnnConfig, setup: Setup) -> None:
        super().__init__(config)
        self.padding_idx: int | None = config.padding_idx
        from_file = any((config.embedding_file, config.embedding_meta))
        self.embedding = (_Table if from_file else nn.Embedding)(
            config.vocab_size, config.embedding_dim, padding_idx=self.padding_idx
        )
        if setup.pretrained and from_file:
            path = config.embedding_file or setup.meta.path(str(config.embedding_meta))
            fill_table(self.embedding.weight, path)
            if self.padding_idx is not None:
                with torch.no_grad():
                    self.embedding.weight[self.padding_idx] = 0.0
        self.embedding.weight.requires_grad_(not config.freeze)
        self.dropout = nn.Dropout(config.dropout)
        self.conv = Conv1d(
            config.embedding_dim,
            config.output_size or config.embedding_dim,
            kernel_sizes=config.kernel_sizes,
        )

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Make one vector per word.

        Args:
            x: holds `char_ids` (B, W, C) int64 in [0, vocab_size), `attention_mask` (B, W) bool,
                true for words, and, if it is mapped, `char_mask` (B, W, C) bool.

        Returns:
            `embedding` (B, W, D) and `embedding_mask` (B, W) bool.

        Raises:
            DlkError: the characters are those of another number of words.
        """
        ids = self.read(x, "char_ids")
        words = self.read(x, "attention_mask").bool()
        if ids.shape[:-1] != words.shape:
            raise DlkError(
                f'static_char_cnn needs a list of characters for each word: "char_ids" (B, W, C) '
                f'and "attention_mask" (B, W), got {tuple(ids.shape)} and {tuple(words.shape)}; '
                "are they made of the same words?"
            )
        chars = self._chars(x, ids) & words.unsqueeze(-1)  # (B, W, C)
        flat = chars.flatten(0, 1)  # (B·W, C)
        vectors = self.dropout(self.embedding(ids.flatten(0, 1)))  # (B·W, C, E)
        states = self.conv(vectors, flat)  # (B·W, C, D)
        largest = highest(states, flat).view(*words.shape, states.shape[-1])  # (B, W, D)
        return self.write(embedding=largest, embedding_mask=words)

    def _chars(self, x: Batch, ids: Tensor) -> Tensor:
        if self.input_map["char_mask"]:
            return self.read(x, "char_mask").bool()
        if self.padding_idx is None:
            return torch.ones_like(ids, dtype=torch.bool)
        return ids != self.padding_idx


class _Table(nn.Embedding):
    """A table that was read from a file, over which no init method draws."""

    keeps_own_init = True


def highest(states: Tensor, mask: Tensor) -> Tensor:
    """Return the largest kept value of each channel.

    Args:
        states: (N, L, D) float.
        mask: (N, L) bool, true where kept.

    Returns:
        (N, D); zero where nothing is kept.
    """
    if states.shape[1] == 0:
        return states.new_zeros(states.shape[0], states.shape[2])
    lowest = torch.finfo(states.dtype).min
    found = torch.where(mask.unsqueeze(-1), states, lowest).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), found, 0.0)
