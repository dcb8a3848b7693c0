"""Values that decide what a class does, and that its source does not tell.

A class made in a function does what the function was given; a constant may be read from the
environment, or from a file, when its module is imported.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import re
from collections.abc import Collection, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["told"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class _Untold(Exception):  # noqa: N818 - no error: what cannot be told is not kept
    """A value of which nobody can tell whether it is the same in another process."""


def told(cls: type, files: Collection[str]) -> bytes | None:
    """Return a digest of the values that a class and its functions hold; None where one is unknown.

    dlk's own classes hold none. Of attributes and constants those that are plain data count, as
    they are when this is first asked.

    Args:
        cls: the class.
        files: the sources of its project: functions of other files are known by their versions.
    """
    found = hashlib.sha256()
    seen: set[int] = set()
    try:
        for base in cls.__mro__:
            if base.__module__.partition(".")[0] in {"dlk", "builtins", "abc", "typing"}:
                continue
            for name, value in sorted(vars(base).items()):
                if name.startswith("__") and not callable(value):
                    continue
                _add(found, f"{base.__qualname__}.{name}", value, files, seen)
    except _Untold:
        return None
    return found.digest()


def _add(found: Any, name: str, value: Any, files: Collection[str], seen: set[int]) -> None:
    """Add what a value is, where it is plain data or a function."""
    function = _function_of(value)
    if function is not None:
        _add_function(found, function, files, seen)
        return
    if isinstance(value, property | functools.cached_property):
        parts = [getattr(value, each, None) for each in ("fget", "fset", "fdel", "func")]
        for part in filter(None, parts):
            _add(found, name, part, files, seen)
        return
    try:
        found.update(f"{name}={_digest(value)}\n".encode("utf-8", "surrogatepass"))
    except _Untold:  # such as a lock, a logger or a class: it stands in the source
        return


def _function_of(value: Any) -> FunctionType | None:
    """Return the function behind a value, such as what was decorated; None where there is none."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    while not isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, FunctionType) else None


def _add_function(
    found: Any, function: FunctionType, files: Collection[str], seen: set[int]
) -> None:
    """Add what a function holds beside its source: defaults, values from around it, constants.

    Raises:
        _Untold: it holds an object from around it that is no plain data.
    """
    if id(function) in seen or function.__code__.co_filename not in files:
        return
    seen.add(id(function))
    name = function.__qualname__
    for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        _add(found, f"{name} default", each, files, seen)
    for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if _function_of(held) is not None:
            _add(found, name, held, files, seen)
        elif not isinstance(held, type | ModuleType):
            found.update(f"{name} {free}={_digest(held)}\n".encode("utf-8", "surrogatepass"))
    names = list(_names(function.__code__))
    known = function.__globals__
    for each in names:
        value = known.get(each)
        if isinstance(value, ModuleType):
            if getattr(value, "__file__", None) in files:
                for inner in sorted(set(names).intersection(vars(value))):
                    _add(found, f"{each}.{inner}", vars(value)[inner], files, seen)
        elif each in known:
            _add(found, each, value, files, seen)


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that code looks up, that of functions in it too, in order."""
    yield from dict.fromkeys(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _digest(value: Any) -> str:
    """Return a digest of plain data with its types, the same in every process.

    Raises:
        _Untold: it is no plain data.
    """
    kind = type(value)
    if kind in _PLAIN:
        parts = [marshal.dumps(value, 2)]
    elif kind in {list, tuple}:
        parts = [_digest(each).encode() for each in value]
    elif kind is dict:
        parts = [_digest(each).encode() for pair in value.items() for each in pair]
    elif kind in {set, frozenset}:
        parts = sorted(_digest(each).encode() for each in value)
    elif kind is re.Pattern:
        parts = [_digest((value.pattern, value.flags)).encode()]
    else:
        raise _Untold(kind)
    return hashlib.sha256(b"\0".join([kind.__name__.encode(), *parts])).hexdigest()
