"""Options of dlk-nlp's collates; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dlk.config import DictField, Signature, cregister
from dlk.data.data_collate.configs import DefaultDataCollateConfig

__all__ = ["Matrix", "SpanDataCollateConfig"]

EXAMPLE = '{"label_ids": {"cells": "span_cells", "mask": "unit_mask", "triangle": true}}'


@dataclass(frozen=True, slots=True)
class Matrix:
    """A dense matrix to make of each record's cells.

    Attributes:
        cells: column of cells, ``[i, j, id]``, or ``[layer, i, j, id]`` with several layers.
        mask: batch name of the mask (B, L) whose units the matrix is over.
        layers: how many matrices a record has; 1: no axis for them.
        triangle: whether cells below the diagonal (a span that ends before it starts) are ignored.
        fill: value of ignored cells.
    """

    cells: str
    mask: str
    layers: int = 1
    triangle: bool = False
    fill: int = -100

    @property
    def width(self) -> int:
        """How many numbers a cell has."""
        return 3 if self.layers == 1 else 4


_KINDS = {"cells": str, "mask": str, "layers": int, "triangle": bool, "fill": int}


@cregister("data_collate", "span")
class SpanDataCollateConfig(DefaultDataCollateConfig):
    """As `default`, and dense matrices over pairs of units, made of sparse cells."""

    matrices = DictField(
        {},
        help="matrices to make: {name: {cells: column, mask: (B, L) name, layers: 1, "
        "triangle: false, fill: -100}}; made only where the cells are there",
    )

    def made(self) -> dict[str, Matrix]:
        """Return the matrices by name."""
        return {name: Matrix(**values) for name, values in self.matrices.items()}

    def declared(self) -> dict[str, int]:
        """Return how deep the rows of each padded column nest; cells are lists of lists."""
        cells = {matrix.cells: 2 for matrix in self.made().values()}
        return {**DefaultDataCollateConfig.declared(self), **cells}

    def signature(self) -> Signature:
        """Reads the columns it names; writes masks and matrices."""
        plain = DefaultDataCollateConfig.signature(self)
        matrices = self.made()
        own = [matrix.mask for matrix in matrices.values() if matrix.mask not in plain.writes]
        cells = {name: matrix.cells for name, matrix in matrices.items()}
        return replace(
            plain,
            reads=tuple(dict.fromkeys((*plain.reads, *own))),
            writes=(*plain.writes, *matrices),
            ids={**plain.ids, **cells},
        )

    def rules(self) -> Iterable[tuple[str, str]]:
        """Yield matrices that are not described as `Matrix` says, and names that clash."""
        wrong = list(self._wrong())
        if wrong:
            yield from wrong
            return
        yield from DefaultDataCollateConfig.rules(self)
        taken = {*DefaultDataCollateConfig.declared(self), *self.key_no_padding}
        for name, matrix in self.made().items():
            if name in taken or name in self.gen_mask.values():
                yield "matrices", f'the matrix "{name}" has the name of a column or mask'
            if matrix.cells in taken:
                yield "matrices", f'"{matrix.cells}" is padded here: name it nowhere else'

    def _wrong(self) -> Iterable[tuple[str, str]]:
        for name, values in self.matrices.items():
            reason = _reason(values)
            if reason:
                yield "matrices", f'"{name}": {reason}, such as {EXAMPLE}'


def _reason(values: Any) -> str:
    """Return what is wrong with the description of a matrix; empty: nothing."""
    if not isinstance(values, Mapping):
        return f"expected an object, got {values!r}"
    unknown = sorted(set(values) - set(_KINDS))
    if unknown:
        return f"there is no {', '.join(unknown)}; expected some of {', '.join(_KINDS)}"
    for key in ("cells", "mask"):
        if not values.get(key):
            return f'expected "{key}"'
    for key, value in values.items():
        if type(value) is not _KINDS[key]:
            return f'"{key}" is {value!r}, expected {_KINDS[key].__name__}'
    if values.get("layers", 1) < 1:
        return f'"layers" is {values["layers"]}, expected at least 1'
    return ""
