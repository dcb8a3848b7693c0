"""An LSTM that never reads padding.

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; forget gates of Gers et al. 2000.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class PackedLSTM(nn.Module):
    """An LSTM over the kept positions of each row, in their order, wherever the padding stands."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Build the layers.

        Args:
            input_size: width of a vector read.
            hidden_size: width of each direction's output.
            num_layers: layers on top of each other.
            bidirectional: whether a second LSTM reads backwards.
            dropout: share dropped between layers.
        """
        super().__init__()
        self.lstm = nn.LSTM(
            input_size,
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
            batch_first=True,
        )

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Run over the kept positions.

        Args:
            vectors: (B, T, D) float.
            mask: (B, T) bool, true where kept; a row may keep nothing.

        Returns:
            (B, T, hidden_size · directions), zero where not kept.
        """
        width = vectors.shape[1]
        if vectors.shape[0] == 0 or width == 0:
            directions = 2 if self.lstm.bidirectional else 1
            return vectors.new_zeros(*mask.shape, self.lstm.hidden_size * directions)
        # Kept positions move to the front, in their order: packing knows only padding at the end.
        order = torch.argsort((~mask).int(), dim=1, stable=True)  # (B, T)
        front = vectors.gather(1, order.unsqueeze(-1).expand_as(vectors))  # (B, T, D)
        # Packing refuses rows of length 0: they read one position, which is zeroed below.
        lengths = mask.sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(front, lengths, batch_first=True, enforce_sorted=False)
        states, _ = self.lstm(packed)
        out, _ = pad_packed_sequence(states, batch_first=True, total_length=width)  # (B, T, H)
        back = torch.argsort(order, dim=1)
        out = out.gather(1, back.unsqueeze(-1).expand_as(out))  # (B, T, H)
        return torch.where(mask.unsqueeze(-1), out, 0.0)
