"""The collate that pads whole batches by one write per column."""

from __future__ import annotations

from collections.abc import Mapping
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

    Lists of which nothing is said are padded with 0. Masks are bool and have their column's shape,
    true where the row has a value, whatever that value is.
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
        self.masks: dict[str, str] = dict(config.gen_mask)

    @property
    def depths(self) -> Mapping[str, int]:
        """How deep the rows of the padded columns nest."""
        return self._depths

    def __call__(self, items: Mapping[str, Ragged]) -> dict[str, Tensor]:
        """Return the batch; see `DataCollate.__call__`. Columns that are absent get no mask either.

        Raises:
            DataError: rows of `key_no_padding` differ in shape, or rows nest deeper than declared.
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
