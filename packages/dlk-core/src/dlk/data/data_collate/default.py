"""The collate that pads whole batches by one write per column."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlk.data.data_collate.base import DataCollate
from dlk.data.data_collate.configs import DefaultDataCollateConfig
from dlk.data.ragged import Ragged
from dlk.errors import DataError
from dlk.registry import register

if TYPE_CHECKING:
    from dlk.context import Setup

__all__ = ["DefaultDataCollate"]


@register("data_collate", "default")
class DefaultDataCollate(DataCollate):
    """Scalars are stacked (B,), lists padded (B, T) and, where declared, (B, T, U) or (B, T, U, V).

    Lists of which nothing is said are padded with 0. Lists of ids of `key_multi_hot` become (B, N)
    float32, 1 at each id and 0 elsewhere: they stay short on disk, however many ids there are.
    Masks are bool and have their column's shape, true where the row has a value, whatever it is.
    """

    def __init__(self, config: DefaultDataCollateConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._depths = config.declared()
        self.padding: dict[str, float] = {
            **config.key_padding_pairs,
            **config.key_padding_pairs_2d,
            **config.key_padding_pairs_3d,
        }
        self.no_padding = frozenset(config.key_no_padding)
        self.multi_hot: dict[str, int] = dict(config.key_multi_hot)
        self.masks: dict[str, str] = dict(config.gen_mask)

    @property
    def depths(self) -> Mapping[str, int]:
        """How deep the rows of the padded and the multi-hot columns nest."""
        return self._depths

    @property
    def length_columns(self) -> Collection[str]:
        """Those with a mask: what a model reads, and no labels, places or tags beside it."""
        return self.masks

    def __call__(self, items: Mapping[str, Ragged]) -> dict[str, Tensor]:
        """Return the batch; see `DataCollate.__call__`. Columns that are absent get no mask either.

        Raises:
            DataError: rows of `key_no_padding` differ in shape, rows nest deeper than declared, or
                an id of `key_multi_hot` is out of range.
        """
        batch: dict[str, Tensor] = {}
        for name, rows in items.items():
            kept = rows.mask() if name in self.masks else None
            batch[name] = torch.from_numpy(self._joined(name, rows, kept))
            if kept is not None:
                batch[self.masks[name]] = torch.from_numpy(kept)
        return batch

    def _joined(
        self, name: str, rows: Ragged, kept: NDArray[np.bool_] | None
    ) -> NDArray[np.generic]:
        if name in self.multi_hot:
            return _multi_hot(name, rows, self.multi_hot[name])
        if name in self.no_padding:
            try:
                return rows.stack()
            except ValueError as error:
                raise DataError(
                    f'column "{name}" is not padded, but its rows differ in shape: {error}'
                ) from error
        if rows.depth > 1 and name not in self._depths:
            raise DataError(
                f'column "{name}" holds lists nested {rows.depth} deep: name it in '
                f"key_padding_pairs_{rows.depth}d, or in key_no_padding"
            )
        return rows.pad(self.padding.get(name, 0), mask=kept)


def _multi_hot(name: str, rows: Ragged, size: int) -> NDArray[np.float32]:
    """Return (B, size), 1 where the row lists the id; a row may list none."""
    if rows.depth != 1 or (rows.values.size and rows.dtype.kind not in "iu"):
        raise DataError(
            f'column "{name}" becomes 0/1 (key_multi_hot), so each row must be a list of ids, '
            f"got rows nested {rows.depth} deep of {rows.dtype}"
        )
    bounds = rows.bounds()
    if bounds is not None and not 0 <= bounds[0] <= bounds[1] < size:
        raise DataError(
            f'column "{name}" holds ids {int(bounds[0])}..{int(bounds[1])}, '
            f"but key_multi_hot says that there are {size}: 0..{size - 1}"
        )
    hot = np.zeros((len(rows), size), dtype=np.float32)
    hot[np.repeat(np.arange(len(rows)), rows.lengths()), rows.values.astype(np.int64)] = 1.0
    return hot
