"""Which records make up which batch: grouped by length in training, in order in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    Several processes each take their share of every batch (rank 0 the records 0, n, 2n, …), so that
    their lengths agree. Where the last batch does not divide, records of the epoch's start fill it
    up; this is the one case in which a record stands twice, and `drop_last` avoids it.

    Args:
        size: number of records.
        batch_size: records of a batch in each process.
        lengths: (size,) how long each record is; None: no window.
        window: batches whose records are sorted together; 0: plain shuffle.
        shuffle: false: the order of the records, without windows.
        drop_last: leave out the batch that is not full.
        seed: of the order.
        rank: number of this process.
        world_size: number of processes.
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
        self._lengths = None if lengths is None else np.asarray(lengths, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, the same in every process."""
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
        if not self.shuffle:
            return self._cut(np.arange(self.size, dtype=np.int64), joint)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, self.epoch))))
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
            spare = np.concatenate(
                [*batches, joint]
            )  # small data may have to be gone through again
            joint = np.concatenate([joint, np.resize(spare, lacking)])
        share: list[int] = joint[self.rank :: self.world_size].tolist()
        return share

    def _decides(self) -> dict[str, int]:
        """Return what the order of an epoch depends on, beside the epoch and the lengths."""
        names = ("size", "batch_size", "window", "shuffle", "drop_last", "seed", "world_size")
        return {name: int(getattr(self, name)) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Return the place to start from, and what it is a place in; a loader counts on from it."""
        return {"epoch": self.epoch, "start": self.start, "order": self._decides()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place: an epoch that is through means the start of the next.

        Raises:
            DataError: the place is in the middle of an epoch whose order was another.
        """
        epoch, start = int(state["epoch"]), int(state["start"])
        then, now = state["order"], self._decides()
        whole = -(-then["size"] // (then["batch_size"] * then["world_size"]))
        changed = [f"{name} {then[name]} -> {now[name]}" for name in now if then[name] != now[name]]
        if changed and 0 < start < whole:
            raise DataError(
                f"cannot go on after batch {start} of epoch {epoch}: the order of the training "
                f"data is another ({', '.join(changed)})"
            )
        self.epoch, self.start = epoch, start
        if start and start >= min(whole, len(self)):
            self.epoch, self.start = self.epoch + 1, 0


class EvalBatches:
    """Batches in the order of the records; the records of one row stay together.

    A batch holds whole rows: as many as fit, at least one, so a row of more records than
    `batch_size` has a batch of its own that is larger. Several processes take the batches in turn:
    each record goes to exactly one.

    Args:
        size: number of records.
        batch_size: records of a batch.
        rows: (size,) the row of each record, equal ones side by side; None: each record is a row.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        rows: Sequence[int] | Ints | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_rank(rank, world_size)
        self._bounds = _bounds(size, batch_size, rows)
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return len(range(self.rank, len(self._bounds) - 1, self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.rank, len(self._bounds) - 1, self.world_size):
            yield list(range(self._bounds[number], self._bounds[number + 1]))


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
