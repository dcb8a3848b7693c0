"""`Server`: predictions in this process, from many threads, without Lightning or a loader."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self, overload

from dlk._hooks import Hook, around, change_predictions, change_rows
from dlk.errors import DataError, RowError
from dlk.plugin import RequestFacts, RequestOutcome

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dlk.config.reading import Source
    from dlk.inference import Engine
    from dlk.micro_batch import MicroBatcher

__all__ = ["Server"]

_PLAIN = frozenset({str, int, float, bool, type(None)})
_STRETCHES = (1, 4, 16)
"""How many times over `warm` says the texts of a row, so that there are rows of several lengths."""


class Server:
    """Answers rows with predictions.

    Either ``Server(bundle)``, or ``Server(process_config, fit_config, checkpoint)`` for a run that
    is not a bundle yet. `fit` may be called from many threads at once, and `submit` joins the rows
    of concurrent callers into batches. A row on which a component fails does so alone: the others
    of its call, and of its batch, get their answers. In a child of fork PyTorch computes with one
    thread.

    Args:
        bundle: folder or zip of a bundle, or path (or content) of a process config.
        fit_config: path or content of the fit config; only with a checkpoint.
        checkpoint: a run's ``.ckpt``, or a ``model.safetensors``; only with a fit config.
        device: where to run, such as ``cpu`` or ``cuda:0``; ``auto``: a GPU where there is one.
        batch_size: records per forward pass, at most; None: as configured.
        src: folders with project-local components that a bundle needs.
        trust_code: run the copy of such components that a bundle brings: code of its maker.
        overrides: overrides of the fit config.
        packed: on a CPU, keep a copy of the weights in the layout that its fastest matrix product
            wants, for the sizes where that is measured to pay (`dlk.nn.module.packed_linear`).
        micro_batch: let `fit` join the rows of concurrent callers, as `submit` does.
        max_rows: rows that one call may hold; for more there is `Predict`.
        max_chars: characters that the columns of one row may hold together.
        max_waiting: calls that may be under way, and rows that may wait in `submit`.
        max_batch_tokens: records times their length, at most, in a batch that `submit` joins.

    Attributes:
        engine: what computes the predictions.
        inputs: the columns that each row must have; empty where the processor does not say.

    Raises:
        BundleError: the bundle is damaged, or needs what is not installed.
        ConfigError: a config is wrong.
        RunError: the checkpoint cannot be read.
        DlkError: the device cannot be used.
    """

    def __init__(
        self,
        bundle: Source,
        fit_config: Source | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        src: Sequence[str] = (),
        trust_code: bool = False,
        overrides: Sequence[str] | Mapping[str, Any] = (),
        packed: bool = False,
        micro_batch: bool = False,
        max_rows: int = 10_000,
        max_chars: int = 1_000_000,
        max_waiting: int = 1024,
        max_batch_tokens: int = 4096,
    ) -> None:
        from dlk.inference import at_least_one, is_claimed

        self.max_rows = at_least_one("max_rows", max_rows)
        self.max_waiting = at_least_one("max_waiting", max_waiting)
        self.max_batch_tokens = at_least_one("max_batch_tokens", max_batch_tokens)
        max_chars = at_least_one("max_chars", max_chars)
        if batch_size is not None:
            batch_size = at_least_one("batch_size", batch_size)
        self.joins = is_claimed("micro_batch", micro_batch)
        is_packed = is_claimed("packed", packed)
        self.engine: Engine
        self._golden: Callable[[], list[dict[str, Any]]] = list
        if fit_config is not None and checkpoint is not None:
            self.engine = _from_configs(
                bundle, fit_config, os.fspath(checkpoint), device, batch_size, overrides
            )
        elif fit_config is None and checkpoint is None and not isinstance(bundle, Mapping):
            from dlk.bundle.read import Bundle

            opened = Bundle(bundle, src=src, trust_code=trust_code)
            self.engine = opened.engine(device=_place_of(device), batch_size=batch_size)
            self._golden = opened.golden
        else:
            raise TypeError(
                "expected Server(bundle) or Server(process_config, fit_config, checkpoint)"
            )
        self.engine.max_chars = max_chars
        if is_packed:
            self.engine.pack()
        self.inputs = list(self.engine.inputs)
        self._name = "" if isinstance(bundle, Mapping) or fit_config else os.fspath(bundle)
        self._begin()
        self._is_closed = False
        _servers.add(self)
        self._batcher: MicroBatcher | None = None
        # Looked up once: a request costs nothing where no plugin takes part.
        self._rows, self._predictions = Hook("dlk_change_rows"), Hook("dlk_change_predictions")
        watched = (Hook(f"dlk_{when}_request") for when in ("before", "after"))
        self._is_watched = any((self._rows, self._predictions, *watched))

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0

    @overload
    def fit(self, rows: Mapping[str, Any]) -> dict[str, Any]: ...
    @overload
    def fit(self, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> list[dict[str, Any]]: ...

    def fit(self, rows: Any) -> Any:
        """Return the prediction of one row (a mapping), or a list of them for several rows.

        Predictions come in the order of the rows, one each. A row that cannot be processed, or on
        which a component fails, gets ``{"error": {"column": …, "reason": …}}`` in its place; one
        bad row alone raises, and so does what fails on every row of a call.

        Args:
            rows: a mapping of columns, a list of such mappings, or a DataFrame. Columns that the
                model does not need are ignored.

        Raises:
            RowError: the one row given is bad.
            DataError: the rows are of no such kind, too many, or a column is missing.
            ServerBusyError: as many calls as may are under way.
            ServerClosedError: `close` was called.
            DlkError: a plugin refused, or failed where it changes rows or predictions.
        """
        if self.joins:
            return self.submit(rows).result()
        with self._place():
            is_one = isinstance(rows, Mapping)
            columns = self._columns(rows)
            if not self._is_watched:
                return _shaped(self.engine.predict(columns), is_one)
            finish, columns = self._watched(columns, is_one)
            return finish(lambda: self.engine.predict(columns))

    def submit(self, rows: Any, *, timeout_s: float | None = None) -> Future[Any]:
        """Let rows wait for the model, together with those of other callers; return a future.

        One thread runs the model. It takes the row that waits longest and, of the others, those of
        like length, as many as one forward pass may hold; nobody waits for a batch to fill. The
        rows are tokenised in the caller's thread.

        Args:
            rows: as `fit` takes them.
            timeout_s: how long they may wait; what waits longer is dropped before it is computed.

        Returns:
            A future of what `fit` returns or raises. Cancelled while it waits, it costs nothing.

        Raises:
            ServerBusyError: `max_waiting` rows wait already.
            ServerClosedError: `close` was called.
            DataError: as `fit`.
            DlkError: a plugin refused.
            ValueError: `timeout_s` is not more than 0.
        """
        batcher = self._joined()
        is_one = isinstance(rows, Mapping)
        columns = self._columns(rows)
        if not self._is_watched:
            return batcher.submit(
                columns, timeout_s=timeout_s, finish=lambda found: _shaped(found(), is_one)
            )
        finish, columns = self._watched(columns, is_one)
        try:
            return batcher.submit(columns, timeout_s=timeout_s, finish=finish)
        except Exception as error:  # noqa: BLE001 - told to plugins, and raised again
            return finish(_raises(error))  # type: ignore[no-any-return]  # it raises

    def warm(self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> int:
        """Answer some rows of several lengths, alone and together, so that no request is the first.

        Args:
            rows: what to answer; by default the inputs that a bundle keeps beside its predictions,
                but those beyond `max_chars`. Their texts are said 4 and 16 times over, too, where
                the model can take that.

        Returns:
            How many rows were answered; 0 where none were given and the bundle keeps none.

        Raises:
            DlkError: one of the rows, as it was given, cannot be answered; or `close` was called.
        """
        from dlk.micro_batch import ServerClosedError

        if self._is_closed:
            raise ServerClosedError("the server was closed")
        given: list[Mapping[str, Any]] = [rows] if isinstance(rows, Mapping) else list(rows)
        are_mine = not given
        given = given or [
            each["input"]
            for each in self._golden()
            if "input" in each and "error" not in each.get("prediction", ())
        ]
        answered = 0
        for times in _STRETCHES if given else ():
            found = [row if times == 1 else _stretched(row, times) for row in given]
            starts = range(0, len(found), self.max_rows)
            for part in (found[:1], *(found[at : at + self.max_rows] for at in starts)):
                try:
                    answers = self.engine.predict(self._columns(part))
                except Exception:
                    if times == 1:
                        raise
                    continue  # longer than the model can take
                bad = [answer for answer in answers if isinstance(answer, RowError)]
                if bad and times == 1 and not are_mine:
                    raise bad[0]
                answered += len(answers) - len(bad)
        return answered

    def close(self, timeout_s: float = 30.0) -> None:
        """Answer what waits, for so long at most, and refuse all that comes after.

        Calls of `fit` that are under way in other threads end as they would.
        """
        from dlk.micro_batch import patience

        timeout_s = patience(timeout_s)
        with self._lock:
            self._is_closed, batcher = True, self._batcher
        if batcher is not None:
            batcher.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _columns(self, rows: Any) -> dict[str, list[Any]]:
        """Return rows as columns of plain values, as files and Process give them."""
        if type(rows) is dict and (fast := _columns_of_one(rows)) is not None:
            return fast
        given = [rows] if isinstance(rows, Mapping) else _checked(rows)
        if len(given) > self.max_rows:
            raise DataError(
                f"the request holds {len(given):,} rows, and {self.max_rows:,} may be "
                "(max_rows): send them in parts, or use Predict"
            )
        return _columns(given)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """Hold one of the places for calls under way."""
        from dlk.micro_batch import ServerBusyError, ServerClosedError

        with self._lock:
            if self._is_closed:
                raise ServerClosedError("the server was closed")
            if self._under_way >= self.max_waiting:
                raise ServerBusyError(
                    f"{self._under_way} calls are under way (max_waiting): ask again later, or "
                    "allow more"
                )
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way = max(0, self._under_way - 1)  # 0 where this call forked

    def _joined(self) -> MicroBatcher:
        """Return what joins the rows of concurrent callers; made when it is first needed."""
        from dlk.micro_batch import MicroBatcher, ServerClosedError

        with self._lock:
            if self._is_closed:
                raise ServerClosedError("the server was closed")
            if self._batcher is None:
                self._batcher = MicroBatcher(
                    self.engine, max_tokens=self.max_batch_tokens, max_waiting=self.max_waiting
                )
                weakref.finalize(self, self._batcher.retire).atexit = False
            return self._batcher

    def _watched(
        self, columns: dict[str, list[Any]], is_one: bool
    ) -> tuple[Callable[[Callable[[], list[Any]]], Any], Any]:
        """Tell plugins that a request begins; return what ends it, and the columns as they want."""
        from dlk.inference import answer_of

        facts, refused = RequestFacts(len(next(iter(columns.values()), ())), self._name), 0
        stack = contextlib.ExitStack()
        stack.enter_context(around("request", facts, lambda s, e: RequestOutcome(s, e, refused)))
        with contextlib.ExitStack() as until_sound:
            until_sound.push(stack)
            asked = change_rows(self._rows, columns, facts)
            until_sound.pop_all()

        def finish(answers: Callable[[], list[Any]]) -> Any:
            nonlocal refused
            with stack:
                found = answers()
                refused = sum(isinstance(each, RowError) for each in found)
                if is_one and isinstance(found[0], RowError):
                    raise found[0]
                changed = change_predictions(
                    self._predictions, [answer_of(each) for each in found], facts
                )
            return changed[0] if is_one else changed

        return finish, asked


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_fork() -> None:
    """Let a child of fork, in which no other thread is left, use the servers of its parent.

    The threads among which PyTorch divides a product are not there either: it would wait for them
    for ever, so it computes with one.
    """
    servers = list(_servers)
    for server in servers:
        server._begin()
    torch: Any = sys.modules.get("torch")  # Any: not imported for this
    if servers and torch is not None and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _place_of(device: str) -> torch.device:
    from dlk.inference import choose_device

    return choose_device(device)


def _shaped(found: list[Any], is_one: bool) -> Any:
    """Return answers as `fit` gives them."""
    from dlk.inference import answer_of

    if not is_one:
        return [answer_of(answer) for answer in found]
    (answer,) = found
    if isinstance(answer, RowError):
        raise answer
    return answer


def _raises(error: Exception) -> Callable[[], list[Any]]:
    def answers() -> list[Any]:
        raise error

    return answers


def _stretched(row: Mapping[str, Any], times: int) -> dict[str, Any]:
    """Return a row with its texts said several times over."""
    return {
        name: " ".join([value] * times) if isinstance(value, str) else value
        for name, value in row.items()
    }


def _columns_of_one(row: dict[Any, Any]) -> dict[str, list[Any]] | None:
    """Return one row as columns, where neither its names nor its values need a closer look."""
    for name, value in row.items():
        if type(name) is not str or name[:1] == "_" or not name.isascii():
            return None
        if type(value) not in _PLAIN:
            return None
    return {name: [value] for name, value in row.items()} or None


def _checked(rows: Any) -> Any:
    """Return rows that are a DataFrame or a list of mappings."""
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):  # a DataFrame, without importing pandas
        return rows
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise DataError(
            "expected a row (an object of columns), a list of rows or a DataFrame, "
            f"got {type(rows).__name__}"
        )
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(
                f"row {number}: expected an object of columns, got {type(row).__name__}"
            )
    return rows


def _columns(rows: Any) -> dict[str, list[Any]]:
    """Return rows as columns of plain values, as files and Process give them."""
    from dlk.data.inputs import open_input

    source = open_input(rows, name="the request")
    if len(rows) and not source.column_names:
        raise DataError("the request holds rows without any column")
    try:
        return next(source.chunks(len(rows)), {}) if len(rows) else {}
    except RecursionError:
        raise DataError("the request holds a value that nests too deep to be read") from None


def _from_configs(
    process_config: Source,
    fit_config: Source,
    checkpoint: str,
    device: str,
    batch_size: int | None,
    overrides: Sequence[str] | Mapping[str, Any],
) -> Engine:
    from dlk.checkpoint import read_weights
    from dlk.config import load
    from dlk.context import Setup
    from dlk.fit import load_fit, load_meta
    from dlk.inference import Engine, Parts, raw_inputs

    process = load(process_config).one().root("processor")
    fit = load_fit(fit_config, overrides).one().root("fit")
    setup = Setup(meta=load_meta(fit.processed_data_dir), pretrained=False, seed=fit.seed)
    return Engine.build(
        Parts.of(process, fit),
        read_weights(checkpoint),
        setup,
        inputs=raw_inputs(process, fit),
        device=device,
        batch_size=batch_size,
    )
