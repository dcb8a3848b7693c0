"""What helps with the work of one call: worker processes, and where results of steps are kept."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from dlk._local import PREFIX
from dlk.config import node_of, to_dict
from dlk.data.processor._ledger import Ledger, identity_of
from dlk.data.subprocessor.base import Columns, CountingSubprocessor
from dlk.errors import ConfigError, Problem
from dlk.io import is_remote
from dlk.registry import register

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dlk.data.cache import Cache
    from dlk.data.processor._steps import Steps
    from dlk.data.processor.configs import DefaultProcessorConfig

__all__ = ["TALLY", "Work", "cache_of", "ledger_of", "progress"]

TALLY = "tally"
_CACHE = ".dlk-cache"


def cache_of(config: DefaultProcessorConfig, out_dir: str | os.PathLike[str]) -> Cache | None:
    """Return where results of steps are kept; None where that is switched off, or far away."""
    folder: str = config.cache_dir
    if not config.cache or (not folder and is_remote(out_dir)):
        return None
    from dlk.data.cache import Cache

    place = folder or os.path.join(os.path.dirname(os.path.abspath(out_dir)), _CACHE)
    return Cache(place, limit=config.cache_mb << 20)


def ledger_of(steps: Steps, cache: Cache | None) -> Ledger | None:
    """Return the book of results of a pass, which knows the steps as they are now."""
    if cache is None:
        return None
    meta = steps.setup.meta
    identities: dict[str, str | None] = {}
    for step in steps.all:
        identities[step.name] = identity_of(step.run, step.meta, meta)
        if isinstance(step.run, CountingSubprocessor):  # what it makes decides no count
            others = [file for file in step.meta if file not in step.run.makes]
            identities[f"{step.name} {TALLY}"] = identity_of(step.run, others, meta)
    return Ledger(cache, identities, steps.config.seed)


def _modules(steps: Steps) -> list[tuple[str, str]] | None:
    """Return name and file of the modules that the steps stand in, beside a project's own.

    None where a worker could not import one of them.
    """
    found: dict[str, str] = {}
    for cls in (cls for step in steps.all for cls in (type(step.run), type(step.run.config))):
        name = cls.__module__
        file = getattr(sys.modules.get(name), "__file__", None)
        if name == "__main__" or not file:
            return None
        if not name.startswith(PREFIX):
            found[name] = file
    return list(found.items())


class Work:
    """The workers and the cache of one call; as a context manager it ends them.

    Args:
        steps: what is run.
        out_dir: where the result goes.

    Attributes:
        cache: where results are kept; None: nowhere.

    Raises:
        ConfigError: workers are asked for, and cannot build the steps.
    """

    def __init__(self, steps: Steps, out_dir: str | os.PathLike[str]) -> None:
        from dlk.data.processor._crew import Crew

        self.steps = steps
        self._modules = _modules(steps)
        config = steps.config
        if self._modules is None and config.num_workers:
            message = "num_workers: a step that no file holds cannot be built in another process"
            raise ConfigError([Problem(node_of(config).path, message)])
        self._crew = Crew(config.num_workers, is_possible=self._modules is not None)
        self.cache = cache_of(config, out_dir)
        self._put = 0  # bytes that workers put into the cache since it was last trimmed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.end()
        if self.cache is not None and (self._put or self.cache.put_bytes):
            self.cache.trim()

    def begin(self) -> Ledger | None:
        """Begin a pass over data; return the book of its results."""
        ledger = ledger_of(self.steps, self.cache)
        if self._crew.size:
            kept = {} if ledger is None else {
                "folder": str(ledger.cache.folder),
                "limit": ledger.cache.limit,
                "identities": dict(ledger.identities),
                "seed": ledger.seed,
            }  # fmt: skip
            self._crew.begin({
                "do": "setup",
                "config": to_dict(self.steps.config),
                "folder": os.getcwd(),
                "meta": self.steps.setup.meta.dir,
                "seed": self.steps.setup.seed,
                "sources": list(register.sources),
                "modules": self._modules or [],
                "cache": kept,
            })  # fmt: skip
        return ledger

    def each(
        self,
        chunks: Iterable[Columns],
        *,
        total: int | None,
        where: str,
        ask: Callable[[Columns], Mapping[str, Any]],
        here: Callable[[Columns], Any],
        read: Callable[[Columns, Mapping[str, Any], bytes], Any],
    ) -> Iterator[tuple[Columns, Any]]:
        """Yield each chunk with what is made of it, in order, by workers where they are wanted.

        Args:
            chunks: with `_row`.
            total: rows of all chunks, where that is known.
            where: what is worked at, in errors.
            ask: gives a worker's message for a chunk.
            here: does a chunk in this process.
            read: makes the same of a worker's answer.
        """
        from dlk.data.processor._crew import Refused

        waiting: deque[tuple[Columns, Future[Any]]] = deque()
        done = 0

        def first() -> tuple[Columns, Any]:
            columns, future = waiting.popleft()
            try:
                answer, body = future.result()
            except Refused:
                return columns, here(columns)
            self._put += answer["put"]
            return columns, read(columns, answer, body)

        for columns in chunks:
            rows = len(columns["_row"])
            if rows and self._crew.is_wanted(done, total):
                begin, end = columns["_row"][0], columns["_row"][-1]
                try:
                    future = self._crew.submit(ask(columns), f"{where}: rows {begin} to {end}")
                except ValueError:  # something in it is no plain data
                    while waiting:
                        yield first()
                    yield columns, here(columns)
                else:
                    waiting.append((columns, future))
                    if len(waiting) > self._crew.window:
                        yield first()
            else:
                yield columns, here(columns)
            done += rows
            self._keep_to_size()
        while waiting:
            yield first()

    def _keep_to_size(self) -> None:
        if self.cache is not None and self._put + self.cache.put_bytes > self.cache.limit // 4:
            self.cache.trim()
            self._put = 0


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, nothing elsewhere; give a function that is told rows done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    parts: Iterable[Any] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*parts, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda rows: bar.advance(task, rows)
