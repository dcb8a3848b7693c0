"""Correlation of ranks, in memory that does not grow with the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlk.metrics._blocks import Blocks
from dlk.metrics.regression import Floats, paired

__all__ = ["RankCorrelation"]

Keys = NDArray[np.uint64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Columns = tuple[NDArray[Any], ...]  # Any: keys and numbers

DEFAULT_CAP = 1_000_000
BLOCK = 32_768
"""Rows that wait in memory until they go to a temporary file together."""

_PREDICTION, _TARGET, _ORDERED_TARGET = 1, 2, 3  # columns of a block; 0: keys
_BIN_BITS = 16


class _Rows(NamedTuple):
    """Columns of some rows."""

    keys: Keys
    prediction: Singles
    target: Singles

    def where(self, kept: NDArray[Any]) -> _Rows:  # Any: positions, or which are kept
        return _Rows(self.keys[kept], self.prediction[kept], self.target[kept])


class RankCorrelation:
    """Spearman's correlation: Pearson's of the ranks, ties sharing their mean rank.

    Values are compared as float32; from there to the last division all is counted in integers, so
    that any order, split and merging gives the same bits. Ranks need all values: those of some
    thousand rows are in memory, the others in a temporary file, 20 bytes a row. A value's rank is
    searched for in each block of that file, so time grows with the square of the rows.

    Beyond `cap` rows the correlation is that of a sample: the `cap` rows whose hashed keys are
    smallest, a choice that depends neither on order nor on how the data was split. Its standard
    error is about ``1 / sqrt(cap)`` where nothing correlates, and less where something does.
    """

    def __init__(self, cap: int = DEFAULT_CAP) -> None:
        """`cap`: the most rows kept, 0 for all."""
        if cap < 0:
            raise ValueError(f"cap must be >= 0, got {cap}")
        self.cap = cap
        self.missing = 0
        self._limit: np.uint64 | None = None
        self._empty()

    def update(self, prediction: Floats, target: Floats, keys: Keys) -> None:
        """Count one batch.

        Args:
            prediction: (N,) numbers; one that is not finite counts as missing.
            target: (N,) finite numbers.
            keys: (N,) ints >= 0, different for each row of the data: its row number.

        Raises:
            ValueError: the shapes differ, or a target is not finite.
        """
        prediction, target = paired(prediction, target)
        numbers = np.asarray(keys).astype(np.uint64)
        if numbers.shape != target.shape:
            raise ValueError(f"keys must be {target.shape}, got {numbers.shape}")
        known = np.isfinite(prediction)
        self.missing += int((~known).sum())
        rows = _Rows(numbers, prediction.astype(np.float32), target.astype(np.float32))
        self._add(rows.where(known))

    def compute(self) -> dict[str, float]:
        """`spearman` in -1..1; {} before the first row."""
        if self.missing:
            return {"spearman": math.nan}
        if not self._held:
            return {}
        self._sample()
        last, written = _block(self._joined()), len(self._blocks)

        def read(block: int, column: int) -> NDArray[Any]:  # Any: keys or numbers
            return last[column] if block == written else self._blocks.read(block, column)

        def off_centre(block: int, column: int, ordered: int) -> Ints:
            """Return twice what the rank of each value of a block lies above the mean rank."""
            values = read(block, column)
            order = values.argsort()  # values in order are found several times faster
            searched = values[order]
            below: Ints = np.full(values.size, -self._held, dtype=np.int64)
            for each in range(written + 1):
                run = read(each, ordered)
                below += np.searchsorted(run, searched, side="left")
                below += np.searchsorted(run, searched, side="right")
            found = np.empty_like(below)
            found[order] = below
            return found

        square_p = square_t = product = 0
        for block in range(written + 1):
            off_p = off_centre(block, _PREDICTION, _PREDICTION)
            off_t = off_centre(block, _TARGET, _ORDERED_TARGET)
            square_p += _dot(off_p, off_p, self._held)
            square_t += _dot(off_t, off_t, self._held)
            product += _dot(off_p, off_t, self._held)
        if not square_p or not square_t:
            return {"spearman": 0.0}
        return {"spearman": max(-1.0, min(1.0, product / math.sqrt(square_p * square_t)))}

    def state(self) -> dict[str, Any]:  # Any: plain numbers and lists of them
        self._sample()
        state: dict[str, list[Any]] = {name: [] for name in _Rows._fields}  # Any: numbers
        for part in _parts(self._blocks, self._joined()):
            for name in _Rows._fields:
                state[name] += getattr(part, name).tolist()
        return {**state, "missing": self.missing}

    def merge(self, state: Mapping[str, Any]) -> None:  # Any: as `state`
        """Add the rows of another part of the data."""
        self.missing += state["missing"]
        for start in range(0, len(state["keys"]), BLOCK):
            some = slice(start, start + BLOCK)
            self._add(
                _Rows(
                    np.asarray(state["keys"][some], dtype=np.uint64),
                    np.asarray(state["prediction"][some], dtype=np.float32),
                    np.asarray(state["target"][some], dtype=np.float32),
                )
            )

    def _empty(self) -> None:
        nothing = np.empty(0, np.float32)
        self._blocks = Blocks()
        self._waiting = [_Rows(np.empty(0, np.uint64), nothing, nothing)]
        self._waits = self._held = 0

    def _add(self, rows: _Rows) -> None:
        if self._limit is not None:  # of a sample: what comes after its last row is not kept
            rows = rows.where(_hash(rows.keys) <= self._limit)
        if not rows.keys.size:
            return
        self._waiting.append(rows)
        self._waits += rows.keys.size
        self._held += rows.keys.size
        if self._waits >= BLOCK:
            self._blocks.append(*_block(self._joined()))
            self._waiting, self._waits = self._waiting[:1], 0
        if self.cap and self._held > 2 * self.cap:
            self._sample()

    def _joined(self) -> _Rows:
        """Return the rows that wait."""
        keys, prediction, target = zip(*self._waiting, strict=True)
        return _Rows(np.concatenate(keys), np.concatenate(prediction), np.concatenate(target))

    def _sample(self) -> None:
        """Keep the `cap` rows whose hashed keys are smallest; equal keys go by their values."""
        if not self.cap or self._held <= self.cap:
            return
        counts: Ints = np.zeros(2**_BIN_BITS, dtype=np.int64)
        for part in _parts(self._blocks, self._joined()):
            counts += np.bincount(_bin(part.keys), minlength=counts.size)
        summed = counts.cumsum()
        last = int(np.searchsorted(summed, self.cap))  # the bin in which the sample ends
        wanted = self.cap - int(summed[last] - counts[last])
        blocks, waiting = self._blocks, self._joined()
        self._empty()
        edge = []
        for part in _parts(blocks, waiting):
            place = _bin(part.keys)
            self._add(part.where(place < last))
            edge.append(part.where(place == last))
        keys, prediction, target = map(np.concatenate, zip(*edge, strict=True))
        hashes = _hash(keys)
        kept = np.lexsort((target, prediction, hashes))[:wanted]
        self._add(_Rows(keys, prediction, target).where(kept))
        self._limit = hashes[kept[-1]]


def _parts(blocks: Blocks, waiting: _Rows) -> Iterator[_Rows]:
    """Yield all rows, a block at a time."""
    for block in range(len(blocks)):
        yield _Rows(*(blocks.read(block, column) for column in range(3)))
    yield waiting


def _block(rows: _Rows) -> Columns:
    """Return what is kept of some rows: in order of the predictions, and the targets in order."""
    ordered = rows.where(rows.prediction.argsort())
    return (*ordered, np.sort(rows.target))


def _dot(a: Ints, b: Ints, bound: int) -> int:
    """Return the exact inner product of integers that lie between -bound and bound."""
    size = max(1, 2**62 // bound**2)
    return sum(int(a[i : i + size] @ b[i : i + size]) for i in range(0, a.size, size))


def _bin(keys: Keys) -> Ints:
    """Return the first bits of the hashed keys."""
    return (_hash(keys) >> np.uint64(64 - _BIN_BITS)).astype(np.int64)


def _hash(keys: Keys) -> Keys:
    """SplitMix64's finaliser: neighbouring keys land far apart.

    Source: Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators", fig. 16.
    """
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
