"""Rows of many callers, answered together: one model thread, batches of like length, no delay.

The batch forms while the one before is computed: the thread takes the row that waits longest, and
of the others those of like length, up to a number of records and of tokens. A caller that is alone
waits for nobody.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

from dlk.errors import DlkError, RowError
from dlk.inference import (
    Columns,
    Prepared,
    RowFailedError,
    at_least_one,
    renumbered,
)

if TYPE_CHECKING:
    from dlk.inference import Engine
    from dlk.postprocessor.base import Prediction

__all__ = [
    "MicroBatcher",
    "RequestTimeoutError",
    "ServerBusyError",
    "ServerClosedError",
    "patience",
]

Answers = list["Prediction | RowError"]
Finish = Callable[[Callable[[], Answers]], Any]
"""From (a call that gives the answers, or raises why there are none) to a future's result."""

_PATIENCE_S = 60.0
"""How long the end of the process waits for a batch that is computed: PyTorch aborts the process
where a thread of it finds the interpreter gone."""


class ServerBusyError(DlkError):
    """As many rows wait as may: ask again later."""


class ServerClosedError(DlkError):
    """The server was closed."""


class RequestTimeoutError(DlkError):
    """A request waited for longer than it was given."""


@dataclass(slots=True, eq=False)
class _Request:
    prepared: Prepared
    deadline: float | None
    finish: Finish
    timeout_s: float | None = None
    future: Future[Any] = field(default_factory=Future)
    answers: dict[int, Prediction | RowError] = field(default_factory=dict)
    left: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One row that waits.

    Attributes:
        request: what it is a part of.
        row: its number there.
        records: its records, with `_row`.
        length: the longest of them.
        names: its columns; only rows with the same ones can be joined.
    """

    request: _Request
    row: int
    records: Columns
    length: int
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.records["_row"])


class MicroBatcher:
    """Joins the rows of concurrent callers into batches.

    Args:
        engine: what answers; its `batch_size` bounds the records of a batch.
        max_tokens: bounds records times their greatest length in a batch; a row alone may be more.
        max_waiting: rows that may wait. A call of more is taken only when nothing waits.
    """

    def __init__(self, engine: Engine, *, max_tokens: int = 4096, max_waiting: int = 1024) -> None:
        self.engine = engine
        self.max_tokens = at_least_one("max_tokens", max_tokens)
        self.max_waiting = at_least_one("max_waiting", max_waiting)
        self._is_closed = False
        self._begin()
        _batchers.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[_Item] = deque()
        self._waiting = 0  # rows, those that are still being prepared included
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many rows wait now."""
        return self._waiting

    def submit(
        self,
        columns: Columns,
        *,
        timeout_s: float | None = None,
        finish: Finish = lambda answers: answers(),
    ) -> Future[Any]:
        """Prepare the rows in the caller's thread and let them wait for the model's.

        Args:
            columns: as `Engine.predict` takes them.
            timeout_s: how long the request may wait for the model; what waits longer is dropped
                before it costs anything. A request that has begun is answered.
            finish: makes the future's result of the answers; called once, whatever happens, in the
                model's thread as a rule.

        Returns:
            A future; cancelled before its first row is taken, the request is dropped.

        Raises:
            ServerBusyError: too many rows wait.
            ServerClosedError: `close` was called.
            DataError: as `Engine.predict`.
            ValueError: `timeout_s` is not more than 0.
            TypeError: it is no number.
        """
        seconds = None if timeout_s is None else _seconds(timeout_s)
        if seconds is not None and not seconds > 0:  # NaN is not
            raise ValueError(
                f"timeout_s is more than 0 seconds, or None: as long as it takes; got {seconds:g}"
            )
        deadline = None if seconds is None else time.monotonic() + seconds
        rows = len(next(iter(columns.values()), ()))
        with self._changed:
            self._refuse(rows)
            self._waiting += rows
        try:
            prepared = self.engine.prepare(columns)
            request = _Request(prepared, deadline, finish, seconds)
            items = _items_of(request, self.engine)
        except BaseException:
            self._release(rows)
            raise
        self._release(rows - len(items))
        if not items:
            request.future.set_running_or_notify_cancel()
            self._end(request)
            return request.future
        with self._changed:
            if self._is_closed:
                self._waiting -= len(items)
                raise ServerClosedError("the server was closed")
            self._items.extend(items)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="dlk-model", daemon=True)
                self._thread.start()
            self._changed.notify()
        return request.future

    def close(self, timeout_s: float = 30.0) -> None:
        """Take no more requests; answer those that wait, and refuse what is left after a time.

        Raises:
            ValueError: `timeout_s` is less than 0.
            TypeError: it is no number.
        """
        timeout_s = patience(timeout_s)
        self.retire()
        self._join(timeout_s)
        self._drop()

    def retire(self) -> None:
        """Take no more requests; the thread answers those that wait, and ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _leave(self) -> None:
        """Let the batch that is computed end, and drop the rest: the process is about to end."""
        self.retire()
        self._drop()
        self._join(_PATIENCE_S)

    def _join(self, timeout_s: float) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(min(timeout_s, threading.TIMEOUT_MAX))

    def _drop(self) -> None:
        with self._changed:
            left = list(self._items)
            self._items.clear()
            self._waiting -= len(left)
        for request in dict.fromkeys(item.request for item in left):
            if self._starts(request):
                self._end(request, ServerClosedError("the server was closed before the answer"))

    def _refuse(self, rows: int) -> None:
        if self._is_closed:
            raise ServerClosedError("the server was closed")
        if self._waiting and self._waiting + rows > self.max_waiting:
            raise ServerBusyError(
                f"{self._waiting} rows wait already, and {rows} more would be over "
                f"{self.max_waiting} (max_waiting): ask again later, or allow more"
            )

    def _release(self, rows: int) -> None:
        with self._changed:
            self._waiting -= rows

    def _work(self) -> None:
        while batch := self._next():
            self._compute(batch)

    def _next(self) -> list[_Item]:
        """Wait for rows and return those of the next batch; none once all is done and closed."""
        while True:
            with self._changed:
                while not self._items and not self._is_closed:
                    self._changed.wait()
                if not self._items:
                    return []
                batch, dropped = self._take()
                waiting = self._waiting
            for request in dropped:
                if self._starts(request):
                    self._end(request, _too_late(request, waiting))
            if batch := [item for item in batch if self._starts(item.request)]:
                return batch

    def _take(self) -> tuple[list[_Item], list[_Request]]:
        """Take the oldest row and those of like length, and what nobody waits for any more."""
        now = time.monotonic()
        batch: list[_Item] = []
        dropped: dict[_Request, None] = {}
        kept: deque[_Item] = deque()
        records = longest = 0
        for item in self._items:
            request = item.request
            is_late = request.deadline is not None and now > request.deadline
            if request.future.done() or (is_late and not request.answers):
                dropped[request] = None
                continue
            total, length = records + item.count, max(longest, item.length)
            if not batch or (
                total <= self.engine.batch_size
                and total * length <= self.max_tokens
                and item.names == batch[0].names
                and _are_alike(item.length, batch[0].length)
            ):
                batch.append(item)
                records, longest = total, length
            else:
                kept.append(item)
        self._waiting -= len(self._items) - len(kept)
        self._items = kept
        return batch, list(dropped)

    def _starts(self, request: _Request) -> bool:
        """Return whether somebody still waits for the request, which from now on is under way."""
        with self._changed:  # the thread asks, and so may whoever closes
            if request.is_over:
                return False
            if request.future.running() or request.future.set_running_or_notify_cancel():
                return True
        self._end(request, CancelledError())
        return False

    def _compute(self, batch: list[_Item]) -> None:
        try:
            answers = self.engine.answer([item.records for item in batch])
        except BaseException as error:  # noqa: BLE001 - whatever a component raises, the thread lives
            reason = (
                error if isinstance(error, Exception) else DlkError(f"the model left: {error!r}")
            )
            answers = [RowFailedError.of(item.row, reason) for item in batch]
        for item, answer in zip(batch, answers, strict=True):
            request = item.request
            request.answers[item.row] = (
                renumbered(answer, item.row) if isinstance(answer, RowError) else answer
            )
            request.left -= 1
            if not request.left:
                self._end(request)

    def _end(self, request: _Request, error: BaseException | None = None) -> None:
        """Give the future its result, once: the answers, or why there are none."""
        with self._changed:
            if request.is_over:
                return
            request.is_over = True

        def answers() -> Answers:
            if error is not None:
                raise error
            return self.engine.finish(request.prepared, request.answers)

        try:
            result = request.finish(answers)
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits for the answer
            if not request.future.done():
                request.future.set_exception(raised)
        else:
            if not request.future.done():
                request.future.set_result(result)


def patience(timeout_s: float) -> float:
    """Return a time to wait for an end, in seconds.

    Raises:
        ValueError: it is less than 0.
        TypeError: it is no number.
    """
    seconds = _seconds(timeout_s)
    if not seconds >= 0:  # NaN is not
        raise ValueError(f"timeout_s is at least 0 seconds, got {seconds:g}")
    return seconds


def _seconds(value: object) -> float:
    """Return a number of seconds; a number beyond what floats hold is infinite.

    Raises:
        TypeError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise TypeError(f"timeout_s is a number of seconds, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        is_positive: bool = value > 0  # type: ignore[operator]  # every kind of number can tell
        return math.inf if is_positive else -math.inf
    except ValueError:  # a signalling NaN of decimal
        return math.nan


def _too_late(request: _Request, waiting: int) -> RequestTimeoutError:
    return RequestTimeoutError(
        f"the request waited for longer than its timeout_s of {request.timeout_s:g} s and was "
        f"dropped before it was computed ({waiting} other rows wait): give it more time, send "
        "fewer rows at once, or let fewer wait (max_waiting)"
    )


def _items_of(request: _Request, engine: Engine) -> list[_Item]:
    records = request.prepared.records
    if not records:
        return []
    lengths, names = engine.lengths_of(records), tuple(sorted(records))
    items = []
    for group in request.prepared.groups():
        own = {name: [values[position] for position in group] for name, values in records.items()}
        longest = max(lengths[position] for position in group)
        items.append(_Item(request, int(own["_row"][0]), own, longest, names))
    request.left = len(items)
    return items


def _are_alike(one: int, other: int) -> bool:
    """Return whether lengths are near enough for padding to cost little."""
    return max(one, other) <= 1.5 * min(one, other) + 8


_batchers: weakref.WeakSet[MicroBatcher] = weakref.WeakSet()


def _leave_all() -> None:
    for batcher in list(_batchers):
        batcher._leave()


def _begin_all() -> None:
    """Give all batchers of a child of fork, which has none of the threads, new locks and queues."""
    for batcher in list(_batchers):
        batcher._begin()


atexit.register(_leave_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all)
