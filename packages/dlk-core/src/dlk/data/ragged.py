"""Rows of unequal length as flat values and offsets.

A batch is taken by one gather and padded by one write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_DEPTH", "Pieces", "Ragged", "no_numbers_in"]

MAX_DEPTH = 3
_AT_ONCE = 256  # rows made plain at a time while all are gone through

Array = NDArray[Any]


class Ragged(Sequence[Any]):
    """N rows, each a scalar (depth 0) or a list nested 1 to 3 deep.

    As a sequence it holds the rows as plain numbers and lists.

    The item i of a level spans ``offsets[level][i] : offsets[level][i + 1]`` of the next level; the
    last level is `values`. A row of depth 2 is ``[[1, 2], [], [3]]``. Rows may be empty at any
    level.

    Args:
        values: (total,) numbers or booleans, all rows one after the other.
        offsets: one array per level, outermost first; each starts with 0 and never falls.

    Raises:
        ValueError: an array has the wrong shape, or offsets do not cover the level below.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: Array, offsets: Sequence[Array] = ()) -> None:
        if len(offsets) > MAX_DEPTH:
            raise ValueError(
                f"rows nest at most {MAX_DEPTH} deep, got {len(offsets)} levels of offsets"
            )
        if values.ndim != 1:
            raise ValueError(f"values must be flat, got shape {values.shape}")
        below = len(values)
        for level in reversed(range(len(offsets))):
            edges = offsets[level]
            if edges.ndim != 1 or len(edges) == 0 or edges[0] != 0 or edges[-1] != below:
                raise ValueError(
                    f"offsets of level {level} do not cover the {below} items below them"
                )
            below = len(edges) - 1
        self.values = values
        self.offsets: tuple[Array, ...] = tuple(offsets)

    @property
    def depth(self) -> int:
        """How deep a row nests: 0 for scalars."""
        return len(self.offsets)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.offsets[0]) - 1 if self.offsets else len(self.values)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or the rows of a slice, as `tolist` does."""
        if isinstance(index, slice):
            return self.take(range(len(self))[index]).tolist()
        row = range(len(self))[index]
        bounds = np.array([row, row + 1])
        levels = []
        for edges in self.offsets:
            bounds = edges[bounds[0] : bounds[-1] + 1]
            levels.append((bounds - bounds[0]).tolist())
        items: list[Any] = self.values[bounds[0] : bounds[-1]].tolist()
        for ends in reversed(levels):
            items = [items[start:end] for start, end in pairwise(ends)]
        return items[0]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, depth {self.depth}, {self.dtype})"

    @classmethod
    def _made(cls, values: Array, offsets: tuple[Array, ...]) -> Ragged:
        """Return rows from parts that are known to fit, without looking at them again."""
        made = cls.__new__(cls)
        made.values, made.offsets = values, offsets
        return made

    def lengths(self) -> NDArray[np.int64]:
        """Return (N,) int64, the items of each row at its outermost level; 1 for scalars."""
        if not self.offsets:
            return np.ones(len(self.values), dtype=np.int64)
        return _lengths(self.offsets[0]).astype(np.int64, copy=False)

    def take(self, indices: Sequence[int] | Array) -> Ragged:
        """Return the rows of `indices`, in that order; one gather per level, no loop over rows."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(
                f"rows 0 to {len(self) - 1} can be taken, got {chosen.min()} to {chosen.max()}"
            )
        return self.gather(chosen)

    def gather(self, chosen: NDArray[np.int64]) -> Ragged:
        """Return the rows of `chosen` as `take` does, of which all are known to be there."""
        taken: list[Array] = []
        for edges in self.offsets:
            starts = edges[chosen]
            lengths = edges[chosen + 1] - starts
            ends = np.zeros(len(chosen) + 1, dtype=np.int64)
            np.cumsum(lengths, out=ends[1:])
            taken.append(ends)
            # item k of the result lies at its row's start plus its place in the row
            chosen = np.repeat(starts - ends[:-1], lengths)
            chosen += np.arange(len(chosen))
        return Ragged._made(self.values[chosen], tuple(taken))

    def astype(self, dtype: Any) -> Ragged:
        """Return the same rows with values of another type."""
        return Ragged._made(self.values.astype(dtype, copy=False), self.offsets)

    def shape(self) -> tuple[int, ...]:
        """Return the shape that padding gives: rows, then the longest length of each level."""
        longest = (int(_lengths(edges).max(initial=0)) for edges in self.offsets)
        return (len(self), *longest)

    def mask(self) -> NDArray[np.bool_]:
        """Return an array of `shape`, true where a value stands and false where padding would."""
        if not self.offsets:
            return np.ones(len(self), dtype=np.bool_)
        lengths = _lengths(self.offsets[0])
        kept: NDArray[np.bool_] = np.arange(lengths.max(initial=0)) < lengths[:, None]
        for edges in self.offsets[1:]:
            lengths = np.zeros(kept.shape, dtype=np.int64)
            lengths[kept] = _lengths(edges)  # both go in the order of the rows
            kept = np.arange(lengths.max(initial=0)) < lengths[..., None]
        return kept

    def pad(self, value: float | bool = 0, *, mask: NDArray[np.bool_] | None = None) -> Array:
        """Return an array of `shape` and the same dtype, filled up with `value`.

        Args:
            value: what stands where no value does.
            mask: what `mask` gives, where it is known already.
        """
        if not self.offsets:
            return self.values
        kept = self.mask() if mask is None else mask
        padded: Array = np.full(kept.shape, value, dtype=self.dtype)
        padded[kept] = self.values
        return padded

    def stack(self) -> Array:
        """Return the rows as one array (N, ...), where all have one shape.

        Raises:
            ValueError: rows differ in length at some level.
        """
        for level, edges in enumerate(self.offsets):
            lengths = _lengths(edges)
            if lengths.size and lengths.min() != lengths.max():
                raise ValueError(
                    f"lengths of level {level} go from {lengths.min()} to {lengths.max()}"
                )
        return self.values.reshape(self.shape())

    def bounds(self) -> tuple[float, float] | None:
        """Return the smallest and the largest value; None where there is none."""
        return (self.values.min(), self.values.max()) if self.values.size else None

    def tolist(self) -> list[Any]:
        """Return the rows as nested lists of Python numbers."""
        items: list[Any] = self.values.tolist()
        for edges in reversed(self.offsets):
            ends = edges.tolist()
            items = [items[start:end] for start, end in pairwise(ends)]
        return items

    @classmethod
    def from_lists(cls, rows: Sequence[Any], dtype: Any = None, depth: int | None = None) -> Ragged:
        """Return nested lists as flat values.

        Args:
            rows: scalars, or lists nested equally deep.
            dtype: type of the values; None: as numpy finds it.
            depth: how deep a row nests; None: as the first item that tells says.

        Raises:
            TypeError: a row nests deeper or shallower than `depth`, or holds no numbers.
        """
        if depth is None:
            depth = _depth_of(rows)
        level: Sequence[Any] = rows
        offsets: list[Array] = []
        for number in range(depth):
            try:
                lengths = np.fromiter(map(len, level), dtype=np.int64, count=len(level))
                flat = list(chain.from_iterable(level))
            except TypeError as error:
                raise TypeError(
                    f"expected lists nested {depth} deep, found a value at level {number}"
                ) from error
            offsets.append(np.concatenate(([0], np.cumsum(lengths))))
            level = flat
        try:
            values = np.array(level) if len(level) else np.zeros(0, dtype=dtype or np.int64)
        except ValueError as error:  # lists among the numbers, of unequal lengths
            raise TypeError(f"expected lists nested {depth} deep, found them deeper") from error
        if values.ndim != 1:
            raise TypeError(f"expected lists nested {depth} deep, found them deeper")
        if values.dtype.kind not in "biuf":
            wrong = next((item for item in level if not isinstance(item, int | float)), level[0])
            raise TypeError(f"expected numbers, found {wrong!r}")
        return cls(values if dtype is None else values.astype(dtype, copy=False), offsets)

    def to_arrow(self) -> Any:
        """Return the rows as an Arrow array; where there are no values, they have no type."""
        import pyarrow as pa

        array = pa.array(self.values) if len(self.values) else pa.nulls(0)
        for edges in reversed(self.offsets):
            array = pa.ListArray.from_arrays(pa.array(edges, pa.int32()), array)
        return array

    @classmethod
    def from_arrow(cls, array: Any) -> Ragged:
        """Return an Arrow array (or chunked array) of numbers, or of lists of them, as flat values.

        One chunk without nulls is not copied.

        Raises:
            TypeError: a value is null, or is no number.
        """
        if not hasattr(array, "chunks"):
            return _from_chunk(array)
        if not array.chunks:
            return _from_chunk(array.combine_chunks())
        return cls.joined([_from_chunk(chunk) for chunk in array.chunks])

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """Return the rows of several parts, equally deep, one after the other."""
        if len(parts) == 1:
            return parts[0]
        values = np.concatenate([part.values for part in parts])
        levels = range(parts[0].depth)
        return cls._made(
            values, tuple(_join([p.offsets[level] for p in parts]) for level in levels)
        )


class Pieces:
    """Rows in several pieces, each left where it lies, such as in a mapped file.

    A batch of one piece is one gather. Of several it costs a cut per row of lists of numbers,
    otherwise a gather for each piece; and no memory beyond the batch.

    Args:
        parts: the pieces, at least one, equally deep.
    """

    def __init__(self, parts: Sequence[Ragged]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        self.depth = parts[0].depth
        self.dtype = parts[0].dtype

    @classmethod
    def from_arrow(cls, array: Any) -> Pieces:
        """Return the chunks of a chunked array, none of them copied; see `Ragged.from_arrow`."""
        return cls([_from_chunk(chunk) for chunk in array.chunks])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def lengths(self) -> NDArray[np.int64]:
        """Return (N,) int64, as `Ragged.lengths`."""
        return np.concatenate([part.lengths() for part in self._parts])

    def bounds(self) -> tuple[float, float] | None:
        """Return the smallest and the largest value; None where there is none."""
        found = [bounds for part in self._parts if (bounds := part.bounds()) is not None]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None

    def take(self, indices: Sequence[int] | Array) -> Ragged:
        """Return the rows of `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(f"rows 0 to {len(self) - 1} can be taken, got {chosen.tolist()}")
        return self.gather(chosen)

    def gather(self, chosen: NDArray[np.int64]) -> Ragged:
        """Return the rows of `chosen` as `take` does, of which all are known to be there."""
        number = np.searchsorted(self._starts, chosen, side="right") - 1
        if number.size and (number == number[0]).all():
            piece = int(number[0])
            return self._parts[piece].gather(chosen - self._starts[piece])
        if self.depth == 1:  # a batch hardly takes two rows of one piece: each is cut out
            places = zip(number.tolist(), (chosen - self._starts[number]).tolist(), strict=True)
            rows = [self._row(piece, place) for piece, place in places]
            ends = np.zeros(len(rows) + 1, dtype=np.int64)
            np.cumsum([len(row) for row in rows], out=ends[1:])
            values = np.concatenate(rows) if rows else self._parts[0].values[:0]
            return Ragged._made(values, (ends,))
        order = np.argsort(number, kind="stable")
        touched, firsts = np.unique(number[order], return_index=True)
        shares = np.split(chosen[order], firsts[1:])
        taken = [
            self._parts[piece].take(share - self._starts[piece])
            for piece, share in zip(touched, shares, strict=False)
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return Ragged.joined(taken or [self._parts[0].take([])]).take(back)

    def _row(self, piece: int, place: int) -> Array:
        part = self._parts[piece]
        edges = part.offsets[0]
        return part.values[edges[place] : edges[place + 1]]


def no_numbers_in(value: Any) -> Iterator[Any]:
    """Yield what is no number in a row: in the value, or in the lists that it is."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from no_numbers_in(item)
    elif not isinstance(value, Real | np.ndarray | np.bool_):
        yield value


def _lengths(edges: Array) -> Array:
    return edges[1:] - edges[:-1]


def _join(edges: list[Array]) -> Array:
    """Return the offsets of lists that stand one after the other."""
    lengths = np.concatenate([_lengths(each) for each in edges])
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def _from_chunk(array: Any) -> Ragged:
    offsets: list[Array] = []
    while hasattr(array.type, "value_type") and len(offsets) <= MAX_DEPTH:
        if array.null_count:
            raise TypeError(f"expected lists, found null at {_first_null(array)}")
        if hasattr(array.type, "list_size"):
            edges = np.arange(len(array) + 1, dtype=np.int64) * array.type.list_size
        else:
            edges = array.offsets.to_numpy(zero_copy_only=False)
            edges = edges - edges[0] if len(edges) and edges[0] else edges
        offsets.append(edges if len(edges) else np.zeros(1, dtype=np.int64))
        array = array.flatten()
    if array.null_count:
        raise TypeError(f"expected numbers, found null at {_first_null(array)}")
    try:
        values = array.to_numpy(zero_copy_only=False)
    except NotImplementedError as error:
        raise TypeError(f"expected numbers, found {array.type}") from error
    if len(array) == 0 and values.dtype.kind not in "biuf":
        values = np.zeros(0, dtype=np.int64)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"expected numbers, found {array.type}")
    return Ragged(values, offsets)


def _first_null(array: Any) -> str:
    return f"item {int(np.flatnonzero(np.asarray(array.is_null()))[0])} of {len(array)}"


def _depth_of(rows: Sequence[Any]) -> int:
    """Return how deep rows nest, from the first item that tells."""
    depth, level = 0, rows
    while depth <= MAX_DEPTH:
        first = next((item for item in level if item is not None), None)
        if not isinstance(first, list | tuple | np.ndarray) or (
            isinstance(first, np.ndarray) and first.ndim == 0
        ):
            return depth
        depth += 1
        level = next((item for item in level if item is not None and len(item)), [])
    raise TypeError(f"rows nest at most {MAX_DEPTH} deep")
