"""The one file that touches intc: what is taken from it, and what is put in place of its parts.

Put in place, because of intc 0.1.1 as it comes:

- its table of registered configs becomes a mapping that imports a component's module when it is looked up;
- ``eval`` of expressions becomes `dlk.config.expression`;
- class sources are read when somebody asks for them, not at each registration (an `OSError` in a notebook);
- module folders are not read from the working directory: `dlk.config.project` reads them beside the config;
- a debugging ``print`` for the value -2 is silenced.
"""

from __future__ import annotations

import copy
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import intc.config
import intc.loader
import intc.parser
import intc.register
import intc.share
import intc.utils
from intc.config import (
    AnyField,
    BoolField,
    FloatField,
    IntField,
    ListField,
    NestField,
    StrField,
    SubModule,
)
from intc.config import Base as IntcBase
from intc.config import DictField as _IntcDictField
from intc.config import ModuleField
from intc.register import cregister
from intc.share import MISSING

from dlk.config.expression import compile_lambda
from dlk.errors import ConfigError

__all__ = [
    "AnyField",
    "BoolField",
    "DictField",
    "FloatField",
    "IntField",
    "IntcBase",
    "ListField",
    "MISSING",
    "ModuleField",
    "NestField",
    "StrField",
    "SubModule",
    "cregister",
    "fields_of",
    "parse_tree",
    "registered",
    "set_resolver",
]

Resolver = Callable[[str, str], None]


class _LazyRepo(dict[tuple[str, str], dict[str, Any]]):
    """intc's table of default values: a look-up of a name that is not there yet imports it."""

    resolver: Resolver | None = None

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        if key not in self and self.resolver is not None and key[0] != "__root__init__":
            self.resolver(*key)
        return super().get(key, default)


class _LazyLines(Sequence[str]):
    """The source lines of a class, read when they are first wanted; none where there is no source."""

    def __init__(self, target: type) -> None:
        self.target = target

    def _read(self) -> list[str]:
        try:
            return inspect.getsourcelines(self.target)[0]
        except (OSError, TypeError):
            return []

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())


class _Inspect:
    """Stands in for `inspect` inside intc: the same answers about positions, without reading sources."""

    currentframe = staticmethod(inspect.currentframe)
    getsource = staticmethod(inspect.getsource)

    @staticmethod
    def getsourcelines(target: type) -> tuple[_LazyLines, int]:
        depth, line = 1, 0
        frame = sys._getframe(depth)
        while frame is not None:
            if frame.f_globals.get("__name__", "").partition(".")[0] != "intc" and frame.f_code.co_name != "getsourcelines":
                line = frame.f_lineno
                break
            frame = frame.f_back  # type: ignore[assignment]  # the outermost frame ends the loop
        return _LazyLines(target), line

    @staticmethod
    def getlineno(frame: Any) -> int:
        return int(frame.f_lineno)

    @staticmethod
    def getabsfile(target: Any) -> str:
        code = getattr(target, "f_code", None)
        if code is not None:
            return str(code.co_filename)
        module = sys.modules.get(getattr(target, "__module__", ""))
        return str(getattr(module, "__file__", None) or "<unknown>")


_repo = _LazyRepo(intc.register.ic_repo)
_lock = threading.RLock()


def _install() -> None:
    for module in (intc.parser, intc.register, intc.loader):
        setattr(module, "ic_repo", _repo)
    for module in (intc.parser, intc.utils):
        setattr(module, "eval", compile_lambda)
    for module in (intc.register, intc.utils):
        setattr(module, "inspect", _Inspect)
    setattr(intc.config, "print", lambda *_: None)
    intc.share.LOAD_SUBMODULE_DONE = True


_install()


def set_resolver(resolver: Resolver) -> None:
    """Say who imports the config class of a name that intc looks up."""
    _repo.resolver = staticmethod(resolver)  # type: ignore[assignment]  # a plain function, not a method


def registered(type_name: str, name: str) -> type[IntcBase] | None:
    """Return the config class registered under the two names, None where there is none yet."""
    found: type[IntcBase] | None = intc.share.registry.get(type_name, {}).get(name)
    return found


def all_registered() -> Iterator[tuple[str, str, type[IntcBase]]]:
    """Yield type, name and config class of all that is registered so far."""
    for type_name, names in list(intc.share.registry.items()):
        for name, config_class in list(names.items()):
            yield type_name, name, config_class


def fields_of(config_class: type) -> dict[str, Mapping[str, Any]]:
    """Return the fields of a config class in order, with intc's description of each (children left out)."""
    import attrs

    if not attrs.has(config_class):  # the class of a NestField, which intc decorates on the fly
        config_class = attrs.define(config_class)
    return {a.name: a.metadata for a in attrs.fields(config_class) if a.name != "submodule"}


def DictField(
    value: dict[str, Any],
    help: str = "the dict field",
    additions: list[Any] | None = None,
    deprecated: bool | str = False,
    validator: Callable[[Any], bool] | None = None,
) -> dict[str, Any]:
    """Return a field that holds a dict; as intc's, whose own validator option never ends."""
    made: Any = _IntcDictField(value, help=help, additions=additions, deprecated=deprecated)
    made.metadata["position"] = intc.utils.get_position()
    if validator is not None:
        made.converter.validator = lambda v: isinstance(v, dict) and validator(v)
    result: dict[str, Any] = made
    return result


def parse_tree(tree: Mapping[str, Any], global_values: Mapping[str, Any]) -> dict[str, Any]:
    """Run intc's parser over a tree without ``_search``: defaults filled in, references and expressions computed.

    Args:
        tree: root of a config: component keys only.
        global_values: what stands under ``_G``.

    Raises:
        ConfigError: intc refuses the tree; the message is intc's.
    """
    raw = {**copy.deepcopy(dict(tree)), "_G": {"__hold__": None, **copy.deepcopy(dict(global_values))}}
    with _lock:
        try:
            found = intc.parser.Parser(raw).parser(parser_ref=True)
        except ConfigError:
            raise
        except Exception as error:  # intc raises many kinds, bare Exception among them
            raise ConfigError(str(error).strip("'\"") or type(error).__name__) from error
    if len(found) != 1:
        raise ConfigError("a base config may not search")
    resolved: dict[str, Any] = _in_order(found[0], tree)
    return resolved


def _in_order(resolved: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return intc's result with components in the order in which they were written; intc turns it around."""
    keys = [key for key in written if key in resolved]
    keys += [key for key in resolved if key not in written]
    return {
        key: _in_order(resolved[key], written.get(key, {})) if key.startswith("@") and isinstance(resolved[key], Mapping) else resolved[key]
        for key in keys
    }
