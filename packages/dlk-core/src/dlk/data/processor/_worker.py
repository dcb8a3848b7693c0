"""What a worker process does: build the steps once a pass, then answer chunk after chunk."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from dlk.data.processor._crew import receive, send

if TYPE_CHECKING:
    from dlk.data.processor._ledger import Ledger
    from dlk.data.processor.default import DefaultProcessor

__all__ = ["main"]


def main() -> None:
    """Answer the messages on standard input until it ends."""
    # what steps print goes to the error stream: standard output is for answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    messages = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        _answer_all(messages, answers)
    except BrokenPipeError:  # the parent is gone
        os._exit(1)


def _answer_all(messages: IO[bytes], answers: IO[bytes]) -> None:
    built: tuple[DefaultProcessor, Ledger | None] | None = None
    while (got := receive(messages)) is not None:
        message, _ = got
        body: Any = b""
        try:
            if message["do"] == "setup":
                built = None  # that of the pass before is never used in its place
                built = _built(message)
                answer: Mapping[str, Any] = {}
            else:
                assert built is not None
                processor, ledger = built
                answer, body = processor.answer(message, ledger)
            send(answers, {"status": "done", **answer}, body)
        except MemoryError:
            send(answers, {"status": "memory"})
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the parent does the chunk itself, and raises it
            send(answers, {"status": "refused", "reason": f"{type(error).__name__}: {error}"})


def _built(message: Mapping[str, Any]) -> tuple[DefaultProcessor, Ledger | None]:
    """Return the processor of a pass, built as in the parent, and where its results are kept."""
    from dlk.config import from_resolved
    from dlk.context import Setup
    from dlk.data.meta import Meta
    from dlk.data.processor.default import DefaultProcessor
    from dlk.registry import register

    register.add_local(message["sources"])
    for name, file in message["modules"]:
        _import(name, file)
    (config,) = from_resolved(message["config"], folder=message["folder"]).values()
    meta = Meta.load(message["meta"]) if message["meta"] else Meta.empty()
    built = register.build(config, Setup(meta, seed=message["seed"]))
    assert isinstance(built, DefaultProcessor)
    return built, _ledger(message["cache"])


def _ledger(kept: Mapping[str, Any]) -> Ledger | None:
    if not kept:
        return None
    from dlk.data.cache import Cache
    from dlk.data.processor._ledger import Ledger

    return Ledger(Cache(kept["folder"], limit=kept["limit"]), kept["identities"], kept["seed"])


def _import(name: str, file: str) -> None:
    """Import a module in which a step stands that no table names."""
    if name in sys.modules:
        return
    try:
        importlib.import_module(name)
    except ImportError:  # its folder was never on the path, as that of a test is not
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
