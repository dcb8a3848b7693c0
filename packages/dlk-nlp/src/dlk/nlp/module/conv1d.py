"""Parallel convolutions over a sequence, of several widths, joined on the channel axis.

Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification", arXiv:1408.5882, §2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class Conv1d(nn.Module):
    """Convolutions that keep the length, then GELU (Kim has ReLU), then dropout."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_sizes: Sequence[int] = (3,),
        dropout: float = 0.0,
    ) -> None:
        """Build the convolutions.

        Args:
            in_channels: width of a vector read.
            out_channels: width of a vector written, shared evenly by the kernels.
            kernel_sizes: positions that each convolution sees, odd numbers.
            dropout: share of entries dropped in training.

        Raises:
            ValueError: a kernel is even, or the kernels cannot share `out_channels` evenly.
        """
        super().__init__()
        if not kernel_sizes or any(size < 1 or size % 2 == 0 for size in kernel_sizes):
            raise ValueError(f"expected odd kernel sizes, got {list(kernel_sizes)}")
        share, left = divmod(out_channels, len(kernel_sizes))
        if left:
            raise ValueError(
                f"{len(kernel_sizes)} kernels cannot share {out_channels} channels evenly"
            )
        self.out_channels = out_channels
        self.convolutions = nn.ModuleList(
            nn.Conv1d(in_channels, share, size, padding=size // 2) for size in kernel_sizes
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Run all convolutions.

        Args:
            vectors: (N, L, in_channels) float.
            mask: (N, L) bool, true where kept; what is not kept is read as zero, as what lies
                beyond the ends is.

        Returns:
            (N, L, out_channels), zero where not kept.
        """
        if vectors.shape[1] == 0:  # shorter than any kernel
            return vectors.new_zeros(*mask.shape, self.out_channels)
        kept = mask.unsqueeze(-1)
        x = torch.where(kept, vectors, 0.0).transpose(1, 2)  # (N, in_channels, L)
        joined = torch.cat([each(x) for each in self.convolutions], dim=1)  # (N, out_channels, L)
        out: Tensor = self.dropout(gelu(joined.transpose(1, 2)))  # (N, L, out_channels)
        return torch.where(kept, out, 0.0)
