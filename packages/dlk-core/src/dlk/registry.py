"""The registry: two names, `(module_type, module_name)`, to a component's config class and class.

A name comes from a table row (a plugin's, or a project's own files, read without importing them) or from a decorator
that has run already. A component's module is imported when the component is first asked for, so listing names costs
nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar

from dlk.errors import DlkError, PluginError, did_you_mean
from dlk.plugin import API, Component, Hooks

__all__ = ["Entry", "PluginState", "Registry", "register"]

C = TypeVar("C", bound=type)
_GROUP = "dlk"


@dataclass(frozen=True, slots=True)
class Entry:
    """A table row and who brought it."""

    component: Component
    origin: str
    version: str = ""


@dataclass(slots=True)
class PluginState:
    """One plugin as found on this machine.

    Attributes:
        name: name of its entry point.
        distribution: the distribution that brings it.
        version: the distribution's version.
        state: ``loaded``, ``disabled``, ``failed`` or ``incompatible``.
        error: why it failed; empty otherwise.
        components: its rows that are in use.
    """

    name: str
    distribution: str
    version: str
    state: str = "loaded"
    error: str = ""
    components: list[Component] = field(default_factory=list)


class Registry:
    """Names to components. `register` is the one that everybody uses."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], type] = {}
        self._table: dict[tuple[str, str], Entry] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._conflicts: dict[tuple[str, str], list[str]] = {}
        self._local_sources: set[str] = set()
        self._plugins: list[PluginState] | None = None
        self._lock = threading.RLock()

    # Registering -----------------------------------------------------------------------------------------------

    def __call__(self, type_name: str, name: str = "") -> Callable[[C], C]:
        """Register the decorated class under the two names."""

        def decorate(target: C) -> C:
            known = self._classes.get((type_name, name))
            if known is not None and (known.__module__, known.__qualname__) != (target.__module__, target.__qualname__):
                raise PluginError(
                    f'{type_name} "{name}" is registered already by {known.__module__}:{known.__qualname__}; '
                    f"{target.__module__}:{target.__qualname__} needs another name"
                )
            self._classes[type_name, name] = target
            return target

        return decorate

    def add_local(self, sources: Iterable[str]) -> None:
        """Add the components that a project's own files define, without importing them."""
        from dlk._local import scan

        with self._lock:
            for source in sources:
                if source in self._local_sources:
                    continue
                rows = scan(source)
                for component in rows:
                    self._claim(component, Entry(component, "local"))
                self._local_sources.add(source)

    # Looking up ------------------------------------------------------------------------------------------------

    def get(self, type_name: str, name: str) -> type[Any]:
        """Return the class of a component; the part of the name after ``-`` only picks a config.

        Raises:
            PluginError: there is no such component, or its module cannot be imported; the message says why.
        """
        name = name.partition("-")[0]
        found = self._classes.get((type_name, name))
        if found is not None:
            return found
        primary = self.primary(type_name, name)
        found = self._classes.get((type_name, primary))
        if found is not None:
            return found
        entry = self._table[type_name, primary]
        if not entry.component.cls:
            raise PluginError(f'{type_name} "{name}" is a config only; it has no class to build')
        loaded: type = self._import(entry, entry.component.cls)
        registered = self._classes.get((type_name, primary))
        if registered is None:
            raise PluginError(
                f'{type_name} "{name}": importing {entry.component.cls} of {entry.origin} did not register that name; '
                f'expected @register("{type_name}", "{primary}") on the class'
            )
        return registered if loaded is registered else loaded

    def config(self, type_name: str, name: str) -> type[Any]:
        """Return the config class of a component."""
        from dlk.config import _intc

        found = _intc.registered(type_name, name)
        if found is not None:
            return found
        primary = self.primary(type_name, name)
        found = _intc.registered(type_name, primary)
        if found is None:
            entry = self._table[type_name, primary]
            self._import(entry, entry.component.config)
            found = _intc.registered(type_name, primary)
            if found is None:
                raise PluginError(
                    f'{type_name} "{name}": importing {entry.component.config} of {entry.origin} did not register that '
                    f'name; expected @cregister("{type_name}", "{primary}") on the config class'
                )
        return found

    def primary(self, type_name: str, name: str) -> str:
        """Return the name under which a component is registered: an alias gives the name it stands for.

        Raises:
            PluginError: there is no such name; the message lists the nearest, or says what to install.
        """
        if (type_name, name) in self._classes or self._has_config(type_name, name):
            return name
        self.discover()
        if (type_name, name) in self._conflicts:
            claimants = " and ".join(self._conflicts[type_name, name])
            raise PluginError(
                f'{type_name} "{name}" is claimed by {claimants}; neither is used. Uninstall one, or leave it out '
                "with DLK_DISABLE_PLUGINS."
            )
        if (type_name, name) in self._table:
            return name
        if (type_name, name) in self._aliases:
            return self._aliases[type_name, name]
        raise PluginError(self._unknown(type_name, name))

    def __contains__(self, names: tuple[str, str]) -> bool:
        try:
            self.primary(*names)
        except PluginError:
            return False
        return True

    def types(self) -> list[str]:
        """Return all component types, sorted."""
        self.discover()
        return sorted({key[0] for key in (*self._table, *self._classes, *self._config_names())})

    def names(self, type_name: str) -> list[str]:
        """Return the names of all components of a type, sorted."""
        self.discover()
        keys = (*self._table, *self._classes, *self._config_names())
        return sorted({key[1] for key in keys if key[0] == type_name and key[1]})

    def entries(self) -> list[Entry]:
        """Return all table rows, sorted by type and name."""
        self.discover()
        return [self._table[key] for key in sorted(self._table)]

    @property
    def plugins(self) -> list[PluginState]:
        """What was found under the entry-point group ``dlk``, working or not."""
        self.discover()
        return list(self._plugins or [])

    # Building --------------------------------------------------------------------------------------------------

    def build(self, config: Any, setup: Any = None, **more: Any) -> Any:
        """Build the component of a config object.

        The class is called with the config; `setup` and the keywords of `more` are handed on where its constructor
        names them.
        """
        from dlk.config import node_of

        node = node_of(config)
        component = self.get(node.type, node.name)
        given = {"setup": setup, **more}
        wanted = _keywords(component)
        passed = {k: v for k, v in given.items() if k in wanted}
        if "setup" in passed and setup is None:
            from dlk.context import Setup

            passed["setup"] = Setup.empty()
        try:
            return component(config, **passed)
        except DlkError as error:
            if getattr(error, "_placed", False):
                raise
            placed = type(error).__new__(type(error))
            Exception.__init__(placed, f"{node.path}: {error}")
            placed.__dict__.update(error.__dict__)
            placed.__dict__["_placed"] = True
            raise placed from error

    def build_child(self, config: Any, type_name: str, setup: Any = None, **more: Any) -> Any:
        """Build the one child of a type; None where there is none."""
        from dlk.config import child

        found = child(config, type_name)
        return None if found is None else self.build(found, setup, **more)

    def build_children(self, config: Any, type_name: str, setup: Any = None, **more: Any) -> dict[str, Any]:
        """Build all children of a type, by alias or name, in the order of the config."""
        from dlk.config import children

        return {k: self.build(v, setup, **more) for k, v in children(config, type_name).items()}

    # Discovery -------------------------------------------------------------------------------------------------

    def discover(self) -> None:
        """Read the tables of all installed plugins, once. A plugin that fails is noted and left out."""
        if self._plugins is not None:
            return
        with self._lock:
            if self._plugins is not None:
                return
            states: list[PluginState] = []
            disabled = {n.strip() for n in os.environ.get("DLK_DISABLE_PLUGINS", "").split(",") if n.strip()}
            for point in sorted(importlib.metadata.entry_points(group=_GROUP), key=lambda p: (p.name, p.value)):
                distribution = point.dist.name if point.dist else ""
                state = PluginState(point.name, distribution, point.dist.version if point.dist else "")
                states.append(state)
                if disabled & {point.name, distribution}:
                    state.state = "disabled"
                    continue
                try:
                    rows = _table_of(point.load())
                except _IncompatibleError as error:
                    state.state, state.error = "incompatible", str(error)
                except (Exception, SystemExit) as error:  # a plugin may raise anything; the others must go on
                    state.state, state.error = "failed", f"{type(error).__name__}: {error}"
                else:
                    for row in rows:
                        if self._claim(row, Entry(row, distribution, state.version)):
                            state.components.append(row)
            self._plugins = states

    def _claim(self, component: Component, entry: Entry) -> bool:
        key = (component.type, component.name)
        if key in self._conflicts:
            self._conflicts[key].append(entry.origin)
            return False
        if key in self._table:
            other = self._table.pop(key)
            self._conflicts[key] = [other.origin, entry.origin]
            return False
        self._table[key] = entry
        for alias in component.aliases:
            self._aliases.setdefault((component.type, alias), component.name)
        return True

    def _import(self, entry: Entry, target: str) -> Any:
        module_name, _, attribute = target.partition(":")
        where = f'{entry.component.type} "{entry.component.name}" of {entry.origin}'
        try:
            if module_name.startswith("dlk_local."):
                from dlk._local import import_local

                module: ModuleType = import_local(module_name)
            else:
                module = importlib.import_module(module_name)
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            hint = f' It needs {missing}, which is missing: pip install {missing}' if missing and missing != "dlk" else ""
            raise PluginError(f"{where} cannot be imported from {module_name}: {error}.{hint}") from error
        except DlkError:
            raise
        except Exception as error:  # a component's module may raise anything
            raise PluginError(f"{where} cannot be imported from {module_name}: {type(error).__name__}: {error}") from error
        found = getattr(module, attribute, None)
        if found is None:
            raise PluginError(f"{where}: {module_name} has no {attribute}; its plugin table is out of date")
        return found

    def _has_config(self, type_name: str, name: str) -> bool:
        module = sys.modules.get("dlk.config._intc")
        return module is not None and module.registered(type_name, name) is not None

    def _config_names(self) -> list[tuple[str, str]]:
        module = sys.modules.get("dlk.config._intc")
        return [] if module is None else [(t, n) for t, n, _ in module.all_registered()]

    def _unknown(self, type_name: str, name: str) -> str:
        from dlk._known import KNOWN

        provider = KNOWN.get((type_name, name.partition("-")[0])) or KNOWN.get((type_name, name))
        if provider:
            failed = [p for p in self._plugins or [] if p.distribution == provider and p.state != "loaded"]
            if failed:
                return f'{type_name} "{name}" is part of {provider}, which is {failed[0].state}: {failed[0].error}'
            return f'{type_name} "{name}" is part of {provider}, which is not installed: pip install {provider}'
        if type_name not in self.types():
            return f'there is no component type "{type_name}". {did_you_mean(type_name, self.types())}'
        if not name:
            return f"which {type_name}? Known: {', '.join(self.names(type_name))}."
        known = [*self.names(type_name), *(a for t, a in self._aliases if t == type_name)]
        return f'there is no {type_name} "{name}". {did_you_mean(name, known)}'


class _IncompatibleError(Exception):
    pass


def _table_of(module: Any) -> list[Component]:
    import pluggy

    version = getattr(module, "API", None)
    if version != API:
        raise _IncompatibleError(f"speaks plugin protocol {version!r}, this dlk speaks {API}")
    manager = pluggy.PluginManager("dlk")
    manager.add_hookspecs(Hooks)
    manager.register(module)
    rows = [row for table in manager.hook.dlk_components() for row in table]
    for row in rows:
        if not isinstance(row, Component):
            raise TypeError(f"dlk_components() gives dlk.plugin.Component, got {type(row).__name__}")
    return rows


@functools.cache
def _keywords(component: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(component).parameters.values()
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def _resolve_config(type_name: str, name: str) -> None:
    """Import the config class that intc looks up; a name that is unknown stays unknown to it."""
    try:
        register.config(type_name, name)
    except PluginError:
        return


def _wire() -> None:
    from dlk.config import _intc

    _intc.set_resolver(_resolve_config)


register = Registry()
"""The registry of this process: ``@register("embedding", "static")`` on a class, ``register.get(…)`` to look up."""
