"""Which records make up which batch: by length in training, in order or by length otherwise."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlk.errors import DataError

__all__ = ["EvalBatches", "TrainBatches"]

Ints = NDArray[np.int64]


class TrainBatches:
    """Batches of one epoch, in which each record stands once.

    The order depends on (seed, epoch) alone.

    With a window, records are shuffled, cut into windows of that many batches, sorted by length
    inside a window, cut into batches, and the batches of the epoch shuffled: batches of like
    lengths, at a random place.

    With a budget of tokens, batches hold as many records as fit into it when all are padded to the
    longest, in each process; a longer record has a batch of its own. All epochs have the same
    number of batches, of the same sizes: see `_Budget`.

    Several processes each take their share of every batch (rank 0 the records 0, n, 2n, …), so that
    their lengths agree. Where the last batch does not divide, records of the epoch's start fill it
    up; this is the one case in which a record stands twice, and `drop_last` avoids it.

    Args:
        size: number of records.
        batch_size: records of a batch in each process.
        lengths: (size,) how long each record is; None: no window.
        window: batches whose records are sorted together; 0: plain shuffle.
        shuffle: false: the order of the records, without windows.
        drop_last: leave out the batch that is not full; of a budget, which fills no batch to the
            last token, only the records that do not divide among the processes.
        seed: of the order.
        rank: number of this process.
        world_size: number of processes.
        max_tokens: padded tokens of a batch in each process, at most; `batch_size` counts no more.
            0: no budget.
        tokens: (size,) tokens of each record; needed for a budget.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        lengths: Sequence[int] | Ints | None = None,
        window: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_tokens: int = 0,
        tokens: Sequence[int] | Ints | None = None,
    ) -> None:
        _check_rank(rank, world_size)
        self.size = size
        self.batch_size = batch_size
        self.window = window
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0
        self.max_tokens = max_tokens
        self._lengths = None if lengths is None else np.asarray(lengths, dtype=np.int64)
        self._budget: _Budget | None = None
        if max_tokens:
            if tokens is None or len(tokens) != size:
                raise ValueError(f"a budget needs the tokens of each of {size} records")
            if shuffle and not window:
                raise ValueError("a budget needs a window, in which like lengths come together")
            self._lengths = np.asarray(tokens, dtype=np.int64)
            self._budget = _Budget(
                self._lengths,
                max_tokens,
                window=window if shuffle else 0,
                world_size=world_size,
                drop_last=drop_last,
            )

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, the same in every process and epoch."""
        if self._budget is not None:
            return self._budget.batches
        joint = self.batch_size * self.world_size
        return self.size // joint if self.drop_last else -(-self.size // joint)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to give next.

        Choosing the one that was loaded keeps its place; another starts anew.
        """
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's batches, from the loaded place on.

        The next round starts at the epoch's start.
        """
        start, self.start = self.start, 0
        batches = self._joint_batches()
        for joint in batches[start:]:
            yield self._share(joint, batches)

    def _joint_batches(self) -> list[Ints]:
        """Return the batches of all processes together."""
        joint = self.batch_size * self.world_size
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, self.epoch))))
        if self._budget is not None:
            return self._budget.draw(rng)
        if not self.shuffle:
            return self._cut(np.arange(self.size, dtype=np.int64), joint)
        order = rng.permutation(self.size).astype(np.int64, copy=False)
        if not self.window or self._lengths is None:
            return self._cut(order, joint)
        if self.drop_last:  # before sorting, which would always leave out the longest
            order = order[: self.size // joint * joint]
        span = self.window * joint
        batches: list[Ints] = []
        for start in range(0, len(order), span):
            chosen = order[start : start + span]
            by_length = chosen[np.argsort(self._lengths[chosen], kind="stable")]
            batches += self._cut(by_length, joint)
        return [batches[number] for number in rng.permutation(len(batches))]

    def _cut(self, order: Ints, joint: int) -> list[Ints]:
        cut = [order[start : start + joint] for start in range(0, len(order), joint)]
        if self.drop_last and cut and len(cut[-1]) < joint:
            cut.pop()
        return cut

    def _share(self, joint: Ints, batches: list[Ints]) -> list[int]:
        lacking = -len(joint) % self.world_size
        if lacking:
            # a budget bounds the batch: its own records are no longer than it; small data may have
            # to be gone through again
            spare = joint if self.max_tokens else np.concatenate([*batches, joint])
            joint = np.concatenate([joint, np.resize(spare, lacking)])
        share: list[int] = joint[self.rank :: self.world_size].tolist()
        return share

    def _decides(self) -> dict[str, int]:
        """Return what the order of an epoch depends on, beside the epoch."""
        names = ("size", "batch_size", "window", "shuffle", "drop_last", "seed", "world_size")
        found = {name: int(getattr(self, name)) for name in (*names, "max_tokens")}
        by_length = self._lengths is not None and (
            self.max_tokens or (self.window and self.shuffle)
        )
        lengths = self._lengths if by_length else None
        return {**found, "lengths": 0 if lengths is None else zlib.crc32(lengths.tobytes())}

    def state_dict(self) -> dict[str, Any]:
        """Return the place to start from, and what it is a place in; a loader counts on from it."""
        return {
            "epoch": self.epoch,
            "start": self.start,
            "batches": len(self),
            "order": self._decides(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place: an epoch that is through means the start of the next.

        Raises:
            DataError: the place is in the middle of an epoch whose order was another.
        """
        epoch, start, whole = int(state["epoch"]), int(state["start"]), int(state["batches"])
        then, now = state["order"], self._decides()
        changed = [
            f"{name} {then.get(name)} -> {now[name]}" for name in now if then.get(name) != now[name]
        ]
        if changed and 0 < start < whole:
            raise DataError(
                f"cannot go on after batch {start} of epoch {epoch}: the order of the training "
                f"data is another ({', '.join(changed)})"
            )
        self.epoch, self.start = epoch, start
        if start and start >= min(whole, len(self)):
            self.epoch, self.start = self.epoch + 1, 0


class _Budget:
    """Batches of about so many padded tokens, equally many in every epoch.

    How often a shuffled order fills a budget differs from epoch to epoch, and with it the length of
    the schedule. So the batches are cut once, and an epoch draws which records stand in them:

    The records, sorted by length, are parted into layers of V neighbours each, for V windows. A
    window takes one record of every layer, at random, so all windows hold lengths alike, and no
    record is longer than the longest of its layer. By these longest lengths one window is cut; all
    windows, in all epochs, are cut there. The few shortest records, which make no whole layer, are
    batches of their own.

    Args:
        tokens: (size,) tokens of each record.
        max_tokens: padded tokens of a batch in each process, at most.
        window: batches per window, about; 0: no shuffling, cut in the order of the records.
        world_size: number of processes, each of which takes its share of a batch.
        drop_last: leave out the records that do not divide among the processes: drawn anew each
            epoch, from all; without shuffling the last ones.

    Attributes:
        batches: how many there are.
    """

    def __init__(
        self, tokens: Ints, max_tokens: int, *, window: int, world_size: int, drop_last: bool
    ) -> None:
        self._tokens = tokens
        self._is_shuffled = window > 0
        size = len(tokens)
        self._left_out = size % world_size if drop_last else 0
        if not self._is_shuffled:
            kept = tokens[: size - self._left_out]
            self._cuts = _cut_in_order(kept, max_tokens, world_size)
            self.batches = len(self._cuts) - 1
            return
        ordered = np.sort(tokens)
        mean = max(1.0, float(ordered.mean())) if size else 1.0
        about = max(1, int(max_tokens / mean)) * world_size * window  # records of a window
        self._windows = max(1, size // about)
        self._layers = size // (self._windows * world_size) * world_size
        short = size - self._windows * self._layers
        longest = ordered[short:].reshape(self._layers, self._windows)[:, -1]
        self._cuts = _cut_sorted(longest, max_tokens, world_size)
        fit = max_tokens // max(1, int(ordered[short - 1])) if short else 1
        self._short_batch = max(1, fit) * world_size
        self._short = short - self._left_out
        self.batches = self._windows * (len(self._cuts) - 1) - (-self._short // self._short_batch)

    def draw(self, rng: np.random.Generator) -> list[Ints]:
        """Return the batches of an epoch, those of all processes together."""
        size = len(self._tokens)
        if not self._is_shuffled:
            order = np.arange(size, dtype=np.int64)
            return [order[start:end] for start, end in pairwise(self._cuts)]
        order = rng.permutation(size).astype(np.int64, copy=False)[: size - self._left_out]
        order = order[np.argsort(self._tokens[order], kind="stable")]  # equal lengths stay shuffled
        short = rng.permutation(order[: self._short])
        layers = order[self._short :].reshape(self._layers, self._windows)
        windows = np.ascontiguousarray(rng.permuted(layers, axis=1).T)
        batches = [each[start:end] for each in windows for start, end in pairwise(self._cuts)]
        step = self._short_batch
        batches += [short[start : start + step] for start in range(0, len(short), step)]
        return [batches[number] for number in rng.permutation(len(batches))]


def _cut_sorted(lengths: Ints, max_tokens: int, world_size: int) -> list[int]:
    """Return where batches start and end, of records in the order of their lengths.

    Each process gets equally many records of a batch: `lengths` are a multiple of `world_size`.
    """
    longest = lengths[world_size - 1 :: world_size]  # of each next record of all processes
    cuts = [0]
    while cuts[-1] < len(longest):
        start = cuts[-1]
        most = max(1, max_tokens // max(1, int(longest[start])))
        some = longest[start : start + most]
        padded = some * np.arange(1, len(some) + 1)
        cuts.append(start + max(1, int(np.searchsorted(padded, max_tokens, side="right"))))
    return [cut * world_size for cut in cuts]


def _cut_in_order(tokens: Ints, max_tokens: int, world_size: int) -> list[int]:
    """Return where batches start and end, of records as they stand.

    Each process gets equally many records of a batch, but for the last one.
    """
    cuts = [0]
    while cuts[-1] < len(tokens):
        start = cuts[-1]
        longest, fit, step = 1, 0, 64 * world_size
        while True:
            some = tokens[start + fit : start + fit + step]
            reach = np.maximum.accumulate(np.maximum(some, longest))
            shares = -(-np.arange(fit + 1, fit + len(some) + 1) // world_size)
            more = int(np.searchsorted(reach * shares, max_tokens, side="right"))
            fit += more
            if more < step:
                break
            longest = int(reach[-1])
        if start + fit < len(tokens):
            fit = max(fit // world_size * world_size, world_size)
        cuts.append(min(start + fit, len(tokens)))
    return cuts


class EvalBatches:
    """Batches in the order of the records, or by length; the records of one row stay together.

    A batch holds whole rows: as many as fit, at least one, so a row of more records than
    `batch_size` has a batch of its own that is larger. Several processes take the batches in turn:
    each record goes to exactly one.

    Args:
        size: number of records.
        batch_size: records of a batch.
        rows: (size,) the row of each record, equal ones side by side; None: each record is a row.
        rank: number of this process.
        world_size: number of processes.
        lengths: (size,) how long each record is; needed for a window.
        window: batches whose rows are sorted together, the longest first; 0: in order.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        rows: Sequence[int] | Ints | None = None,
        rank: int = 0,
        world_size: int = 1,
        lengths: Sequence[int] | Ints | None = None,
        window: int = 0,
    ) -> None:
        _check_rank(rank, world_size)
        self.rank = rank
        self.world_size = world_size
        self._order: Ints | None = None
        if not window:
            self._bounds = _bounds(size, batch_size, rows)
            return
        if lengths is None or len(lengths) != size:
            raise ValueError(f"a window needs the length of each of {size} records")
        self._order = _by_length(size, batch_size * window, rows, np.asarray(lengths))
        sorted_rows = None if rows is None else np.asarray(rows)[self._order]
        self._bounds = _bounds(size, batch_size, sorted_rows)

    def __len__(self) -> int:
        return len(range(self.rank, len(self._bounds) - 1, self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.rank, len(self._bounds) - 1, self.world_size):
            start, end = self._bounds[number], self._bounds[number + 1]
            if self._order is None:
                yield list(range(start, end))
            else:
                found: list[int] = self._order[start:end].tolist()
                yield found


def _by_length(size: int, window: int, rows: Sequence[int] | Ints | None, lengths: Ints) -> Ints:
    """Return the records, the rows of each window of records from the longest to the shortest.

    A row is as long as its longest record; rows of one length, and the records of a row, stay in
    order.
    """
    bounds = np.asarray(_bounds(size, window, rows), dtype=np.int64)
    which = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    row = np.arange(size)
    if rows is not None and size:
        numbers = np.asarray(rows)
        firsts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        counts = np.diff(np.append(firsts, size))
        lengths = np.repeat(np.maximum.reduceat(lengths, firsts), counts)
        row = np.repeat(np.arange(len(firsts)), counts)
    return np.lexsort((np.arange(size), row, -lengths, which))


def _bounds(size: int, batch_size: int, rows: Sequence[int] | Ints | None) -> list[int]:
    """Return where each batch starts, and where the last one ends."""
    if rows is None:
        return [*range(0, size, batch_size), size]
    numbers = np.asarray(rows)
    ends = (
        np.append(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1, size)
        if size
        else np.zeros(0, dtype=np.int64)
    )
    bounds = [0]
    while bounds[-1] < size:
        fits = int(np.searchsorted(ends, bounds[-1] + batch_size, side="right"))
        first = int(np.searchsorted(ends, bounds[-1], side="right"))
        bounds.append(int(ends[max(fits - 1, first)]))
    return bounds


def _check_rank(rank: int, world_size: int) -> None:
    if not 0 <= rank < world_size:
        raise ValueError(f"rank lies in 0 to {world_size - 1} (world_size - 1), got {rank}")
