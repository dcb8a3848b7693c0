"""The collate of span tasks: sparse cells to dense matrices of targets, one write for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlk.data.data_collate.default import DefaultDataCollate
from dlk.data.ragged import Ragged
from dlk.errors import DataError, did_you_mean
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup
    from dlk.nlp.data_collate.configs import Matrix, SpanDataCollateConfig

__all__ = ["SpanDataCollate"]


@register("data_collate", "span")
class SpanDataCollate(DefaultDataCollate):
    """Adds to `default` the matrices that the config declares.

    A matrix is int64 (B, L, L), or (B, M, L, L) with M > 1 layers, L being the width of its mask:
    the id of each cell named by its column, 0 elsewhere, and `fill` (-100, which losses ignore)
    where one of the two units is masked or, with `triangle`, the second stands before the first.
    Data to predict has no cells, and then there is no matrix.
    """

    def __init__(self, config: SpanDataCollateConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.matrices = config.made()
        self.padding.update((matrix.cells, -1) for matrix in self.matrices.values())

    def __call__(self, items: Mapping[str, Ragged]) -> dict[str, Tensor]:
        """Return the batch; see `DataCollate.__call__`.

        Raises:
            DataError: a mask is missing or not (B, L), or a cell lies outside of its matrix.
        """
        batch = super().__call__(items)
        for name, matrix in self.matrices.items():
            if matrix.cells in items:
                mask = _mask(name, matrix, batch)
                dense = _dense(name, matrix, items[matrix.cells], mask)
                batch[name] = torch.from_numpy(dense)
        return batch


def _mask(name: str, matrix: Matrix, batch: Mapping[str, Tensor]) -> NDArray[np.bool_]:
    """Return the mask (B, L) of a matrix.

    Raises:
        DataError: it is missing, or has another shape.
    """
    if matrix.mask not in batch:
        raise DataError(
            f'the matrix "{name}" needs the mask "{matrix.mask}": name it in key_type_pairs, as '
            f'"bool", or in gen_mask. {did_you_mean(matrix.mask, batch)}'.rstrip()
        )
    mask = batch[matrix.mask]
    if mask.ndim != 2:
        raise DataError(f'the mask "{matrix.mask}" must be (B, L), got {tuple(mask.shape)}')
    kept: NDArray[np.bool_] = mask.numpy().astype(np.bool_, copy=False)
    return kept


def _dense(name: str, matrix: Matrix, cells: Ragged, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the targets, (B, L, L) or (B, M, L, L) int64."""
    batch, length = mask.shape
    ignored = ~(mask[:, :, None] & mask[:, None, :])  # (B, L, L)
    if matrix.triangle:
        ignored |= np.tri(length, k=-1, dtype=np.bool_)
    targets: NDArray[np.int64] = np.where(ignored, np.int64(matrix.fill), np.int64(0))
    if matrix.layers > 1:
        targets = np.repeat(targets[:, None], matrix.layers, axis=1)  # (B, M, L, L)
    values = _table(name, matrix, cells)  # (N, 3) or (N, 4)
    if not len(values):
        return targets
    record = np.repeat(np.arange(batch), cells.lengths())  # (N,)
    places = values[:, :-1]
    size = np.array(targets.shape[1:])
    outside = ((places < 0) | (places >= size)).any(axis=1)
    if outside.any():
        raise DataError(
            f'the matrix "{name}" is {tuple(size.tolist())}, and "{matrix.cells}" has the cell '
            f"{values[outside][0].tolist()}: are mask and cells of the same units?"
        )
    targets[(record, *places.T)] = values[:, -1]
    return targets


def _table(name: str, matrix: Matrix, cells: Ragged) -> NDArray[np.int64]:
    """Return all cells of a batch below each other.

    Raises:
        DataError: a cell has another number of numbers.
    """
    if len(cells.values) == 0:
        return np.zeros((0, matrix.width), dtype=np.int64)
    widths = np.diff(cells.offsets[1])
    if (widths != matrix.width).any():
        raise DataError(
            f'the matrix "{name}" with {matrix.layers} layers needs cells of {matrix.width} '
            f'numbers, and "{matrix.cells}" has some of {int(widths[widths != matrix.width][0])}'
        )
    return cells.values.reshape(-1, matrix.width).astype(np.int64, copy=False)
