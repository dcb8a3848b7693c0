"""An LSTM, in one direction or both, that never reads padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dlk.nn.base import Batch
from dlk.nn.layer.encoder.base import Encoder
from dlk.nn.module.packed_lstm import PackedLSTM
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.nn.layer.encoder.configs import LSTMEncoderConfig


@register("encoder", "lstm")
class LSTMEncoder(Encoder):
    """LSTM states of both directions side by side: `output_size` is their sum."""

    def __init__(self, config: LSTMEncoderConfig) -> None:
        super().__init__(config)
        self.lstm = PackedLSTM(
            config.input_size,
            config.output_size // (2 if config.bidirectional else 1),
            num_layers=config.num_layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout if config.dropout_last else 0.0)

    def forward(self, x: Batch) -> dict[str, Tensor]:
        """Run over the kept positions.

        Args:
            x: holds `embedding` (B, T, input_size) float and `embedding_mask` (B, T) bool; the
                padding may stand anywhere, a row may keep nothing.

        Returns:
            `embedding` (B, T, output_size), zero where not kept.
        """
        vectors = self.read(x, "embedding", width=self.lstm.lstm.input_size)
        mask = self.read(x, "embedding_mask").bool()
        return self.write(embedding=self.dropout(self.lstm(vectors, mask)))
