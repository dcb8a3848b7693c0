"""A model of one's own: the mean of the words' vectors, and one score for each label.

Source: Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification", arXiv:1607.01759.
"""

from __future__ import annotations

from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.model.base import Model
from dlk.registry import register
from first_example.configs import BagOfWordsConfig


@register("model", "bag_of_words")
class BagOfWords(Model):
    def __init__(self, config: BagOfWordsConfig) -> None:
        super().__init__(config)
        self.vectors = nn.Embedding(config.vocab_size, config.width)
        nn.init.uniform_(self.vectors.weight, -1 / config.width, 1 / config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Linear(config.width, config.num_labels)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Read `input_ids` (B, T) and `attention_mask` (B, T), write `logits` (B, C)."""
        mask = self.read(x, "attention_mask").unsqueeze(-1)  # (B, T, 1)
        vectors = self.vectors(self.read(x, "input_ids")) * mask  # (B, T, D)
        mean = vectors.sum(1) / mask.sum(1).clamp(min=1)  # (B, D)
        return self.write(logits=self.scores(self.dropout(mean)))
