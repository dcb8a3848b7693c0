"""Calling plugins' hooks: one by one, so that what one raises keeps no other from being called."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dlk._discovery import PluginState, raised_at, told
from dlk.errors import DlkError, PluginError
from dlk.plugin import Outcome, PluginWarning
from dlk.registry import register

__all__ = ["Hook", "around", "change_predictions", "change_rows"]

_warned: dict[str | tuple[str, type[Warning], int], int] = {}
"""What `warnings` remembers of this module, so that a failing hook of requests is named once."""


class Hook:
    """One hook and the plugins that implement it, looked up when this is made; false without any.

    Args:
        name: such as ``dlk_before_fit``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._plugins = register.implementations(name)

    def __bool__(self) -> bool:
        return bool(self._plugins)

    def tell(self, *, may_veto: bool = False, **facts: Any) -> None:
        """Call all plugins; a failure is a `PluginWarning`.

        Args:
            may_veto: whether a `DlkError` is passed on; the plugins after it are not called then.
            facts: the arguments of the hook.
        """
        for state, implementation in self._plugins:
            try:
                _call(implementation, facts)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may raise anything
                if may_veto and isinstance(error, DlkError):
                    raise
                self._warn(state, error)

    def change(self, value: Any, call: Callable[[Any, Any], Any]) -> Any:
        """Return a value after each plugin had its say.

        Args:
            value: what is changed.
            call: (call of a plugin, by arguments; the value) to the next value.

        Raises:
            PluginError: a plugin failed, or gave what cannot be used.
            DlkError: a plugin refused.
        """
        for state, implementation in self._plugins:
            try:
                value = call(lambda _made=implementation, **given: _call(_made, given), value)
            except (KeyboardInterrupt, DlkError):
                raise
            except BaseException as error:
                raise PluginError(
                    f"{self._failure(state, error)}; what it would have changed is not passed on"
                ) from error
        return value

    def _warn(self, state: PluginState, error: BaseException) -> None:
        place = raised_at(error) or state.place
        file, _, line = place.rpartition(":")
        message = f"{self._failure(state, error)}; the run goes on without it"
        warnings.warn_explicit(
            message,
            PluginWarning,
            file if line.isdigit() else place or "<plugin>",
            int(line) if line.isdigit() else 1,
            registry=_warned,
        )

    def _failure(self, state: PluginState, error: BaseException) -> str:
        place = raised_at(error)
        return (
            f"{self.name} of plugin {state.name} ({state}) failed: {told(error)}"
            f"{f', at {place}' if place else ''} (DLK_DISABLE_PLUGINS={state.distribution} leaves "
            "it out)"
        )


@contextlib.contextmanager
def around(event: str, facts: Any, outcome: Callable[[float, str], Outcome]) -> Iterator[None]:
    """Call ``dlk_before_EVENT``, and when the block ends, in whatever way, ``dlk_after_EVENT``.

    Args:
        event: process, predict or request.
        facts: the facts of the event.
        outcome: seconds and error to the outcome; called where a plugin wants to know it.

    Raises:
        DlkError: a plugin refused.
    """
    after, error, started = Hook(f"dlk_after_{event}"), "", time.monotonic()
    try:
        Hook(f"dlk_before_{event}").tell(may_veto=True, facts=facts)
        yield
    except GeneratorExit:  # whoever read the predictions has enough
        raise
    except BaseException as raised:
        error = str(raised) if isinstance(raised, DlkError) else told(raised)
        raise
    finally:
        if after:
            after.tell(facts=facts, outcome=outcome(time.monotonic() - started, error))


def change_rows(
    hook: Hook, columns: Mapping[str, Sequence[Any]], facts: Any
) -> Mapping[str, Sequence[Any]]:
    """Return columns as plugins want them; their number of rows stays.

    Raises:
        PluginError: a plugin failed, or gave something else than columns of that length.
        DlkError: a plugin refused.
    """
    size = len(next(iter(columns.values()), ()))

    def call(plugin: Callable[..., Any], now: Mapping[str, Sequence[Any]]) -> Any:
        given = plugin(columns={name: list(values) for name, values in now.items()}, facts=facts)
        if given is None:
            return now
        if not isinstance(given, Mapping) or {len(values) for values in given.values()} != {size}:
            raise ValueError(
                f"expected a mapping of columns of {size} rows, or None, got {_shape(given)}"
            )
        return {name: list(values) for name, values in given.items()}

    changed: Mapping[str, Sequence[Any]] = hook.change(columns, call)
    return changed


def change_predictions(
    hook: Hook, predictions: list[dict[str, Any]], facts: Any
) -> list[dict[str, Any]]:
    """Return predictions as plugins want them, one for each row.

    Raises:
        PluginError: a plugin failed, or gave something else.
        DlkError: a plugin refused.
    """

    def call(plugin: Callable[..., Any], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
        given = plugin(predictions=[dict(each) for each in now], facts=facts)
        if given is None:
            return now
        made = list(given)
        if len(made) != len(now) or not all(isinstance(each, dict) for each in made):
            raise ValueError(f"expected a list of {len(now)} dicts, or None, got {_shape(given)}")
        return made

    changed: list[dict[str, Any]] = hook.change(predictions, call)
    return changed


def _call(implementation: Any, facts: Mapping[str, Any]) -> Any:  # Any: pluggy.HookImpl
    return implementation.function(*(facts[name] for name in implementation.argnames))


def _shape(value: Any) -> str:
    if isinstance(value, Mapping):
        return str({name: len(values) for name, values in value.items()})
    return f"{len(value)} items" if isinstance(value, list) else type(value).__name__
